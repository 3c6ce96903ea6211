package resource

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// TargetKind is a row of the table of what sessions can reach. A row makes the kind grantable by tokens, selectable
// by roles, and a resource that administrators list and delete; what serves it is a service of the agent.
type TargetKind struct {
	Name    string // as in kind/name
	Plural  string // for people, as in `stile get nodes`
	Summary string // one line for help and documentation
	Labels  string // the field of a role that selects by label
	Uses    []Use  // what a session names beside the target, at most MaxUses; none for some kinds
	of      func(*RoleBlock) (labels Labels, uses [][]string)
}

// MaxUses is how many uses a kind of target has at most.
const MaxUses = 2

// Use is one thing that a session says about how it uses a target: the login on a node, the user in a database.
type Use struct {
	Name  string // as services and traces call it: login
	Field string // the field of a role that lists which are allowed: logins
	legal func(string) bool
	any   bool // whether allow may hold '*'; deny always may
	rule  string
}

// TargetKinds is the table, in the order of documentation.
var TargetKinds = []TargetKind{
	{
		Name: names.KindNode, Plural: "nodes", Summary: "which agent holds a node's name", Labels: "node_labels",
		Uses: []Use{{Name: "login", Field: "logins", legal: identity.ValidLogin, rule: loginRule}},
		of:   func(b *RoleBlock) (Labels, [][]string) { return b.NodeLabels, [][]string{b.Logins} },
	},
	{
		Name: "db", Plural: "dbs", Summary: "which agent holds a database's name", Labels: "db_labels",
		Uses: []Use{{Name: "database", Field: "db_names", legal: plain, any: true, rule: plainRule}, {Name: "user", Field: "db_users", legal: plain, rule: plainRule}},
		of:   func(b *RoleBlock) (Labels, [][]string) { return b.DBLabels, [][]string{b.DBNames, b.DBUsers} },
	},
	{
		Name: "app", Plural: "apps", Summary: "which agent holds an application's name", Labels: "app_labels",
		of: func(b *RoleBlock) (Labels, [][]string) { return b.AppLabels, nil },
	},
	{
		Name: "kube", Plural: "kubes", Summary: "which agent holds a Kubernetes cluster's name", Labels: "kubernetes_labels",
		Uses: []Use{{Name: "group", Field: "kubernetes_groups", legal: plain, rule: plainRule}},
		of:   func(b *RoleBlock) (Labels, [][]string) { return b.KubernetesLabels, [][]string{b.KubernetesGroups} },
	},
}

// Legal reports whether a session may say the value at all.
func (u Use) Legal(value string) bool { return u.legal(value) }

// Of returns what one side of a role says about targets of the kind: the labels that select them, and for each of
// Uses the values in their order.
func (k TargetKind) Of(b *RoleBlock) (labels Labels, uses [][]string) { return k.of(b) }

const (
	loginRule = "can't be a login: 1–64 letters, digits and _ . + $ - are allowed, beginning with a letter, digit or _"
	plainRule = "is not allowed here: write 1–128 characters without spaces, control characters, *, { and }"
)

// plain reports whether a value may be in a role, to be compared whole with what a protocol says.
func plain(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("*{}", r) })
}

// check accepts literals and templates, and '*' where that is allowed.
func (u Use) check(c *checker, path string, values []string, deny bool) {
	for i, v := range values {
		if v == "*" && (deny || u.any) {
			continue
		}
		if _, err := u.Parse(v); err != nil {
			c.add(fmt.Sprintf("%s[%d]", path, i), "%s", err)
		}
	}
}

// UsesOf returns what a session on a target of the kind names; nothing for an unknown kind.
func UsesOf(kind string) []Use {
	if i := TargetKindIndex(kind); i >= 0 {
		return TargetKinds[i].Uses
	}
	return nil
}

// TargetKindIndex returns a kind's index in TargetKinds; -1 for an unknown kind.
func TargetKindIndex(name string) int {
	for i := range TargetKinds { // by index: decisions ask this often, and a kind is large
		if TargetKinds[i].Name == name {
			return i
		}
	}
	return -1
}

// IsTargetKind reports whether the table has a kind.
func IsTargetKind(name string) bool {
	return TargetKindIndex(name) >= 0
}

func targetKindNames() []string {
	var all []string
	for _, k := range TargetKinds {
		all = append(all, k.Name)
	}
	return all
}

// TargetSpec says who holds a target's name. People only read and delete it.
type TargetSpec struct {
	Agent  string            `json:"agent"`            // agt_<ulid>
	Labels map[string]string `json:"labels,omitempty"` // as in the agent's certificate
	Token  string            `json:"token,omitempty"`  // token that it joined with
	AWS    string            `json:"aws,omitempty"`    // as in the agent's certificate
}

func (s *TargetSpec) check(c *checker) {
	if !identity.ValidID("agt", s.Agent) {
		c.add("spec.agent", "%q is not an agent id", s.Agent)
	}
}

// Grants reports whether an agent that joins by this token may serve a target: resources and names are its kinds
// and its names, and their product is what is granted.
func (s TokenSpec) Grants(t identity.Target) bool {
	return slices.Contains(s.Resources, t.Kind) && identity.ValidTargetName(t.Name) &&
		slices.ContainsFunc(s.Names, func(p string) bool { return Glob(p, t.Name) })
}
