package policy

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stile-dev/stile/pkg/resource"
)

// role is one compiled role.
type role struct {
	name    string
	scope   string
	barred  string // why the role's holders may do nothing; "" for a role in order
	rule    string // the field that barred is about
	options resource.RoleOptions
	allow   block
	deny    block
}

// block is one side of a role.
type block struct {
	kinds []side // in the order of resource.TargetKinds
	rules []resource.Rule
}

// side is what a block says about one kind of target.
type side struct {
	labels selector
	uses   [resource.MaxUses]values
}

// values are those that a block lists of one use.
type values struct {
	given bool // whether it mentions the use at all
	any   bool // '*'
	list  []resource.Template
}

// selector is compiled labels: sorted by key, so that traces are the same each time.
type selector struct {
	any   bool // '*': '*'
	terms []term
}

type term struct {
	key    string
	index  int // of the key among all keys of the set
	values []string
	any    bool
}

// empty selectors match nothing.
func (s *selector) empty() bool { return !s.any && len(s.terms) == 0 }

// matches: keys are ANDed, values ORed.
func (s *selector) matches(labels *view) bool {
	if s.any && len(s.terms) == 0 {
		return true
	}
	for i := range s.terms {
		if !s.terms[i].matches(labels) {
			return false
		}
	}
	return len(s.terms) > 0
}

func (t *term) matches(labels *view) bool {
	value, ok := labels.get(t.index, t.key)
	return ok && (t.any || slices.Contains(t.values, value))
}

// view remembers a target's labels by the index of their key while one decision is made: fifty roles ask for the
// same few keys, and looking a string up in a map fifty times is what a decision would otherwise cost.
type view struct {
	labels     map[string]string
	seen, have uint16 // bit sets
	values     [16]string
}

func (v *view) get(index int, key string) (string, bool) {
	if index >= len(v.values) {
		value, ok := v.labels[key]
		return value, ok
	}
	bit := uint16(1) << index
	if v.seen&bit == 0 {
		v.seen |= bit
		if value, ok := v.labels[key]; ok {
			v.values[index] = value
			v.have |= bit
		}
	}
	return v.values[index], v.have&bit != 0
}

// Compile prepares roles once. A role that doesn't validate, a name that appears twice, and a role that says something
// that this program can't enforce deny their holders everything: leaving out what can't be read might leave out a deny, and
// refusing the whole set would let one bad role keep everyone from a newer policy.
func Compile(roles []resource.Role) *Set {
	set := &Set{roles: make(map[string]*role, len(roles))}
	keys := keyIndex{}
	for _, r := range roles {
		c := compile(r, keys)
		if _, twice := set.roles[c.name]; twice {
			c = &role{name: c.name, barred: "the name appears twice", rule: "metadata.name"}
		}
		set.roles[c.name] = c
	}
	return set
}

// keyIndex numbers label keys in the order in which they are met.
type keyIndex map[string]int

func (k keyIndex) of(key string) int {
	i, ok := k[key]
	if !ok {
		i = len(k)
		k[key] = i
	}
	return i
}

func compile(r resource.Role, keys keyIndex) *role {
	r = r.Whole()
	c := &role{name: r.Metadata.Name, scope: scopeOf(r.Metadata.Scope), options: r.Spec.Options}
	if faults := (resource.Resource{Kind: "role", Metadata: r.Metadata, Spec: &r.Spec}).Validate(); len(faults) > 0 {
		return c.bar(faults[0].Path, faults[0].Reason)
	}
	if path, unknown := r.Unknown(); unknown {
		return c.bar(path, "this release doesn't know it; a newer one may")
	}
	var err error
	if c.allow, err = compileBlock(r.Spec.Allow, keys); err != nil {
		return c.bar("spec.allow", err.Error())
	}
	if c.deny, err = compileBlock(r.Spec.Deny, keys); err != nil {
		return c.bar("spec.deny", err.Error())
	}
	return c
}

func (r *role) bar(field, reason string) *role {
	return &role{name: r.name, scope: r.scope, rule: field, barred: fmt.Sprintf("the role can't be enforced as it is: %s: %s", field, reason)}
}

func compileBlock(b resource.RoleBlock, keys keyIndex) (block, error) {
	c := block{rules: b.Rules, kinds: make([]side, len(resource.TargetKinds))}
	for i, k := range resource.TargetKinds {
		labels, uses := k.Of(&b)
		c.kinds[i].labels = compileSelector(labels, keys)
		for n, list := range uses {
			v, err := compileValues(k.Uses[n], list)
			if err != nil {
				return block{}, err
			}
			c.kinds[i].uses[n] = v
		}
	}
	return c, nil
}

func compileValues(u resource.Use, list []string) (values, error) {
	v := values{given: len(list) > 0}
	for _, s := range list {
		if s == "*" {
			v.any = true
			continue
		}
		t, err := u.Parse(s)
		if err != nil {
			return values{}, err
		}
		v.list = append(v.list, t)
	}
	return v, nil
}

func compileSelector(labels resource.Labels, keys keyIndex) selector {
	var s selector
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		values := labels[key]
		if key == "*" {
			s.any = true // validated: its value is * alone
			continue
		}
		s.terms = append(s.terms, term{key: key, index: keys.of(key), values: values, any: slices.Contains(values, "*")})
	}
	return s
}
