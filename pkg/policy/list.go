package policy

import (
	"iter"
	"maps"
	"slices"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// Logins lists the logins that the subject may use on a node, sorted; none on another kind of target.
func (s *Set) Logins(sub Subject, t Target) []string {
	found := map[string]bool{}
	if t.Kind != names.KindNode {
		return []string{}
	}
	s.candidates(sub, t, func(use [resource.MaxUses]string) bool {
		found[use[0]] = true
		return false
	})
	return slices.Sorted(maps.Keys(found))
}

// Reaches reports whether the subject may use a target in any way.
func (s *Set) Reaches(sub Subject, t Target) bool {
	reached := false
	s.candidates(sub, t, func([resource.MaxUses]string) bool {
		reached = true
		return true
	})
	return reached
}

// candidates goes through the uses that roles name for a target and passes on those that are allowed, until told to stop.
// Where '*' allows everything, it passes on the star itself.
func (s *Set) candidates(sub Subject, t Target, stop func([resource.MaxUses]string) bool) {
	k := resource.TargetKindIndex(t.Kind)
	if k < 0 {
		return
	}
	id, labels := t.id(), view{labels: t.Labels}
	for _, h := range sub.held(&id) {
		r := s.roles[h.name]
		if r == nil || r.barred != "" || !resource.Within(t.Scope, r.scope) || !r.allow.kinds[k].labels.matches(&labels) {
			continue
		}
		for use := range r.allow.kinds[k].product(len(resource.TargetKinds[k].Uses), sub.Traits) {
			if s.allows(&sub, &t, k, &use) && stop(use) {
				return
			}
		}
	}
}

// product goes through the combinations of the uses that a side names.
func (s *side) product(uses int, traits map[string][]string) iter.Seq[[resource.MaxUses]string] {
	var have [resource.MaxUses][]string
	for i := range have[:uses] {
		words, _ := s.uses[i].expand(traits)
		if s.uses[i].any {
			words = append(words, "*")
		}
		have[i] = words
	}
	return func(yield func([resource.MaxUses]string) bool) {
		var use [resource.MaxUses]string
		var from func(i int) bool
		from = func(i int) bool {
			if i == uses {
				return yield(use)
			}
			for _, use[i] = range have[i] {
				if !from(i + 1) {
					return false
				}
			}
			return true
		}
		from(0)
	}
}

// Principals lists every login that the subject's roles may let it use on some node, sorted, without those that a
// role denies everywhere: the principals of its certificate. What it may use on a node is decided there.
func (s *Set) Principals(sub Subject) []string {
	k, mine := resource.TargetKindIndex(names.KindNode), sub.held(nil)
	return slices.DeleteFunc(s.named(sub, k, mine), func(login string) bool {
		return slices.ContainsFunc(mine, func(h held) bool { return h.grant == nil && s.deniesEverywhere(h.name, k, sub, login) })
	})
}

// Deniers lists the roles, sorted, that keep from [Set.Principals] what other roles of the subject give.
func (s *Set) Deniers(sub Subject) []string {
	k, mine := resource.TargetKindIndex(names.KindNode), sub.held(nil)
	var all []string
	for _, login := range s.named(sub, k, mine) {
		for _, h := range mine {
			if h.grant == nil && s.deniesEverywhere(h.name, k, sub, login) {
				all = append(all, h.name)
			}
		}
	}
	return sortedUnique(all)
}

// named are the logins that the roles give on some node, sorted, before anything is denied.
func (s *Set) named(sub Subject, k int, mine []held) []string {
	var all []string
	for _, h := range mine {
		r := s.roles[h.name]
		if r == nil || r.barred != "" || r.allow.kinds[k].labels.empty() {
			continue
		}
		have, _ := r.allow.kinds[k].uses[0].expand(sub.Traits)
		all = append(all, have...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// deniesEverywhere: a deny at / that names the login and no labels.
func (s *Set) deniesEverywhere(name string, k int, sub Subject, login string) bool {
	r := s.roles[name]
	return r != nil && r.barred == "" && r.scope == "/" && r.deny.kinds[k].labels.empty() && r.deny.kinds[k].uses[0].name(login, sub.Traits)
}
