// Package policy decides who may do what, from roles alone: default deny, roles add up, any deny wins. The
// same evaluator runs in agents, proxies, the API and the signers, so that all of them agree.
//
// It is pure: values in, [Decision] out. A denial is a Decision, not an error. It doesn't know where roles
// come from, who somebody is, or what locks there are. Its entry point is [Compile].
package policy

import (
	"time"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

// Subject is who asks, as the certificate states it.
type Subject struct {
	Roles  []string
	Traits map[string][]string
	Grants []identity.Grant // those not locked or revoked; each counts until its end
	Now    time.Time        // decides which grants count
}

// Of makes a subject from a user with the grants in force.
func Of(u identity.User, grants []identity.Grant, now time.Time) Subject {
	return Subject{Roles: u.Roles, Traits: u.Traits, Grants: grants, Now: now}
}

// Target is something that somebody wants to reach.
type Target struct {
	Kind   string // a row of resource.TargetKinds; nothing is allowed on another
	Name   string
	Scope  string // "" is /
	Labels map[string]string
}

func (t Target) id() identity.Target { return identity.Target{Kind: t.Kind, Name: t.Name} }

// Use is what a session says about how it uses a target, by the kind's resource.Use: {"login": "root"} on a node.
type Use map[string]string

// Login is the use of a node.
func Login(login string) Use { return Use{"login": login} }

// Decision is the answer, with what it is based on. The fields beside Allowed say which part of which role
// decided; they are empty where nothing did.
type Decision struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"` // a sentence for people
	Role    string `json:"role,omitempty"`
	Rule    string `json:"rule,omitempty"`  // path in the role, such as deny.logins
	Label   string `json:"label,omitempty"` // key of the label that decided
	Value   string `json:"value,omitempty"` // the value that it has, or the login
	Trace   []Step `json:"trace,omitempty"` // of every role, in the order of names
	Brief   string `json:"-"`               // of a denial: the reason without what the target is, for who may not see it

	Options Options   `json:"options,omitzero"` // folded over the roles that allow; zero for a denial
	Grants  []string  `json:"grants,omitempty"` // requests whose grants allow it, when no permanent role does
	Until   time.Time `json:"until,omitzero"`   // when it must be decided again, because a grant ends; zero for never
}

// Step is what one role had to say.
type Step struct {
	Role   string `json:"role"`
	Grant  string `json:"grant,omitempty"` // request that the role came from; "" for a permanent role
	Rule   string `json:"rule,omitempty"`
	Effect string `json:"effect"` // allows | denies | silent
	Reason string `json:"reason"`
	Label  string `json:"label,omitempty"`
	Value  string `json:"value,omitempty"`

	near int // of the silent steps the nearest explains most
}

// Effects of a step.
const (
	Allows = "allows"
	Denies = "denies"
	Silent = "silent"
)

// Set is a set of compiled roles. It never changes and is safe for concurrent use.
type Set struct{ roles map[string]*role }

// AllowsUse is [Set.Decide] without a trace, for lists.
func (s *Set) AllowsUse(sub *Subject, t *Target, use Use) bool {
	k, values, err := uses(t, use)
	if err != "" {
		return false
	}
	return s.allows(sub, t, k, &values)
}

func (s *Set) allows(sub *Subject, t *Target, k int, values *[resource.MaxUses]string) bool {
	allowed, labels := false, view{labels: t.Labels}
	for _, name := range sub.Roles {
		r := s.roles[name]
		if r == nil {
			continue
		}
		if r.denies(k, t, sub, &labels, values) {
			return false
		}
		allowed = allowed || r.allows(k, t, sub, &labels, values)
	}
	for i := range sub.Grants {
		if !sub.Grants[i].Covers(t.id(), sub.Now) {
			continue
		}
		for _, name := range sub.Grants[i].Roles {
			r := s.roles[name]
			if r == nil {
				continue
			}
			if r.denies(k, t, sub, &labels, values) {
				return false
			}
			allowed = allowed || r.allows(k, t, sub, &labels, values)
		}
	}
	return allowed
}

// held is a role that somebody has, permanently or by a grant.
type held struct {
	name  string
	grant *identity.Grant // nil for a permanent role
}

// held lists the roles that count for a target, permanent ones first; the nil target counts every grant in force.
func (sub *Subject) held(t *identity.Target) []held {
	var all []held
	for _, name := range sortedUnique(sub.Roles) {
		all = append(all, held{name: name})
	}
	for i := range sub.Grants {
		g := &sub.Grants[i]
		if t == nil && !sub.Now.Before(g.Until) || t != nil && !g.Covers(*t, sub.Now) {
			continue
		}
		for _, name := range g.Roles {
			all = append(all, held{name, g})
		}
	}
	return all
}

// DefaultTTL is how long a user's certificate lives when no other time is asked for.
const DefaultTTL = 8 * time.Hour

// TTL returns the life of a certificate: the shortest of what the subject's roles allow, what is asked (0 asks
// for the default of 8 h) and 12 h. Roles that the set doesn't know have no say.
func (s *Set) TTL(sub Subject, asked time.Duration) time.Duration {
	ttl := asked
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	ttl = min(ttl, resource.MaxSessionTTL)
	for _, h := range sub.held(nil) {
		if r := s.roles[h.name]; r != nil && r.options.MaxSessionTTL > 0 {
			ttl = min(ttl, time.Duration(r.options.MaxSessionTTL))
		}
	}
	return ttl
}

// Fresh reports whether one of the subject's roles demands documents that are at most five minutes old.
func (s *Set) Fresh(sub Subject) bool {
	return s.any(sub, func(o resource.RoleOptions) bool { return o.Fresh })
}

// PinSourceIP reports whether one of the subject's roles demands that its certificate is valid from one address alone.
func (s *Set) PinSourceIP(sub Subject) bool {
	return s.any(sub, func(o resource.RoleOptions) bool { return o.PinSourceIP })
}

func (s *Set) any(sub Subject, demands func(resource.RoleOptions) bool) bool {
	for _, h := range sub.held(nil) {
		if r := s.roles[h.name]; r != nil && demands(r.options) {
			return true
		}
	}
	return false
}

// Barred returns why one of the subject's roles denies its holders everything, and which role; "" when none does.
func (s *Set) Barred(sub Subject) (role, why string) {
	for _, h := range sub.held(nil) {
		if r := s.roles[h.name]; r != nil && r.barred != "" {
			return r.name, r.barred
		}
	}
	return "", ""
}
