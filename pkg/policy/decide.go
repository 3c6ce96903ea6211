package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/resource"
)

// Paths in a role that a step may name, beside those of the kinds table.
const (
	ruleScope     = "scope"
	ruleRules     = "allow.rules"
	ruleDenyRules = "deny.rules"
)

// How near a silent role came to allowing, for the one that explains a denial.
const (
	nearScope = iota + 1
	nearLabels
	nearUse
)

// Decide decides whether the subject may use a target in a way, and says why.
func (s *Set) Decide(sub Subject, t Target, use Use) Decision {
	k, values, wrong := uses(&t, use)
	if wrong != "" {
		return Decision{Reason: wrong, Brief: wrong}
	}
	id, asked := t.id(), what(k, t, values)
	d := s.fold(sub.held(&id), asked, func(r *role) Step { return r.decide(k, &sub, &t, &values) })
	for _, g := range sub.Grants {
		// The end of any grant that counts may change the answer: one that denies may have kept others from counting.
		if g.Covers(id, sub.Now) && (d.Until.IsZero() || g.Until.Before(d.Until)) {
			d.Until = g.Until
		}
	}
	if !d.Allowed {
		d.Brief = "no role allows " + asked
		if d.Denies() {
			d.Brief = "role " + d.Role + " denies " + asked
		}
	}
	return d
}

// what names the use for people: login root on node web-1.
func what(k int, t Target, values [resource.MaxUses]string) string {
	var parts []string
	for i, u := range resource.TargetKinds[k].Uses {
		parts = append(parts, u.Name+" "+values[i])
	}
	if len(parts) == 0 {
		return t.Kind + " " + t.Name
	}
	return strings.Join(parts, " and ") + " on " + t.Kind + " " + t.Name
}

// fold asks every role that the subject has, permanent ones first, and never stops early: the trace is for people who want
// to know everything that is in their way.
func (s *Set) fold(all []held, what string, ask func(*role) Step) Decision {
	d := Decision{Reason: "no role allows " + what}
	var denied, allowed *Step
	first, permanent := true, false
	for _, h := range all {
		step := Step{Role: h.name, Effect: Silent, Reason: "the role is unknown and grants nothing", near: nearScope}
		r := s.roles[h.name]
		if r != nil {
			step = ask(r)
		}
		if h.grant != nil {
			step.Grant = h.grant.Request
		}
		if step.Effect == Allows {
			d.Options.fold(r.options, first)
			first, permanent = false, permanent || h.grant == nil
		}
		d.Trace = append(d.Trace, step)
	}
	for i := range d.Trace {
		switch step := &d.Trace[i]; {
		case step.Effect == Denies && denied == nil:
			denied = step
		case step.Effect == Allows && allowed == nil:
			allowed = step
		}
	}
	switch {
	case denied != nil:
		d.because(denied)
		d.Options = Options{}
	case allowed != nil:
		d.Allowed = true
		d.because(allowed)
		d.rests(permanent)
	case len(d.Trace) == 0:
		d.Reason = "there is no role, and nothing is allowed without one"
	default:
		// Of several roles that stayed silent, the one that came nearest explains most.
		near := slices.MaxFunc(d.Trace, func(a, b Step) int { return a.near - b.near })
		d.Role, d.Rule, d.Label, d.Value = near.Role, near.Rule, near.Label, near.Value
		if near.near > 0 {
			d.Reason += ": role " + near.Role + ": " + near.Reason
		}
	}
	return d
}

// rests records the grants that an answer depends on when no permanent role gives it.
func (d *Decision) rests(permanent bool) {
	if permanent {
		return
	}
	for _, step := range d.Trace {
		if step.Effect == Allows && !slices.Contains(d.Grants, step.Grant) {
			d.Grants = append(d.Grants, step.Grant)
		}
	}
}

// Denies reports whether a role denied it, which no other role can make up for.
func (d Decision) Denies() bool {
	return slices.ContainsFunc(d.Trace, func(s Step) bool { return s.Effect == Denies })
}

func (d *Decision) because(s *Step) {
	d.Reason, d.Role, d.Rule, d.Label, d.Value = "role "+s.Role+": "+s.Reason, s.Role, s.Rule, s.Label, s.Value
}

