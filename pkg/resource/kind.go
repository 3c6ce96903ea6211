package resource

import (
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// Spec is the body of a resource of some kind: a pointer to [RoleSpec], [UserSpec], [MappingSpec],
// [TokenSpec], [SettingsSpec] or [TargetSpec].
type Spec interface {
	check(c *checker)
}

// Kind is a row of the kinds table: all that storage, API and command line need to know of a kind of resource. Adding one
// means adding a row and its spec type with its check, and in infra/stack the statement of each function that may touch it.
type Kind struct {
	Name     string   // as in kind: and in storage keys
	Plural   string   // for people, as in `stile get roles`
	Aliases  []string // further words that the command line accepts
	Summary  string   // one line for help and documentation
	Writable bool     // may be created and updated; any kind may be listed, read and deleted
	Policy   bool     // its changes are inputs of the policy document
	Target   bool     // sessions reach it; an agent's join makes it

	spec     func() Spec
	named    func(string) bool
	reserved []string // names that come from the deployment or the code
}

// Kinds is the table, in the order of documentation.
var Kinds = []Kind{
	{
		Name: names.Role, Plural: "roles", Summary: "what people may do, and what nobody may",
		Writable: true, Policy: true,
		spec: func() Spec { return new(RoleSpec) }, named: validName, reserved: presetNames(),
	},
	{
		Name: names.User, Plural: "users", Summary: "roles and traits added to a user whom a mapping admits",
		Writable: true,
		spec:     func() Spec { return new(UserSpec) }, named: validUser,
	},
	{
		Name: names.Mapping, Plural: "iam_mappings", Aliases: []string{"mapping", "mappings"}, Summary: "which AWS identity is which user",
		Writable: true,
		spec:     func() Spec { return new(MappingSpec) }, named: validName, reserved: []string{BootstrapMapping, CanaryMapping},
	},
	{
		Name: names.Token, Plural: "tokens", Summary: "who may enrol as what, and under which names and labels",
		Writable: true,
		spec:     func() Spec { return new(TokenSpec) }, named: validName, reserved: []string{FleetToken},
	},
	{
		Name: names.Settings, Plural: "settings", Summary: "what holds for the whole cluster",
		Writable: true, Policy: true,
		spec: func() Spec { return new(SettingsSpec) }, named: func(name string) bool { return name == ClusterSettings },
	},
}

// Every kind of target is a kind of resource as well: its names' holders can be listed, and freed by deleting.
func init() {
	for _, t := range TargetKinds {
		Kinds = append(Kinds, Kind{
			Name: t.Name, Plural: t.Plural, Summary: t.Summary, Target: true,
			spec: func() Spec { return new(TargetSpec) }, named: identity.ValidTargetName,
		})
	}
}

// Partition is the partition key under which resources of the kind are stored, in table state.
func (k Kind) Partition() string {
	if k.Target {
		return names.Target + "#" + k.Name
	}
	return k.Name
}

// Names of resources that the deployment's configuration makes; nobody writes resources with these names.
const (
	BootstrapMapping = "bootstrap" // the iam_mapping of the first administrator
	CanaryMapping    = "canary"    // the iam_mapping of the synthetic login
	FleetToken       = "fleet"     // the token that proxies join with
)

// Names of users that the deployment's configuration makes. A person who had one would share revocations, limits and the
// ledger with another user.
const (
	CanaryUser    = "canary" // the synthetic login
	BootstrapUser = "admin"  // the first administrator, whose role is not one of IAM Identity Center
)

// BuiltinUser returns the built-in iam_mapping whose user has a name, and whether there is one: no other makes somebody that user.
func BuiltinUser(name string) (mapping string, is bool) {
	switch name {
	case CanaryUser:
		return CanaryMapping, true
	case BootstrapUser:
		return BootstrapMapping, true
	}
	return "", false
}

// KindOf finds a kind by its name, plural or an alias; - and _ are the same.
func KindOf(word string) (Kind, bool) {
	word = strings.ReplaceAll(strings.ToLower(word), "-", "_")
	for _, k := range Kinds {
		if word == k.Name || word == k.Plural || slices.Contains(k.Aliases, word) {
			return k, true
		}
	}
	return Kind{}, false
}

// KindNames lists the table's names, for messages.
func KindNames() []string {
	var all []string
	for _, k := range Kinds {
		all = append(all, k.Name)
	}
	return all
}

// writtenKinds lists the kinds that people write.
func writtenKinds() []string {
	var all []string
	for _, k := range Kinds {
		if k.Writable {
			all = append(all, k.Name)
		}
	}
	return all
}

// Reserved reports whether a name of this kind is given by the code or the deployment and can't be written.
func (k Kind) Reserved(name string) bool { return slices.Contains(k.reserved, name) }

// ValidName reports whether a resource of this kind may have the name.
func (k Kind) ValidName(name string) bool { return k.named(name) }
