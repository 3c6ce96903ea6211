package policy

import (
	"fmt"
	"slices"

	"github.com/stile-dev/stile/pkg/resource"
)

// May decides whether the subject may do something to resources of the API itself, whoever's they are: verb is one of
// resource.Verbs, scope is that of the resource. A grant that is confined to targets doesn't count here.
func (s *Set) May(sub Subject, kind, verb, scope string) Decision {
	return s.MayOwn(sub, kind, verb, scope, false)
}

// MayOwn is [Set.May] for something that may be the subject's own, such as the recording of a session of theirs: then a
// rule counts that is about the subject's own alone.
func (s *Set) MayOwn(sub Subject, kind, verb, scope string, own bool) Decision {
	held := slices.DeleteFunc(sub.held(nil), func(h held) bool { return h.grant != nil && len(h.grant.Resources) > 0 })
	d := s.fold(held, verb+" on "+kind, func(r *role) Step { return r.may(right{verb, kind, own}, scope) })
	d.Until = sub.Next()
	return d
}

// MaySomewhere reports whether [Set.May] allows it at some scope.
func (s *Set) MaySomewhere(sub Subject, kind, verb string) bool {
	return s.MayOwnSomewhere(sub, kind, verb, false)
}

// MayOwnSomewhere reports whether [Set.MayOwn] allows it at some scope.
func (s *Set) MayOwnSomewhere(sub Subject, kind, verb string, own bool) bool {
	return slices.ContainsFunc(sub.held(nil), func(h held) bool {
		r := s.roles[h.name]
		return r != nil && s.MayOwn(sub, kind, verb, r.scope, own).Allowed
	})
}

// right is a verb on a kind of resource, on all or only on one's own. A * is a kind or a verb of its own, which covers those
// to come.
type right struct {
	verb, kind string
	own        bool
}

func (r right) String() string {
	if r.own {
		return r.verb + " your own " + r.kind
	}
	return r.verb + " " + r.kind
}

func (r *role) may(a right, scope string) Step {
	step := Step{Role: r.name, Effect: Silent, Value: a.verb + " " + a.kind}
	covers := a.coveredBy
	switch {
	case r.barred != "":
		step.Effect, step.Rule, step.Reason = Denies, r.rule, r.barred
	case !resource.Within(scope, r.scope):
		step.Rule, step.Value, step.near = ruleScope, scope, nearScope
		step.Reason = fmt.Sprintf("it acts at or below %s, but the %s is at %s", r.scope, a.kind, scopeOf(scope))
	case slices.ContainsFunc(r.deny.rules, covers):
		step.Effect, step.Rule = Denies, ruleDenyRules
		step.Reason = fmt.Sprintf("denies %s on %s", a.verb, a.kind)
	case slices.ContainsFunc(r.allow.rules, covers):
		step.Effect, step.Rule = Allows, ruleRules
		step.Reason = fmt.Sprintf("allows %s on %s", a.verb, a.kind)
	default:
		step.Rule = ruleRules
		step.Reason = fmt.Sprintf("none of its rules allows %s on %s", a.verb, a.kind)
	}
	return step
}

func (r right) coveredBy(rule resource.Rule) bool {
	return (rule.Where == "" || r.own) &&
		(slices.Contains(rule.Resources, "*") || slices.Contains(rule.Resources, r.kind)) &&
		(slices.Contains(rule.Verbs, "*") || slices.Contains(rule.Verbs, r.verb))
}
