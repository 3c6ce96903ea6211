package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stile-dev/stile/pkg/access"
)

// AllowsLogin is [Set.Login] without a trace, for lists.
func (s *Set) AllowsLogin(sub Subject, node Node, login string) bool {
	if !sub.names("node/" + node.Name) {
		return false
	}
	allowed, labels := false, view{labels: node.Labels}
	for _, name := range sub.Roles {
		r := s.roles[name]
		if r == nil || !access.Within(node.Scope, r.scope) {
			continue
		}
		if r.deniesLogin(sub, &labels, login) {
			return false
		}
		allowed = allowed || r.allowsLogin(sub, &labels, login)
	}
	return allowed
}

// names reports whether the subject is not confined to other targets.
func (sub Subject) names(target string) bool {
	return len(sub.Resources) == 0 || slices.Contains(sub.Resources, target)
}

func (r *role) allowsLogin(sub Subject, labels *view, login string) bool {
	return r.allow.labels.matches(labels) && r.allow.names(login, sub.Traits)
}

// deniesLogin: of logins and labels, those that the block speaks of must all match; of neither, nothing is denied.
func (r *role) deniesLogin(sub Subject, labels *view, login string) bool {
	d := &r.deny
	if !d.hasLogins && d.labels.empty() {
		return false
	}
	return (!d.hasLogins || d.names(login, sub.Traits)) && (d.labels.empty() || d.labels.matches(labels))
}

// names reports whether the block names the login, without making strings.
func (b *block) names(login string, traits map[string][]string) bool {
	if b.anyLogin {
		return true
	}
	for i := range b.logins {
		if stands(&b.logins[i], login, traits) {
			return true
		}
	}
	return false
}

// stands reports whether the template stands for the login. The login was checked to be a legal principal, or
// is compared whole with one that is, so a trait value that isn't one can't match.
func stands(t *access.Template, login string, traits map[string][]string) bool {
	if t.Trait == "" {
		return t.Literal == login
	}
	middle, ok := strings.CutPrefix(login, t.Prefix)
	if !ok {
		return false
	}
	middle, ok = strings.CutSuffix(middle, t.Suffix)
	return ok && legal(login) && slices.Contains(traits[t.Trait], middle)
}

// Login decides whether the subject may use a login on a node, and says why.
func (s *Set) Login(sub Subject, node Node, login string) Decision {
	if !sub.names("node/" + node.Name) {
		return Decision{
			Reason: fmt.Sprintf("the certificate is confined to %s", strings.Join(sub.Resources, ", ")),
			Rule:   "certificate.resources", Value: "node/" + node.Name,
		}
	}
	return s.fold(sub, fmt.Sprintf("login %s on node %s", login, node.Name), func(r *role) Step { return r.login(sub, node, login) })
}

