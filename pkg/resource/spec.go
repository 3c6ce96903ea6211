// Package resource holds the resources that administrators write — roles, users, IAM mappings, join
// tokens — as values, with their strict YAML and JSON codec, their validation and the kinds table.
//
// It doesn't decide anything (package policy does) and doesn't store anything.
// Its entry points are [Kinds], [DecodeAll] and [DecodeJSON].
package resource

import "time"

// Metadata is what every resource begins with.
type Metadata struct {
	Name     string `json:"name"`               // [a-z0-9][a-z0-9_.@-]{0,62}
	Scope    string `json:"scope,omitempty"`    // / by default
	Revision int64  `json:"revision,omitempty"` // set by the API; sent back, it makes an update compare-and-swap
}

// Role allows and denies: default deny, roles add up, any deny wins; in a deny block all conditions for one kind of
// target must all match.
type Role struct {
	Metadata Metadata `json:"metadata"`
	Spec     RoleSpec `json:"spec"`
	// Critical names, in the policy document alone, the fields of this role without which it would give more: a reader that
	// doesn't know one of them denies the role's holders everything.
	Critical []string `json:"critical,omitempty"`
	// Further holds, in the policy document alone, the rules of the role that the first releases can't read.
	Further *FurtherRules `json:"further,omitempty"`
}

// FurtherRules are rules with a condition, or about resources that the first releases don't know. Those would bar a role's
// holders for a rule that they can't read, but skip a field that they don't know: what these rules decide they never do.
type FurtherRules struct {
	Allow []Rule `json:"allow,omitempty"`
	Deny  []Rule `json:"deny,omitempty"`
}

// RoleSpec is the body of a role.
type RoleSpec struct {
	Options RoleOptions `json:"options,omitzero"`
	Allow   RoleBlock   `json:"allow,omitzero"`
	Deny    RoleBlock   `json:"deny,omitzero"`
}

// RoleOptions apply to everyone who has the role: the shortest max_session_ttl, OR of fresh and pin_source_ip over all roles;
// disconnect_expired_cert over the roles that admit somebody. A value that nothing enforces yet is refused when a role
// is written, and a stored role that has one denies its holders everything.
type RoleOptions struct {
	MaxSessionTTL         Duration `json:"max_session_ttl,omitzero"` // of a certificate; 0: the role sets no limit
	ForwardAgent          *bool    `json:"forward_agent,omitempty"`  // only false is accepted so far, as for the next two
	PortForwarding        *bool    `json:"port_forwarding,omitempty"`
	RequireSessionMFA     bool     `json:"require_session_mfa,omitempty"`
	Record                string   `json:"record,omitempty"`                  // off, best-effort or strict; "" leaves it to other roles and the cluster's settings
	RecordWhenFull        string   `json:"record_when_full,omitempty"`        // admit lets the role's holders in unrecorded when a node has no room for recordings
	Fresh                 bool     `json:"fresh,omitempty"`                   // max_policy_age 5 min instead of 24 h
	PinSourceIP           bool     `json:"pin_source_ip,omitempty"`           // certificates are valid only from the address that logged in
	DisconnectExpiredCert *bool    `json:"disconnect_expired_cert,omitempty"` // false lets sessions outlive the certificate; true by default
}

// Labels selects targets by their labels: keys ANDed, values ORed; '*': ['*'] is everything; a single string is
// accepted as a list of one.
type Labels map[string][]string

// RoleBlock is one side of a role. [TargetKinds] says which fields count for which kind of target.
type RoleBlock struct {
	Logins           []string `json:"logins,omitempty"` // literals or {{internal.<trait>}}
	NodeLabels       Labels   `json:"node_labels,omitempty"`
	DBLabels         Labels   `json:"db_labels,omitempty"`
	DBNames          []string `json:"db_names,omitempty"`
	DBUsers          []string `json:"db_users,omitempty"`
	AppLabels        Labels   `json:"app_labels,omitempty"`
	KubernetesLabels Labels   `json:"kubernetes_labels,omitempty"`
	KubernetesGroups []string `json:"kubernetes_groups,omitempty"`
	Rules            []Rule   `json:"rules,omitempty"`
}

