package policy

import (
	"fmt"
	"slices"

	"github.com/stile-dev/stile/pkg/access"
)

// May decides whether the subject may do something to resources of the API itself: verb is one of
// access.Verbs, scope is that of the resource. Rules with a condition (where) don't count here, since nothing
// is said about who owns the resource.
func (s *Set) May(sub Subject, resource, verb, scope string) Decision {
	if len(sub.Resources) > 0 {
		return Decision{Reason: "the certificate is confined to some targets and can't be used for the API's resources", Rule: "certificate.resources"}
	}
	return s.fold(sub, verb+" on "+resource, func(r *role) Step { return r.may(resource, verb, scope) })
}

func (r *role) may(resource, verb, scope string) Step {
	step := Step{Role: r.name, Effect: Silent, Value: verb + " " + resource}
	switch {
	case !access.Within(scope, r.scope):
		step.Rule, step.Value = ruleScope, scope
		step.Reason = fmt.Sprintf("it acts at or below %s and the %s is at %s", r.scope, resource, scopeOf(scope))
	case slices.ContainsFunc(r.deny.rules, func(rule access.Rule) bool { return covers(rule, resource, verb) }):
		step.Effect, step.Rule = Denies, ruleDenyRules
		step.Reason = fmt.Sprintf("denies %s on %s", verb, resource)
	case slices.ContainsFunc(r.allow.rules, func(rule access.Rule) bool { return rule.Where == "" && covers(rule, resource, verb) }):
		step.Effect, step.Rule = Allows, ruleRules
		step.Reason = fmt.Sprintf("allows %s on %s", verb, resource)
	default:
		step.Rule = ruleRules
		step.Reason = fmt.Sprintf("none of its rules allows %s on %s", verb, resource)
	}
	return step
}

func covers(r access.Rule, resource, verb string) bool {
	return (slices.Contains(r.Resources, "*") || slices.Contains(r.Resources, resource)) &&
		(slices.Contains(r.Verbs, "*") || slices.Contains(r.Verbs, verb))
}
