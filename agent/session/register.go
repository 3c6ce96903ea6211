// Package session is what every service of an agent shares: who was admitted to which target and how, the sessions
// under each admission with their journal, and the end of both when a lock, a revocation, a changed decision or time
// takes back what was allowed.
//
// It knows no protocol and no document; those are the service's and the [Gate]'s. Nothing here waits for a person's
// connection: whoever is cut is cut at once, and told by the service if there is a way. Its entry point is [New].
package session

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/ration"
)

// Service serves streams to targets of one kind. It is registered by that kind.
type Service interface {
	// Serve serves one stream to its end and closes it. What the hint says is not proven.
	Serve(ctx context.Context, stream net.Conn, hint Hint)
}

// Hint is what a proxy says about a stream.
type Hint struct {
	Target  identity.Target // that the client asked for, by its name or the agent's id; this agent serves it
	Source  netip.AddrPort  // the client's address
	TraceID string
	Proxy   string // proxy id
}

// Gate decides. Its errors are faults whose sentences the user sees.
type Gate interface {
	// Admit decides whether a user, whom the protocol has proven, may use a target in a way. A denial carries a decision id.
	Admit(ctx context.Context, u identity.User, t identity.Target, use policy.Use) (policy.Decision, error)
	// Again decides again, without waiting, about what was admitted. Session is "" for the admission as a whole.
	Again(u identity.User, t identity.Target, use policy.Use, session string) (policy.Decision, error)
	// Now is this machine's time, corrected by the documents.
	Now() time.Time
	// Unseen is a time: whether a certificate that had expired by then was revoked isn't known. Zero is none.
	Unseen() time.Time
}

// Journal keeps audit events until they are delivered. The sequence, source and cluster are its to fill.
type Journal interface {
	// Room fails when there is no room for a new session's events.
	Room() error
	// Scarce reports that there is little room left, which the users' sessions have to share.
	Scarce() bool
	// Record keeps an event of a session.
	Record(audit.Event) error
	// Note keeps an event that is no session's, and fails when that would take room that sessions may need.
	Note(audit.Event) error
}

// Config is what a register needs. Gate, Journal and Host are required.
type Config struct {
	Gate    Gate
	Journal Journal
	Host    func() identity.Host // this agent, as its certificate says
	Cages   Cages                // nil leaves processes uncaged
	Records Records              // nil records nothing, and refuses sessions that must be recorded
	Log     *slog.Logger         // nil discards
	Entropy io.Reader            // nil is crypto/rand
}

// Register holds everyone who was admitted. It is safe for concurrent use.
type Register struct {
	config Config
	denied denials
	scarce *ration.Ration[string] // of sessions, while room for their events is

	mu   sync.Mutex
	live map[*Access]struct{}
}

// New makes a register.
func New(c Config) *Register {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	return &Register{
		config: c, live: map[*Access]struct{}{},
		denied: denials{ration: ration.NewDenials(), left: map[string]*count{}},
		scarce: ration.New[string](scarceEvery, scarceBurst, maxUsers),
	}
}

// Request is a user, proven by a protocol, who wants to use a target.
type Request struct {
	User    identity.User
	Expires time.Time // of the certificate that proved the user
	Hint    Hint
	Use     policy.Use
	// Cut ends the connection that the access came over, once and without waiting, when the access is taken back; the
	// fault says why. It is called when the sessions' processes were killed, or shortly after the kill began. nil is for none.
	Cut func(*fault.Fault)
}

// Admit decides and, if the answer is yes, holds the access until Close or until it is taken back. A refusal is a fault
// with a decision id, and an event.
func (r *Register) Admit(ctx context.Context, q Request) (*Access, error) {
	q.Hint.Target = r.config.Host().Named(q.Hint.Target)
	err := r.config.Journal.Room()
	var d policy.Decision
	if err == nil {
		d, err = r.config.Gate.Admit(ctx, q.User, q.Hint.Target, q.Use)
	}
	if err != nil {
		return nil, r.Refuse(q, err)
	}
	a := &Access{register: r, request: q, decision: d, sessions: map[*Session]struct{}{}}
	r.mu.Lock()
	r.live[a] = struct{}{}
	r.mu.Unlock()
	a.recheck() // documents may have arrived between the decision and now
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cut != nil {
		return nil, r.Refuse(q, a.cut)
	}
	return a, nil
}

// Refuse records that a user, whom a protocol has proven, was not admitted, and returns the fault for the user. Of a user
// who tries on and on, some are recorded one by one and the others counted: nobody fills the journal.
func (r *Register) Refuse(q Request, cause error) *fault.Fault {
	f := *fault.From(cause)
	if f.DecisionID == "" {
		f.DecisionID = identity.NewID("dec", r.config.Entropy, r.config.Gate.Now())
	}
	q.Hint.Target = r.config.Host().Named(q.Hint.Target)
	e := r.event(audit.SessionDenied, q)
	e.DecisionID, e.Outcome, e.Reason = f.DecisionID, audit.Denied, f.Message
	describe(&e, r.config.Host(), q.User, policy.Decision{})
	details(&e, cause)
	if !r.deny(q.User, e) {
		f.DecisionID = "" // there is no event by that name
		return f.Because(cause)
	}
	r.config.Log.Info("Session denied", "decision_id", f.DecisionID, "user", q.User.Name, "target", q.Hint.Target.String(), "code", string(f.Code), "reason", f.Message)
	return f.Because(cause)
}

// While room for events is scarce, a user may begin so many sessions at once, and one more each time that scarceEvery has
// passed. Their events, of at most some 32 KiB a session, then leave others room for hours.
const (
	scarceBurst = 20
	scarceEvery = 10 * time.Second
)

// room fails with a fault when a user may begin no session, because its events could not be kept or would take the room
// of other users' sessions.
func (r *Register) room(uid string) error {
	if err := r.config.Journal.Room(); err != nil {
		return err
	}
	if !r.config.Journal.Scarce() {
		return nil
	}
	if _, ok := r.scarce.Take(uid, time.Now()); !ok {
		return fault.New(fault.RateLimited, "too many sessions for a node whose audit spool is filling up",
			"try again in some seconds; restore the agent's connection to a proxy, and the proxy's to the control plane")
	}
	return nil
}

// Recheck decides again about everyone. Call it whenever documents have arrived; it doesn't wait.
func (r *Register) Recheck() {
	for _, a := range r.all() {
		a.recheck()
	}
}

// Users returns how many accesses are open.
func (r *Register) Users() int { return len(r.all()) }

func (r *Register) all() []*Access {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Access, 0, len(r.live))
	for a := range r.live {
		out = append(out, a)
	}
	return out
}