// fold asks every role of the subject, in the order of names, and never stops early: the trace is for people
// who want to know all that stands in their way.
func (s *Set) fold(sub Subject, what string, ask func(*role) Step) Decision {
	d := Decision{Reason: fmt.Sprintf("no role allows %s", what)}
	var denied, allowed *Step
	for _, name := range sortedUnique(sub.Roles) {
		step := Step{Role: name, Effect: Silent, Reason: "the role is unknown and grants nothing"}
		if r := s.roles[name]; r != nil {
			step = ask(r)
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
	case allowed != nil:
		d.Allowed = true
		d.because(allowed)
	case len(d.Trace) == 0:
		d.Reason = "there is no role, and nothing is allowed without one"
	default:
		// Of several roles that stayed silent, the one that came nearest explains most.
		near := slices.MaxFunc(d.Trace, func(a, b Step) int { return nearness(a) - nearness(b) })
		d.Role, d.Rule, d.Label, d.Value = near.Role, near.Rule, near.Label, near.Value
		d.Reason += ": role " + near.Role + ": " + near.Reason
	}
	return d
}

func nearness(s Step) int {
	return map[string]int{ruleLabels: 2, ruleLogins: 3, ruleRules: 2, ruleScope: 1}[s.Rule]
}

func (d *Decision) because(s *Step) {
	d.Reason, d.Role, d.Rule, d.Label, d.Value = "role "+s.Role+": "+s.Reason, s.Role, s.Rule, s.Label, s.Value
}

// Paths in a role that a step may name.
const (
	ruleScope      = "scope"
	ruleLogins     = "allow.logins"
	ruleLabels     = "allow.node_labels"
	ruleRules      = "allow.rules"
	ruleDenyLogins = "deny.logins"
	ruleDenyLabels = "deny.node_labels"
	ruleDenyRules  = "deny.rules"
)

func sortedUnique(roles []string) []string {
	sorted := slices.Clone(roles)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// login is what one role says of a login on a node.
func (r *role) login(sub Subject, node Node, login string) Step {
	step, labels := Step{Role: r.name, Effect: Silent}, view{labels: node.Labels}
	switch {
	case !access.Within(node.Scope, r.scope):
		step.Rule, step.Value = ruleScope, node.Scope
		step.Reason = fmt.Sprintf("it acts at or below %s and the node is at %s", r.scope, scopeOf(node.Scope))
	case r.deniesLogin(sub, &labels, login):
		step.Effect = Denies
		r.explainDeny(&step, node, login)
	case !r.allow.labels.matches(&labels):
		step.Rule = ruleLabels
		step.Label, step.Value, step.Reason = r.allow.labels.explain(&labels)
	case !r.allow.names(login, sub.Traits):
		step.Rule, step.Value = ruleLogins, login
		step.Reason = r.explainLogins(sub, login)
	default:
		step.Effect, step.Rule, step.Value = Allows, ruleLogins, login
		step.Reason = fmt.Sprintf("allows login %s on node %s", login, node.Name)
	}
	return step
}

func (r *role) explainDeny(step *Step, node Node, login string) {
	d := &r.deny
	if d.hasLogins {
		step.Rule, step.Value = ruleDenyLogins, login
		step.Reason = fmt.Sprintf("denies login %s", login)
		if !d.labels.empty() {
			step.Reason += " on nodes like this one"
			step.Label, _ = d.labels.first(node.Labels)
		}
		return
	}
	step.Rule = ruleDenyLabels
	step.Label, step.Value = d.labels.first(node.Labels)
	step.Reason = "denies this node"
	if step.Label != "" {
		step.Reason = fmt.Sprintf("denies nodes with %s=%s", step.Label, step.Value)
	}
}

// first gives the first label that the selector speaks of.
func (s *selector) first(labels map[string]string) (key, value string) {
	if len(s.terms) == 0 {
		return "", ""
	}
	return s.terms[0].key, labels[s.terms[0].key]
}

// explain says which label kept the selector from matching.
func (s *selector) explain(labels *view) (key, value, reason string) {
	for i := range s.terms {
		t := &s.terms[i]
		if t.matches(labels) {
			continue
		}
		value, ok := labels.get(t.index, t.key)
		if !ok {
			return t.key, "", fmt.Sprintf("the node has no label %s", t.key)
		}
		return t.key, value, fmt.Sprintf("the node has %s=%s; the role wants %s", t.key, value, strings.Join(t.values, " or "))
	}
	return "", "", "it selects no nodes"
}

// explainLogins lists what the role would let in, and the trait values that make no legal login.
func (r *role) explainLogins(sub Subject, login string) string {
	var have, dropped []string
	for _, t := range r.allow.logins {
		l, d := t.Expand(sub.Traits)
		have, dropped = append(have, l...), append(dropped, d...)
	}
	parts := []string{fmt.Sprintf("it doesn't allow login %s", login)}
	if len(have) > 0 {
		parts = append(parts, "it allows "+strings.Join(sortedUnique(have), ", "))
	}
	for _, d := range sortedUnique(dropped) {
		parts = append(parts, fmt.Sprintf("the trait value %q makes no legal login and is left out", d))
	}
	return strings.Join(parts, "; ")
}

func scopeOf(s string) string {
	if s == "" {
		return "/"
	}
	return s
}

// Logins lists the logins that the subject may use on a node, sorted.
func (s *Set) Logins(sub Subject, node Node) []string {
	found := map[string]bool{}
	labels := view{labels: node.Labels}
	for _, name := range sub.Roles {
		r := s.roles[name]
		if r == nil || !access.Within(node.Scope, r.scope) || !r.allow.labels.matches(&labels) {
			continue
		}
		for _, t := range r.allow.logins {
			logins, _ := t.Expand(sub.Traits)
			for _, l := range logins {
				found[l] = true
			}
		}
	}
	maps.DeleteFunc(found, func(login string, _ bool) bool { return !s.AllowsLogin(sub, node, login) })
	return slices.Sorted(maps.Keys(found))
}

// Reaches reports whether the subject may use any login on a node.
func (s *Set) Reaches(sub Subject, node Node) bool {
	labels := view{labels: node.Labels}
	for _, name := range sub.Roles {
		r := s.roles[name]
		if r == nil || !access.Within(node.Scope, r.scope) || !r.allow.labels.matches(&labels) {
			continue
		}
		for i := range r.allow.logins {
			logins, _ := r.allow.logins[i].Expand(sub.Traits)
			if slices.ContainsFunc(logins, func(l string) bool { return s.AllowsLogin(sub, node, l) }) {
				return true
			}
		}
	}
	return false
}
