// Package policy decides who may do what, from roles alone: default deny, roles add up, any deny wins. The
// same evaluator runs in agents, proxies, the API and the signers, so that all of them agree.
//
// It is pure: values in, [Decision] out. A denial is a Decision, not an error. It doesn't know where roles
// come from, who somebody is, or what locks there are. Its entry point is [Compile].
package policy

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/access"
)

// Subject is who asks, as the certificate states it.
type Subject struct {
	Roles     []string
	Traits    map[string][]string
	Resources []string // when set, only these targets: node/<name>
}

// Node is a server that somebody wants to reach.
type Node struct {
	Name   string
	Scope  string // "" is /
	Labels map[string]string
}

// Decision is the answer, with what it rests on. The fields beside Allowed say which part of which role
// decided; they are empty where nothing did.
type Decision struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"` // a sentence for people
	Role    string `json:"role,omitempty"`
	Rule    string `json:"rule,omitempty"`  // path in the role, such as deny.logins
	Label   string `json:"label,omitempty"` // key of the label that decided
	Value   string `json:"value,omitempty"` // the value that it has, or the login
	Trace   []Step `json:"trace,omitempty"` // of every role, in the order of names
}

// Step is what one role had to say.
type Step struct {
	Role   string `json:"role"`
	Rule   string `json:"rule,omitempty"`
	Effect string `json:"effect"` // allows | denies | silent
	Reason string `json:"reason"`
	Label  string `json:"label,omitempty"`
	Value  string `json:"value,omitempty"`
}

// Effects of a step.
const (
	Allows = "allows"
	Denies = "denies"
	Silent = "silent"
)

// Set is compiled roles. It never changes and is safe for concurrent use.
type Set struct{ roles map[string]*role }

// role is one compiled role.
type role struct {
	name    string
	scope   string
	options access.RoleOptions
	allow   block
	deny    block
}

// block is one side of a role.
type block struct {
	logins    []access.Template
	anyLogin  bool // deny only: '*'
	hasLogins bool // it speaks of logins at all
	labels    selector
	rules     []access.Rule
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

// view remembers a node's labels by the index of their key while one decision is made: fifty roles ask for the
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

// Compile takes roles apart once. A role that doesn't validate, or a name that stands twice, is refused
// as a whole: to leave out a deny that can't be read would grant.
func Compile(roles []access.Role) (*Set, error) {
	set := &Set{roles: make(map[string]*role, len(roles))}
	keys := keyIndex{}
	for _, r := range roles {
		if faults := (access.Resource{Kind: "role", Metadata: r.Metadata, Spec: &r.Spec}).Validate(); len(faults) > 0 {
			return nil, fmt.Errorf("compiling role %q: %s: %s", r.Metadata.Name, faults[0].Path, faults[0].Reason)
		}
		if _, twice := set.roles[r.Metadata.Name]; twice {
			return nil, fmt.Errorf("compiling role %q: the name stands twice", r.Metadata.Name)
		}
		c, err := compile(r, keys)
		if err != nil {
			return nil, fmt.Errorf("compiling role %q: %w", r.Metadata.Name, err)
		}
		set.roles[c.name] = c
	}
	return set, nil
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

func compile(r access.Role, keys keyIndex) (*role, error) {
	allow, err := compileBlock(r.Spec.Allow, keys)
	if err != nil {
		return nil, err
	}
	deny, err := compileBlock(r.Spec.Deny, keys)
	if err != nil {
		return nil, err
	}
	scope := r.Metadata.Scope
	if scope == "" {
		scope = "/"
	}
	return &role{name: r.Metadata.Name, scope: scope, options: r.Spec.Options, allow: allow, deny: deny}, nil
}

func compileBlock(b access.RoleBlock, keys keyIndex) (block, error) {
	c := block{hasLogins: len(b.Logins) > 0, labels: compileSelector(b.NodeLabels, keys), rules: b.Rules}
	for _, l := range b.Logins {
		if l == "*" {
			c.anyLogin = true
			continue
		}
		t, err := access.ParseTemplate(l)
		if err != nil {
			return block{}, err
		}
		c.logins = append(c.logins, t)
	}
	return c, nil
}

func compileSelector(labels map[string][]string, keys keyIndex) selector {
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

// DefaultTTL is how long a user's certificate lives when nobody asks for another time.
const DefaultTTL = 8 * time.Hour

// TTL gives the life of a certificate: the shortest of what the subject's roles allow, what is asked (0 asks
// for the default of 8 h) and 12 h. Roles that the set doesn't know have no say.
func (s *Set) TTL(sub Subject, asked time.Duration) time.Duration {
	ttl := asked
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	ttl = min(ttl, access.MaxSessionTTL)
	for _, name := range sub.Roles {
		if r := s.roles[name]; r != nil && r.options.MaxSessionTTL > 0 {
			ttl = min(ttl, time.Duration(r.options.MaxSessionTTL))
		}
	}
	return ttl
}

// Principals lists every login that the subject's roles may let it use anywhere, sorted, without those that a
// role denies everywhere: the principals of its certificate. What it may use on a node is decided there.
func (s *Set) Principals(sub Subject) []string {
	var all []string
	for _, name := range sub.Roles {
		r := s.roles[name]
		if r == nil || r.allow.labels.empty() {
			continue
		}
		for _, t := range r.allow.logins {
			logins, _ := t.Expand(sub.Traits)
			all = append(all, logins...)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(login string) bool { return s.deniedEverywhere(sub, login) })
}

// deniedEverywhere: a deny at / that names the login and no labels.
func (s *Set) deniedEverywhere(sub Subject, login string) bool {
	for _, name := range sub.Roles {
		r := s.roles[name]
		if r != nil && r.scope == "/" && r.deny.labels.empty() && r.deny.names(login, sub.Traits) {
			return true
		}
	}
	return false
}

// Fresh reports whether one of the subject's roles demands documents that are at most five minutes old.
func (s *Set) Fresh(sub Subject) bool {
	for _, name := range sub.Roles {
		if r := s.roles[name]; r != nil && r.options.Fresh {
			return true
		}
	}
	return false
}
