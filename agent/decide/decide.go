// Package decide is where an agent decides: from the signed documents that it holds and its own certificate,
// whether a user whom a protocol has proven may use a target that the agent serves.
//
// It asks nobody; with the control plane down it decides the same. Its entry point is [New].
package decide

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
)

// patience is how long a decision waits for documents that are as new as the certificate.
const patience = 3 * time.Second

// Config is what decisions rest on. Documents and Host are required.
type Config struct {
	Documents document.Feed
	Host      func() identity.Host // this agent, as its certificate says
	Clock     func() time.Time     // nil is time.Now
	Entropy   io.Reader            // nil is crypto/rand
}

// Decider decides. It is safe for concurrent use.
type Decider struct{ config Config }

// New makes a decider.
func New(c Config) *Decider {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	return &Decider{c}
}

// Now is this machine's time, no earlier than what the documents say.
func (d *Decider) Now() time.Time { return d.config.Documents.State().Now(d.config.Clock()) }

// Unseen is since when it isn't known whether certificates that had expired were revoked; zero when it is.
func (d *Decider) Unseen() time.Time { return d.config.Documents.State().Unseen }

// Admit decides whether a user, whose certificate was verified, may use a target: documents new enough, no lock, and
// roles that allow it. A refusal is a [Denial] with a decision id.
func (d *Decider) Admit(ctx context.Context, user identity.User, target identity.Target, use policy.Use) (policy.Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	state, err := document.Await(ctx, d.config.Documents, func(s document.State) error { return d.standing(s, user, target, use, "") })
	if err != nil {
		return policy.Decision{}, d.refuse(fault.From(err), nil)
	}
	decision := d.decide(state, user, target, use)
	if !decision.Allowed {
		return decision, d.refuse(d.denied(state, user, target, decision), decision.Trace)
	}
	return decision, nil
}

// Again decides once more about what was admitted, without waiting. A silent feed ends nothing that is running; locks,
// revocations and a changed decision do.
func (d *Decider) Again(user identity.User, target identity.Target, use policy.Use, session string) (policy.Decision, error) {
	state := d.config.Documents.State()
	if err := d.standing(state, user, target, use, session); err != nil && !fault.Is(err, fault.Unavailable) {
		return policy.Decision{}, err
	}
	decision := d.decide(state, user, target, use)
	if !decision.Allowed {
		return decision, d.denied(state, user, target, decision)
	}
	return decision, nil
}

// denied tells the user why. Who may not use the target in any way isn't told its labels and scope: the audit event's
// trace has them.
func (d *Decider) denied(s document.State, user identity.User, target identity.Target, decision policy.Decision) *fault.Fault {
	reason := decision.Brief
	if s.Roles().Reaches(s.Subject(user, d.config.Clock()), d.seen(target)) {
		reason = decision.Reason
	}
	hint := "ask an administrator for a role that allows it; stile ls shows what you may use"
	if decision.Denies() {
		hint = "ask an administrator to change role " + decision.Role + ": a denial outweighs whatever other roles allow"
	}
	return fault.Newf(fault.Denied, hint, "access denied: %s", reason)
}

// standing asks the documents whether the user is in good standing, naming everything that a lock can name.
func (d *Decider) standing(s document.State, user identity.User, target identity.Target, use policy.Use, session string) error {
	now := d.config.Clock()
	also := append(target.Refs(), identity.Ref{Target: "agent", Value: d.config.Host().ID})
	if login := use["login"]; login != "" { // a database's user is not one of our users
		also = append(also, identity.Ref{Target: "login", Value: login})
	}
	if session != "" {
		also = append(also, identity.Ref{Target: "session", Value: session})
	}
	return s.Standing(user, document.Use{Now: now, Fresh: s.Roles().Fresh(s.Subject(user, now)), Also: also})
}

// seen is the target as the roles see it: with the agent's pinned labels and scope, from its certificate alone.
func (d *Decider) seen(target identity.Target) policy.Target {
	host := d.config.Host()
	return policy.Target{Kind: target.Kind, Name: target.Name, Scope: host.Scope, Labels: host.Labels}
}

func (d *Decider) decide(s document.State, user identity.User, target identity.Target, use policy.Use) policy.Decision {
	decision := s.Roles().Decide(s.Subject(user, d.config.Clock()), d.seen(target), use)
	if decision.Options.Record == "" { // no role says it
		decision.Options.Record = s.Record()
	}
	return decision
}

// maxTrace is how much of a trace goes into an audit event, in bytes of JSON: whoever is refused again and again
// must not fill anything by having many roles.
const maxTrace = 2 << 10

// Denial is why a user was not admitted, with what the decision rests on. Its fault is what the user sees.
type Denial struct {
	fault *fault.Fault
	trace []policy.Step
}

// Error returns the fault's message.
func (d *Denial) Error() string { return d.fault.Error() }

// Unwrap returns the fault.
func (d *Denial) Unwrap() error { return d.fault }

// Details lists what the audit event of the decision should hold: of a long trace the denials and what else there is
// room for, with the number of all steps.
func (d *Denial) Details() map[string]string {
	if len(d.trace) == 0 {
		return nil
	}
	steps := slices.Clone(d.trace)
	slices.SortStableFunc(steps, func(a, b policy.Step) int { return first(a) - first(b) })
	short := make([]json.RawMessage, 0, len(steps))
	size := len("[]")
	for _, s := range steps {
		b, err := json.Marshal(s)
		if size += len(b) + len(","); err != nil || size > maxTrace {
			break
		}
		short = append(short, b)
	}
	out := map[string]string{}
	if b, err := json.Marshal(short); err == nil && len(short) > 0 {
		out["trace"] = string(b)
	}
	if len(short) < len(steps) {
		out["steps"] = strconv.Itoa(len(steps))
	}
	return out
}

// first sorts denials before what else a trace holds.
func first(s policy.Step) int {
	if s.Effect == policy.Denies {
		return 0
	}
	return 1
}

// refuse gives a denial its id.
func (d *Decider) refuse(f *fault.Fault, trace []policy.Step) error {
	f.DecisionID = identity.NewID("dec", d.config.Entropy, d.config.Clock())
	return &Denial{f, trace}
}
