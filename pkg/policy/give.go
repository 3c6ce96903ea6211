package policy

import (
	"fmt"
	"slices"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// Nobody grants what they lack: what follows is asked before somebody's change gives a role to others, or changes one.
// Roles come as they are stored, since the set may be a moment older.

// Administers decides whether the subject may do with a role whatever they like: update it where it is, and themselves
// have every right that its rules give. The access to targets that a role gives, at or below its scope, is its
// administrators' to decide about.
func (s *Set) Administers(sub Subject, r resource.Role) Decision {
	scope := scopeOf(r.Metadata.Scope)
	if d := s.May(sub, names.Role, "update", scope); !d.Allowed {
		d.Reason = fmt.Sprintf("only who may update role %s may do that: %s", r.Metadata.Name, d.Reason)
		return d
	}
	return s.hasAll(sub, rights(r.Spec.Allow.Rules), scope, "role "+r.Metadata.Name+" gives the right to %s, which you lack: %s")
}

// Frees decides whether the subject may take a role away from somebody whom it restrains: its administrators may, if they
// have themselves every right that it denies.
func (s *Set) Frees(sub Subject, r resource.Role) Decision {
	if d := s.Administers(sub, r); !d.Allowed {
		return d
	}
	return s.hasAll(sub, rights(r.Spec.Deny.Rules), scopeOf(r.Metadata.Scope), "role "+r.Metadata.Name+" denies the right to %s, which you lack: %s")
}

// Gives decides whether the subject may give a role to others: its administrators may, and so may its holders, unless
// what it gives depends on its holder's traits, it has options, or a role of the subject's denies what others would then
// have.
func (s *Set) Gives(sub Subject, r resource.Role) Decision {
	plain := len(r.Traits()) == 0 && r.Spec.Options == resource.RoleOptions{}
	if slices.Contains(sub.Roles, r.Metadata.Name) && plain && !s.denied(sub) {
		return Decision{Allowed: true, Role: r.Metadata.Name, Reason: "you have the role yourself"}
	}
	return s.Administers(sub, r)
}

// denied reports whether a role of the subject's denies anything, or can't be enforced.
func (s *Set) denied(sub Subject) bool {
	return slices.ContainsFunc(sub.Roles, func(name string) bool {
		r := s.roles[name]
		return r == nil || r.barred != "" || r.deny.any()
	})
}

func (b *block) any() bool {
	return len(b.rules) > 0 || slices.ContainsFunc(b.kinds, func(s side) bool {
		return !s.labels.empty() || slices.ContainsFunc(s.uses[:], func(v values) bool { return v.given })
	})
}

// Rewrites decides whether the subject may change a role's rules as they will be; was is zero for a new role. Who may
// write a role decides what it allows on targets, but its rules may neither give a right that the subject lacks nor cease
// to deny one.
func (s *Set) Rewrites(sub Subject, was, now resource.Role) Decision {
	before, after := scopeOf(was.Metadata.Scope), scopeOf(now.Metadata.Scope)
	given := rights(now.Spec.Allow.Rules)
	if resource.Within(after, before) {
		given = without(given, rights(was.Spec.Allow.Rules))
	}
	if d := s.hasAll(sub, given, after, "it would give its holders the right to %s, which you lack: %s"); !d.Allowed {
		return d
	}
	freed := rights(was.Spec.Deny.Rules)
	if resource.Within(before, after) {
		freed = without(freed, rights(now.Spec.Deny.Rules))
	}
	return s.hasAll(sub, freed, before, "it would no longer deny its holders the right to %s, which you lack: %s")
}

// rights are those that some of the rules cover.
func rights(rules []resource.Rule) (all []right) {
	for _, kind := range append(resource.RuleResources(), "*") {
		for _, verb := range append(slices.Clone(resource.Verbs), "*") {
			for _, a := range []right{{verb, kind, false}, {verb, kind, true}} {
				if (!a.own || resource.Owned(kind)) && slices.ContainsFunc(rules, a.coveredBy) {
					all = append(all, a)
				}
			}
		}
	}
	return all
}

func without(all, some []right) []right {
	return slices.DeleteFunc(all, func(r right) bool { return slices.Contains(some, r) })
}

// hasAll decides whether the subject has all the rights at a scope and everywhere below; the sentence is about the first
// that is missing.
func (s *Set) hasAll(sub Subject, all []right, scope, sentence string) Decision {
	for _, r := range all {
		d := s.MayOwn(sub, r.kind, r.verb, scope, r.own)
		if below := s.deniesBelow(sub, r, scope); d.Allowed && below != "" {
			d = Decision{Role: below, Reason: "role " + below + ": denies it below " + scope}
		}
		if !d.Allowed {
			d.Reason = fmt.Sprintf(sentence, r, d.Reason)
			return d
		}
	}
	return Decision{Allowed: true, Reason: "you have every right that it gives"}
}

// deniesBelow names a role of the subject that denies a right somewhere at or below a scope, or can't be read; "" if none
// does.
func (s *Set) deniesBelow(sub Subject, r right, scope string) string {
	for _, name := range sub.Roles {
		held := s.roles[name]
		if held == nil {
			return name
		}
		covered := func(rule resource.Rule) bool {
			every := slices.Contains(rule.Resources, "*") || r.kind == "*" || slices.Contains(rule.Resources, r.kind)
			return every && (slices.Contains(rule.Verbs, "*") || r.verb == "*" || slices.Contains(rule.Verbs, r.verb))
		}
		if resource.Within(held.scope, scope) && (held.barred != "" || slices.ContainsFunc(held.deny.rules, covered)) {
			return name
		}
	}
	return ""
}
