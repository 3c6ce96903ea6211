package policy

import (
	"fmt"
	"slices"

	"github.com/stile-dev/stile/pkg/access"
)

// May decides whether the subject may do something to resources of the API itself: verb is one of
// access.Verbs, scope is that of the resource. A grant that is confined to targets counts for none of them.
func (s *Set) May(sub Subject, resource, verb, scope string) Decision {
	held := slices.DeleteFunc(sub.held(nil), func(h held) bool { return h.grant != nil && len(h.grant.Resources) > 0 })
	d := s.fold(held, verb+" on "+resource, func(r *role) Step { return r.may(resource, verb, scope) })
	d.Until = sub.Next()
	return d
}

func (r *role) may(resource, verb, scope string) Step {
	step := Step{Role: r.name, Effect: Silent, Value: verb + " " + resource}
	switch {
	case r.barred != "":
		step.Effect, step.Rule, step.Reason = Denies, r.rule, r.barred
	case !access.Within(scope, r.scope):
		step.Rule, step.Value, step.near = ruleScope, scope, nearScope
		step.Reason = fmt.Sprintf("it acts at or below %s and the %s is at %s", r.scope, resource, scopeOf(scope))
	case slices.ContainsFunc(r.deny.rules, func(rule access.Rule) bool { return covers(rule, resource, verb) }):
		step.Effect, step.Rule = Denies, ruleDenyRules
		step.Reason = fmt.Sprintf("denies %s on %s", verb, resource)
	case slices.ContainsFunc(r.allow.rules, func(rule access.Rule) bool { return covers(rule, resource, verb) }):
		step.Effect, step.Rule = Allows, ruleRules
		step.Reason = fmt.Sprintf("allows %s on %s", verb, resource)
	default:
		step.Rule, step.near = ruleRules, nearLabels
		step.Reason = fmt.Sprintf("none of its rules allows %s on %s", verb, resource)
	}
	return step
}

func covers(r access.Rule, resource, verb string) bool {
	return (slices.Contains(r.Resources, "*") || slices.Contains(r.Resources, resource)) &&
		(slices.Contains(r.Verbs, "*") || slices.Contains(r.Verbs, verb))
}
