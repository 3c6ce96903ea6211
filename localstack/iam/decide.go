package iam

import (
	"fmt"
	"strings"
)

// bindings are all policies that decide about a principal, besides those on the resource.
type bindings struct {
	identity []*Policy
	boundary *Policy // nil when there is none
	session  []*Policy
}

// Decide answers the query as AWS documents its policy evaluation:
//
//   - a Deny that applies, on whichever side, ends it;
//   - within one account an allow of the identity's policies or of the resource's is enough; a key policy
//     and a trust policy must allow by themselves, except that a statement for the account hands the
//     question to the identity's policies;
//   - a resource in another account needs both sides;
//   - boundary and session policies must allow as well, unless the resource's policy names the session itself
//     (or, for the boundary, the user itself), or everybody with a condition that names an aws:PrincipalArn;
//   - a NotPrincipal exempts nobody who has a boundary;
//   - a service principal has no identity policies, and nobody (a nil principal) is never allowed.
//
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html.
func (a *Authority) Decide(p *Principal, q Query) Decision {
	if p == nil {
		return Decision{Reason: "because the call is anonymous"}
	}
	if !strings.Contains(q.Action, ":") || strings.ContainsAny(q.Action, "*?") {
		return Decision{Reason: "because " + q.Action + " is not a single action"}
	}
	b, err := a.bindings(p)
	if err != nil {
		return Decision{Reason: "because " + err.Error()}
	}
	if q.ResourceAccount == "" {
		if q.ResourceAccount = accountOf(q.Resource); q.ResourceAccount == "" {
			q.ResourceAccount = a.Account()
		}
	}
	ctx, err := a.context(p, q)
	if err != nil {
		return Decision{Reason: "because " + err.Error()}
	}
	j := judge{who: p, bounded: b.boundary != nil, query: q, context: ctx}
	d := j.decide(b)
	if d.identity != nil && p.Kind == AssumedRole {
		a.uses.add(j.used(d.identity))
	}
	return d
}

// context adds what is known of the principal to the caller's keys. A key that nobody listed in [keys] is a fault of
// the service that supplies it: no policy could ask for it.
func (a *Authority) context(p *Principal, q Query) (condition, error) {
	for key := range q.Context {
		if !supplied(key) {
			return nil, fmt.Errorf("the context key %s is not in the list of those that are supplied", key)
		}
	}
	c := newCondition(q.Context)
	c.set("aws:ResourceAccount", q.ResourceAccount)
	if p.Kind == Service {
		return c, nil
	}
	c.set("aws:username", p.user)
	arn := p.ARN
	if p.Kind == AssumedRole {
		arn = p.RoleARN
	}
	c.set("aws:PrincipalArn", arn)
	for k, v := range p.Tags {
		c.set(principalTag+k, v)
	}
	return c, nil
}

// judge decides one query.
type judge struct {
	who     *Principal
	bounded bool // it has a permissions boundary
	query   Query
	context condition
}

// verdict is what one set of policies says.
type verdict struct {
	deny  *found
	allow *found // the strongest allow
	grip  grip   // of the strongest allow, for policies on the resource
}

type found struct {
	policy    *Policy
	statement *Statement
}

func (j judge) decide(b bindings) Decision {
	sides := []struct {
		kind     string
		policies []*Policy
	}{
		{"identity-based", b.identity},
		{"resource-based", j.query.ResourcePolicies},
		{"permissions boundary", listed(b.boundary)},
		{"session", b.session},
	}
	var verdicts [4]verdict
	for i, side := range sides {
		v, err := j.read(side.policies)
		if err != nil {
			return Decision{Reason: err.Error()}
		}
		if v.deny != nil {
			return Decision{
				Explicit: true, Policy: v.deny.policy.Name, Sid: v.deny.statement.Sid,
				Reason: article(side.kind),
			}
		}
		verdicts[i] = v
	}
	return j.weigh(b, verdicts)
}

func article(kind string) string {
	switch {
	case strings.HasPrefix(kind, "identity"):
		return "with an explicit deny in an " + kind + " policy"
	case strings.HasSuffix(kind, "boundary"):
		return "with an explicit deny in a " + kind
	default:
		return "with an explicit deny in a " + kind + " policy"
	}
}

