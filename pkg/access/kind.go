package access

import (
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/names"
)

// Spec is the body of a resource of some kind: a pointer to [RoleSpec], [UserSpec], [MappingSpec],
// [TokenSpec] or [NodeSpec].
type Spec interface {
	check(c *checker)
}

// Kind is a row of the kinds table: all that storage, API, command line and documentation need to know of a
// kind of resource. Adding one means adding a row, its spec type with its check, and nothing else.
type Kind struct {
	Name     string   // as in kind: and in storage keys
	Plural   string   // for people, as in `stile get roles`
	Aliases  []string // further words that the command line takes
	Summary  string   // one line for help and documentation
	Writable bool     // may be created and updated; any kind may be listed, read and deleted
	Policy   bool     // its changes are inputs of the policy document

	spec     func() Spec
	named    func(string) bool
	reserved []string // names that the deployment or the code gives
}

// Kinds is the table, in the order of documentation.
var Kinds = []Kind{
	{
		Name: names.Role, Plural: "roles", Summary: "what people may do, and what nobody may",
		Writable: true, Policy: true,
		spec: func() Spec { return new(RoleSpec) }, named: validName, reserved: presetNames(),
	},
	{
		Name: names.User, Plural: "users", Summary: "roles and traits added to somebody whom a mapping lets in",
		Writable: true,
		spec:     func() Spec { return new(UserSpec) }, named: validUser,
	},
	{
		Name: names.Mapping, Plural: "iam_mappings", Aliases: []string{"mapping", "mappings"}, Summary: "which AWS identity is which user",
		Writable: true,
		spec:     func() Spec { return new(MappingSpec) }, named: validName, reserved: []string{BootstrapMapping},
	},
	{
		Name: names.Token, Plural: "tokens", Summary: "who may enrol as a node, and under which names and labels",
		Writable: true,
		spec:     func() Spec { return new(TokenSpec) }, named: validName, reserved: []string{FleetToken},
	},
	{
		Name: names.Node, Plural: "nodes", Summary: "which agent holds a node's name",
		spec: func() Spec { return new(NodeSpec) }, named: validNode,
	},
}

// Names that the deployment's configuration gives; nobody writes resources of these names.
const (
	BootstrapMapping = "bootstrap" // the iam_mapping of the first administrator
	FleetToken       = "fleet"     // the token that proxies join with
)

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

// kindNames lists the table's names for messages.
func kindNames() []string {
	var all []string
	for _, k := range Kinds {
		all = append(all, k.Name)
	}
	return all
}

// Reserved reports whether a name of this kind is given by the code or the deployment and can't be written.
func (k Kind) Reserved(name string) bool { return slices.Contains(k.reserved, name) }

// ValidName reports whether a resource of this kind may have the name.
func (k Kind) ValidName(name string) bool { return k.named(name) }