// Rule is about resources of the API itself.
type Rule struct {
	Resources []string `json:"resources"`       // kinds of resources, recording, event, or *
	Verbs     []string `json:"verbs"`           // list, read, create, update, delete or *
	Where     string   `json:"where,omitempty"` // own: only those that are the caller's; "" all of them
}

// User is a record that adds roles and traits to a user whom a mapping admits.
type User struct {
	Metadata Metadata `json:"metadata"`
	Spec     UserSpec `json:"spec"`
}

// UserSpec is the body of a user.
type UserSpec struct {
	Mapping string              `json:"mapping"` // name of the iam_mapping that this user comes through; users of other mappings get nothing from it
	Roles   []string            `json:"roles,omitempty"`
	Traits  map[string][]string `json:"traits,omitempty"`
}

// Mapping turns an AWS identity into a user.
type Mapping struct {
	Metadata Metadata    `json:"metadata"`
	Spec     MappingSpec `json:"spec"`
	// Unreadable says that only Spec.Match could be read, as in a mapping that a newer release wrote: an identity that it
	// matches is admitted by no mapping.
	Unreadable bool `json:"-"`
}

// MappingSpec is the body of an iam_mapping. Session names prove nothing unless IAM Identity Center set them,
// so a name is taken from one only where the role is Identity Center's own.
type MappingSpec struct {
	Match  IAMMatch            `json:"match"`
	User   string              `json:"user,omitempty"` // the user's name; "" takes the session name, only where Match.Role is an AWSReservedSSO role named in full
	Roles  []string            `json:"roles,omitempty"`
	Traits map[string][]string `json:"traits,omitempty"`
}

// IAMMatch says which AWS identities are meant; each part is compared whole and none is a pattern.
type IAMMatch struct {
	Partition string `json:"partition,omitempty"` // aws by default
	Account   string `json:"account"`             // 12 digits
	Role      string `json:"role"`                // role name without path
	RoleID    string `json:"role_id,omitempty"`   // AROA…; when set it must be equal too
	Session   string `json:"session,omitempty"`   // only for an AWSReservedSSO_<set>_<16 hex> role named in full
}

// Join methods.
const (
	MethodIAM   = "iam"
	MethodToken = "token"
)

// Token is a join token: who may enrol, and as what.
type Token struct {
	Metadata Metadata  `json:"metadata"`
	Spec     TokenSpec `json:"spec"`
	// UID is another for a token that was deleted and created again; "" for one that is older than this field.
	UID string `json:"-"`
}

// TokenSpec is the body of a token. An agent's names and labels come from here, never from the agent alone.
type TokenSpec struct {
	Method      string              `json:"method"`                           // iam | token
	Allow       []IAMMatch          `json:"allow,omitempty"`                  // method iam: any of them
	Resources   []string            `json:"resources"`                        // kinds of targets that it may serve, such as node; with names, their product is granted
	Names       []string            `json:"names"`                            // names that it may claim: literals or globs
	Labels      map[string]string   `json:"labels,omitempty"`                 // pinned labels that it gets
	LabelChoice map[string][]string `json:"label_choice,omitempty"`           // labels that it may claim, with the values allowed (literals or globs)
	Uses        int                 `json:"uses,omitempty" range:"1 to 1000"` // method token: how often, 1 by default
	Expires     *time.Time          `json:"expires,omitempty"`                // method token: at most 7 days ahead, 1 h by default
	// How many agents there may be by this token at once, and by one AWS role among them: see [TokenSpec.MostNodes].
	MaxNodes            int `json:"max_nodes,omitempty" range:"1 to 10000"`
	MaxNodesPerIdentity int `json:"max_nodes_per_identity,omitempty" range:"1 to max_nodes"` // method iam
}