func sortedUnique(roles []string) []string {
	sorted := slices.Clone(roles)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// decide returns what one role says about a use of a target.
func (r *role) decide(k int, sub *Subject, t *Target, values *[resource.MaxUses]string) Step {
	step, labels := Step{Role: r.name, Effect: Silent}, view{labels: t.Labels}
	kind := resource.TargetKinds[k]
	switch {
	case r.barred != "":
		step.Effect, step.Rule, step.Reason = Denies, r.rule, r.barred
	case !resource.Within(t.Scope, r.scope):
		step.Rule, step.Value, step.near = ruleScope, t.Scope, nearScope
		step.Reason = fmt.Sprintf("it acts at or below %s, but the %s is at %s", r.scope, t.Kind, scopeOf(t.Scope))
	case r.denies(k, t, sub, &labels, values):
		step.Effect = Denies
		r.explainDeny(&step, k, t, values)
	case !r.allow.kinds[k].labels.matches(&labels):
		step.Rule, step.near = "allow."+kind.Labels, nearLabels
		step.Label, step.Value, step.Reason = r.allow.kinds[k].labels.explain(&labels, t.Kind)
	case !r.allows(k, t, sub, &labels, values):
		r.explainUses(&step, k, sub, values)
	default:
		step.Effect, step.Rule = Allows, "allow."+kind.Labels
		if len(kind.Uses) > 0 {
			step.Rule, step.Value = "allow."+kind.Uses[0].Field, values[0]
		}
		step.Reason = "allows " + what(k, *t, *values)
	}
	return step
}

func (r *role) explainDeny(step *Step, k int, t *Target, values *[resource.MaxUses]string) {
	d, kind := &r.deny.kinds[k], resource.TargetKinds[k]
	var said []string
	for i, u := range kind.Uses {
		if d.uses[i].given {
			said = append(said, u.Name+" "+values[i])
			if step.Rule == "" {
				step.Rule, step.Value = "deny."+u.Field, values[i]
			}
		}
	}
	if len(said) > 0 {
		step.Reason = "denies " + strings.Join(said, " and ")
		if !d.labels.empty() {
			step.Reason += fmt.Sprintf(" on %ss like this one", t.Kind)
			step.Label, _ = d.labels.first(t.Labels)
		}
		return
	}
	step.Rule = "deny." + kind.Labels
	step.Label, step.Value = d.labels.first(t.Labels)
	step.Reason = "denies this " + t.Kind
	if step.Label != "" {
		step.Reason = fmt.Sprintf("denies %ss with %s=%s", t.Kind, step.Label, step.Value)
	}
}

// first returns the first label that the selector mentions.
func (s *selector) first(labels map[string]string) (key, value string) {
	if len(s.terms) == 0 {
		return "", ""
	}
	return s.terms[0].key, labels[s.terms[0].key]
}

// explain says which label kept the selector from matching.
func (s *selector) explain(labels *view, kind string) (key, value, reason string) {
	for i := range s.terms {
		t := &s.terms[i]
		if t.matches(labels) {
			continue
		}
		value, ok := labels.get(t.index, t.key)
		if !ok {
			return t.key, "", fmt.Sprintf("the %s has no label %s", kind, t.key)
		}
		return t.key, value, fmt.Sprintf("the role requires %s=%s, but the %s has %s=%s", t.key, strings.ReplaceAll(some(t.values), ", ", " or "), kind, t.key, value)
	}
	return "", "", fmt.Sprintf("it selects no %ss", kind)
}

// explainUses names the first use that the role doesn't allow, what it would, and the trait values that make nothing legal.
func (r *role) explainUses(step *Step, k int, sub *Subject, values *[resource.MaxUses]string) {
	for i, u := range resource.TargetKinds[k].Uses {
		v := &r.allow.kinds[k].uses[i]
		if v.permit(&u, values[i], sub.Traits) {
			continue
		}
		step.Rule, step.Value, step.near = "allow."+u.Field, values[i], nearUse
		have, dropped := v.expand(sub.Traits)
		parts := []string{fmt.Sprintf("it doesn't allow %s %s", u.Name, values[i])}
		switch {
		case v.any:
			parts = append(parts, fmt.Sprintf("%.64q is not a valid %s", values[i], u.Name))
		case len(have) > 0:
			parts = append(parts, "it allows "+some(have))
		}
		for _, d := range dropped[:min(len(dropped), shown)] {
			parts = append(parts, fmt.Sprintf("the trait value %q doesn't make a valid %s and is left out", d, u.Name))
		}
		step.Reason = strings.Join(parts, "; ")
		return
	}
}

// shown is how many values a reason lists.
const shown = 8

func some(all []string) string {
	if len(all) <= shown {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], ", "), len(all)-shown)
}

// expand lists what the values stand for with these traits, sorted, and what was dropped.
func (v *values) expand(traits map[string][]string) (have, dropped []string) {
	for _, t := range v.list {
		h, d := t.Expand(traits)
		have, dropped = append(have, h...), append(dropped, d...)
	}
	return sortedUnique(have), sortedUnique(dropped)
}

func scopeOf(s string) string {
	if s == "" {
		return "/"
	}
	return s
}

// Next returns when a decision about the subject may change by itself: the end of its first grant, or zero.
func (sub Subject) Next() time.Time {
	var next time.Time
	for _, g := range sub.Grants {
		if sub.Now.Before(g.Until) && (next.IsZero() || g.Until.Before(next)) {
			next = g.Until
		}
	}
	return next
}