// weigh combines the sides once nothing denies.
func (j judge) weigh(b bindings, v [4]verdict) Decision {
	identity, resource, boundary, session := v[0], v[1], v[2], v[3]
	by := resource
	direct := resource.allow != nil && resource.grip > asAccount
	switch {
	case j.who.Kind == Service:
		if !direct {
			return j.missing("resource-based")
		}
		return allowed(resource.allow)
	case j.query.ResourceAccount != j.who.Account:
		if resource.allow == nil {
			return j.missing("resource-based")
		}
		direct = false
	case j.query.Mode != Ordinary && resource.allow == nil:
		return j.missing("resource-based")
	}
	if !direct {
		if by = identity; identity.allow == nil {
			return j.missing("identity-based")
		}
	}
	itself := direct && resource.grip == asItself
	if b.boundary != nil && boundary.allow == nil && !itself {
		return j.missing("permissions boundary")
	}
	if len(b.session) > 0 && session.allow == nil && !itself {
		return j.missing("session")
	}
	d := allowed(by.allow)
	if !direct {
		d.identity = by.allow.statement
	}
	return d
}

func allowed(f *found) Decision {
	return Decision{Allowed: true, Policy: f.policy.Name, Sid: f.statement.Sid, Reason: "by statement " + f.statement.Sid + " of " + f.policy.Name}
}

func (j judge) missing(kind string) Decision {
	if strings.HasSuffix(kind, "boundary") {
		return Decision{Reason: "because no " + kind + " allows the " + j.query.Action + " action"}
	}
	return Decision{Reason: "because no " + kind + " policy allows the " + j.query.Action + " action"}
}

func listed(p *Policy) []*Policy {
	if p == nil {
		return nil
	}
	return []*Policy{p}
}

// read finds the first deny, else the strongest allow. It looks at every statement, so that one that
// cannot be decided is never passed over because another allowed.
func (j judge) read(policies []*Policy) (verdict, error) {
	var v verdict
	for _, p := range policies {
		for i := range p.Statements {
			s := &p.Statements[i]
			g, err := j.applies(s)
			if err != nil {
				return v, err
			}
			switch {
			case g == none:
			case !s.Allow && v.deny == nil:
				v.deny = &found{p, s}
			case s.Allow && (v.allow == nil || g > v.grip):
				v.allow, v.grip = &found{p, s}, g
			}
		}
	}
	return v, nil
}

// applies reports whether, and how, the statement applies to this query.
func (j judge) applies(s *Statement) (grip, error) {
	g := asItself
	if s.principal != nil {
		if g = s.principal.match(j.who, j.bounded); g == none {
			return none, nil
		}
	}
	if !j.action(s) {
		return none, nil
	}
	if ok, err := j.resource(s); err != nil || !ok {
		return none, err
	}
	for _, c := range s.clauses {
		ok, err := c.holds(j.context)
		if err != nil || !ok {
			return none, err
		}
		if c.names(principalARN) && g == asRole && s.principal.anyone {
			g = asItself
		}
	}
	return g, nil
}

func (j judge) action(s *Statement) bool {
	for _, a := range s.actions.values {
		if likeAction(a, j.query.Action) {
			return !s.actions.negated
		}
	}
	return s.actions.negated
}

func (j judge) resource(s *Statement) (bool, error) {
	if !s.resources.given {
		return true, nil // a trust policy
	}
	for _, r := range s.resources.values {
		p, ok := r.expand(j.context)
		if !ok && s.resources.negated {
			return false, fmt.Errorf("because the NotResource of statement %s has a policy variable without a value here", s.Sid)
		}
		if ok && j.resourceIs(p) {
			return !s.resources.negated, nil
		}
	}
	return s.resources.negated, nil
}

// resourceIs: an action without a resource is only met by "*".
func (j judge) resourceIs(p pattern) bool {
	if j.query.Resource == "*" {
		return len(p) == 1 && p[0].kind == anyRun
	}
	return likeARN(p, j.query.Resource)
}
