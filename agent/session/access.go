package session

import (
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
)

// MaxSessions is how many sessions may be open at once under one access.
const MaxSessions = 64

// Access is one user's permission to use one target in one way, for as long as it lasts. It is safe for concurrent use.
type Access struct {
	register *Register
	request  Request

	mu       sync.Mutex
	begun    uint64 // rechecks
	newest   uint64 // those whose decision is in force
	decision policy.Decision
	sessions map[*Session]struct{}
	timer    *time.Timer  // when time alone may withdraw the access
	cut      *fault.Fault // set once it was withdrawn: no further session begins
	closed   bool
}

// User is who was admitted.
func (a *Access) User() identity.User { return a.request.User }

// Target is what the access is for.
func (a *Access) Target() identity.Target { return a.request.Hint.Target }

// Hint is what the proxy said.
func (a *Access) Hint() Hint { return a.request.Hint }

// Decision is the newest one.
func (a *Access) Decision() policy.Decision {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.decision
}

// Open makes a session, which is not yet journaled. It fails with a fault when the access was withdrawn or has too
// many.
func (a *Access) Open() (*Session, error) {
	s := &Session{access: a}
	s.id, s.secret = identity.NewSession(a.register.config.Entropy, a.register.config.Gate.Now())
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.cut != nil:
		return nil, a.cut
	case a.closed:
		return nil, fault.New(fault.Unavailable, "the connection is over", "connect again")
	case len(a.sessions) >= MaxSessions:
		return nil, fault.New(fault.RateLimited, "too many sessions on one connection", "close one")
	}
	a.sessions[s] = struct{}{}
	return s, nil
}

// Close ends the access, whose sessions go on until their service ends them.
func (a *Access) Close() {
	a.mu.Lock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	a.leave()
}

// recheck decides again, cuts what is no longer allowed, and sets the timer for the next time.
func (a *Access) recheck() {
	a.mu.Lock()
	a.begun++
	turn := a.begun
	a.mu.Unlock()
	gate, q := a.register.config.Gate, &a.request
	d, err := gate.Again(q.User, q.Hint.Target, q.Use, "")
	if err == nil && !d.Options.OutliveCertificate && !gate.Now().Before(q.Expires) {
		err = fault.New(fault.Expired, "the certificate expired", "log in again with: stile login --iam")
	}
	if err == nil && !q.Expires.After(gate.Unseen()) {
		err = fault.Newf(fault.Expired, "log in again with: stile login --iam",
			"the certificate expired, and whether it was revoked is not known here: nothing had been heard from the control plane for more than %d hours", document.SurelyKept/time.Hour)
	}
	if err != nil {
		a.end(fault.From(err))
		return
	}
	a.mu.Lock()
	if turn > a.newest { // else it was slow, and a newer decision is in force
		a.newest, a.decision = turn, d
		a.schedule(gate.Now())
	}
	a.mu.Unlock()
	for _, s := range a.open() {
		if _, err := gate.Again(q.User, q.Hint.Target, q.Use, s.id); err != nil {
			go s.kill(fault.From(err))
		}
	}
}

// soonest keeps a clock that is a little behind from making us spin.
const soonest = 20 * time.Millisecond

// schedule has the access decided again when the certificate expires or a grant ends, whichever is first. A timer that
// fires early finds nothing changed and sets itself again.
func (a *Access) schedule(now time.Time) {
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.closed || a.cut != nil {
		return
	}
	next := a.decision.Until
	if !a.decision.Options.OutliveCertificate && (next.IsZero() || a.request.Expires.Before(next)) {
		next = a.request.Expires
	}
	if !next.IsZero() {
		a.timer = time.AfterFunc(max(next.Sub(now), soonest), a.recheck)
	}
}

// killing is how long cutting a connection waits for its sessions' processes to be gone.
const killing = 300 * time.Millisecond

// end withdraws the access: its sessions' processes are killed first, then the connection is cut, however long they
// take. It doesn't wait.
func (a *Access) end(f *fault.Fault) {
	a.mu.Lock()
	if a.cut != nil || a.closed {
		a.mu.Unlock()
		return
	}
	a.cut = f
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	a.leave()
	a.register.config.Log.Info("Access withdrawn", "user", a.request.User.Name, "target", a.Target().String(), "reason", f.Message)
	go func() {
		var kills sync.WaitGroup
		for _, s := range a.open() {
			kills.Go(func() { s.kill(f) })
		}
		gone := make(chan struct{})
		go func() {
			kills.Wait()
			close(gone)
		}()
		limit := time.NewTimer(killing)
		defer limit.Stop()
		select {
		case <-gone:
		case <-limit.C:
		}
		if a.request.Cut != nil {
			a.request.Cut(f)
		}
	}()
}

func (a *Access) leave() {
	a.register.mu.Lock()
	delete(a.register.live, a)
	a.register.mu.Unlock()
}

func (a *Access) open() []*Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*Session, 0, len(a.sessions))
	for s := range a.sessions {
		out = append(out, s)
	}
	return out
}

func (a *Access) forget(s *Session) {
	a.mu.Lock()
	delete(a.sessions, s)
	a.mu.Unlock()
}
