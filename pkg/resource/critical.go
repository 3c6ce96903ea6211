package resource

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/strict"
)

// additive are the fields of an allow block that only ever give: a reader that doesn't know one gives less. A field that
// narrows what others give must not be listed here.
var additive = []string{
	"logins", "node_labels", "db_labels", "db_names", "db_users", "app_labels", "kubernetes_labels", "kubernetes_groups", "rules",
}

// Limits lists the fields of the role, as paths, without which it would give more: all options, all of deny, and what
// in allow narrows. They are critical in the policy document.
func (r Role) Limits() []string {
	var written struct {
		Options, Allow, Deny map[string]json.RawMessage
	}
	b, err := json.Marshal(r.Spec)
	if err == nil {
		err = json.Unmarshal(b, &written)
	}
	if err != nil {
		return []string{unreadable}
	}
	var all []string
	for _, k := range slices.Sorted(maps.Keys(written.Options)) {
		all = append(all, "spec.options."+k)
	}
	for _, k := range slices.Sorted(maps.Keys(written.Allow)) {
		if !slices.Contains(additive, k) {
			all = append(all, "spec.allow."+k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(written.Deny)) {
		all = append(all, "spec.deny."+k)
	}
	return append(all, r.Critical...)
}

// Published returns the role as the policy document has it: what the first releases can't read stands beside it.
func (r Role) Published() Role {
	r.Critical = r.Limits()
	var further FurtherRules
	r.Spec.Allow.Rules, further.Allow = split(r.Spec.Allow.Rules)
	r.Spec.Deny.Rules, further.Deny = split(r.Spec.Deny.Rules)
	if further.Allow != nil || further.Deny != nil {
		r.Further = &further
	}
	return r
}

// Whole returns the role as it was written, from what the policy document has.
func (r Role) Whole() Role {
	if f := r.Further; f != nil {
		r.Spec.Allow.Rules = slices.Concat(r.Spec.Allow.Rules, f.Allow)
		r.Spec.Deny.Rules = slices.Concat(r.Spec.Deny.Rules, f.Deny)
		r.Further = nil
	}
	return r
}

// split tells rules that the first releases can read from the others; one that is about both becomes two.
func split(rules []Rule) (first, further []Rule) {
	later := append([]string{names.Settings, names.AuditLake}, owned...)
	for _, r := range rules {
		one, other := r, r
		one.Resources, other.Resources = nil, nil
		for _, kind := range r.Resources {
			if r.Where != "" || slices.Contains(later, kind) || slices.Contains(r.Verbs, verbQuery) {
				other.Resources = append(other.Resources, kind)
			} else {
				one.Resources = append(one.Resources, kind)
			}
		}
		if other.Resources != nil {
			further = append(further, other)
		}
		if one.Resources != nil || other.Resources == nil { // one about nothing stays, to be found wrong
			first = append(first, one)
		}
	}
	return first, further
}

// unreadable is a critical field that no release knows.
const unreadable = "unreadable"

// Unreadable replaces a stored role that can't be read: wherever it gets to, it denies its holders everything.
func Unreadable(m Metadata) Role { return Role{Metadata: m, Critical: []string{unreadable}} }

// Unknown returns the first critical field that this release doesn't know, and whether there is one.
func (r Role) Unknown() (path string, unknown bool) {
	for _, path := range r.Critical {
		if !strict.Knows(Role{}, path) {
			return path, true
		}
	}
	return "", false
}
