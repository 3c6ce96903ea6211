package policy

import (
	"fmt"
	"slices"

	"github.com/stile-dev/stile/pkg/resource"
)

// May decides whether the subject may do something to resources of the API itself: verb is one of
// resource.Verbs, scope is that of the resource. A grant that is confined to targets doesn't count here.
func (s *Set) May(sub Subject, kind, verb, scope string) Decision {
	held := slices.DeleteFunc(sub.held(nil), func(h held) bool { return h.grant != nil && len(h.grant.Resources) > 0 })
	d := s.fold(held, verb+" on "+kind, func(r *role) Step { return r.may(kind, verb, scope) })
	d.Until = sub.Next()
	return d
}

// MaySomewhere reports whether [Set.May] allows it at some scope.
func (s *Set) MaySomewhere(sub Subject, kind, verb string) bool {
	return slices.ContainsFunc(sub.held(nil), func(h held) bool {
		r := s.roles[h.name]
		return r != nil && s.May(sub, kind, verb, r.scope).Allowed
	})
}

func (r *role) may(kind, verb, scope string) Step {
	step := Step{Role: r.name, Effect: Silent, Value: verb + " " + kind}
	switch {
	case r.barred != "":
		step.Effect, step.Rule, step.Reason = Denies, r.rule, r.barred
	case !resource.Within(scope, r.scope):
		step.Rule, step.Value, step.near = ruleScope, scope, nearScope
		step.Reason = fmt.Sprintf("it acts at or below %s, but the %s is at %s", r.scope, kind, scopeOf(scope))
	case slices.ContainsFunc(r.deny.rules, func(rule resource.Rule) bool { return covers(rule, kind, verb) }):
		step.Effect, step.Rule = Denies, ruleDenyRules
		step.Reason = fmt.Sprintf("denies %s on %s", verb, kind)
	case slices.ContainsFunc(r.allow.rules, func(rule resource.Rule) bool { return covers(rule, kind, verb) }):
		step.Effect, step.Rule = Allows, ruleRules
		step.Reason = fmt.Sprintf("allows %s on %s", verb, kind)
	default:
		step.Rule = ruleRules
		step.Reason = fmt.Sprintf("none of its rules allows %s on %s", verb, kind)
	}
	return step
}

func covers(r resource.Rule, kind, verb string) bool {
	return (slices.Contains(r.Resources, "*") || slices.Contains(r.Resources, kind)) &&
		(slices.Contains(r.Verbs, "*") || slices.Contains(r.Verbs, verb))
}

// MayOwn is [Set.May] for something that may be the caller's own, such as the recording of a session of theirs.
func (s *Set) MayOwn(sub Subject, kind, verb, scope string, own bool) Decision {
	if own {
		return Decision{Allowed: true, Reason: "it is your own", Until: sub.Next()}
	}
	return s.May(sub, kind, verb, scope)
}
