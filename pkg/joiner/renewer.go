package joiner

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// Waiting between attempts, with full jitter.
const (
	retryFirst  = time.Second
	retryMost   = time.Minute
	retryDenied = 5 * time.Minute // only a person can change a denial or a quarantine
)

// Store keeps a credential across restarts; keys are kept elsewhere.
type Store interface {
	Load() (wire.HostCredential, bool, error)
	Save(wire.HostCredential) error
}

// Config is what a renewer needs. API, Claim, Keys and Documents are required.
type Config struct {
	API       API
	Claim     Claim
	Keys      Keys
	Documents Documents
	Store     Store             // nil keeps it only in memory
	Changed   func(*Credential) // called after each join and renewal; nil is none
	Log       *slog.Logger      // nil discards
	Now       func() time.Time  // nil is time.Now
}

// Renewer holds a host's credential and renews it. It is safe for concurrent use.
type Renewer struct {
	config  Config
	current atomic.Pointer[Credential]
	refusal atomic.Pointer[refusal]
}

// refusal is why an attempt failed, and when the next one is.
type refusal struct {
	why  *fault.Fault
	next time.Time
}

// NewRenewer returns a renewer; a stored credential that the documents held verify is in force
// at once, without the control plane.
func NewRenewer(c Config) (*Renewer, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Changed == nil {
		c.Changed = func(*Credential) {}
	}
	r := &Renewer{config: c}
	if c.Store == nil {
		return r, nil
	}
	w, ok, err := c.Store.Load()
	if err != nil {
		return nil, fmt.Errorf("reading the credential: %w", err)
	}
	if !ok {
		return r, nil
	}
	held, err := Open(w, c.Claim.Kind, c.Keys, c.Documents, c.Now(), true)
	if err != nil {
		c.Log.Warn("The credential kept from an earlier run does not open; joining again", "error", err)
		return r, nil
	}
	r.current.Store(held)
	return r, nil
}

// Current returns the credential, which may have expired; nil before the first join.
func (r *Renewer) Current() *Credential { return r.current.Load() }

// Refusal says why the last attempt to join or to renew failed, nil when it didn't, and when the next one is.
func (r *Renewer) Refusal() (f *fault.Fault, next time.Time) {
	if last := r.refusal.Load(); last != nil {
		return last.why, last.next
	}
	return nil, time.Time{}
}

// Next says what the next attempt is: to join, or to renew, with what is true until then. A refusal of the credential, or
// of whom it names, may be a revocation, which ends the certificate in force as well.
func (r *Renewer) Next() string {
	f, _ := r.Refusal()
	switch {
	case r.Current() == nil:
		return "join again"
	case r.Live() && f != nil && (f.Code == fault.Unauthenticated || f.Code == fault.Denied):
		return "renew again, in vain until the hint is followed; the certificate in force is good until it expires, unless it was revoked"
	case r.Live():
		return "renew again; the certificate in force is good until it expires"
	}
	return "renew the expired certificate again"
}

// Live reports whether there is a credential that has not expired.
func (r *Renewer) Live() bool {
	c := r.Current()
	return c != nil && r.config.Now().Before(c.Until)
}

// Run joins, and renews at two thirds of each credential's life, until the context ends. A renewal that fails leaves
// the credential in force until it expires.
func (r *Renewer) Run(ctx context.Context) {
	var said string
	wait := retryFirst
	for ctx.Err() == nil {
		if c := r.Current(); c != nil {
			pause(ctx, r.due(c))
			if ctx.Err() != nil {
				return
			}
		}
		err := r.Renew(ctx)
		if err == nil {
			wait, said = retryFirst, ""
			r.refusal.Store(nil)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		f := fault.From(err)
		most := retryMost
		if f.Code == fault.Denied || f.Code == fault.Quarantined || f.Code == fault.Conflict {
			wait, most = retryDenied, retryDenied
		}
		in := max(f.RetryAfter, retryFirst/2) + rand.N(wait)
		r.refusal.Store(&refusal{f, r.config.Now().Add(in)})
		if said != f.Message {
			said = f.Message
			r.config.Log.WarnContext(ctx, "No new credential", "code", string(f.Code), "reason", f.Message, "hint", f.Hint,
				"next", r.Next(), "retry_in", in.Round(100*time.Millisecond).String(), "error", err, "cause", f.Unwrap())
		}
		pause(ctx, in)
		wait = min(2*wait, most)
	}
}

// due returns how long to wait before renewing: two thirds of the life, give or take a tenth, so that hosts that joined
// together don't renew together. What is overdue is due now.
func (r *Renewer) due(c *Credential) time.Duration {
	life := c.Until.Sub(c.From)
	at := c.From.Add(life*2/3 - life/10 + rand.N(life/5+1))
	return at.Sub(r.config.Now())
}

// Renew joins once, as a renewal when there is a credential, and puts the answer into force.
func (r *Renewer) Renew(ctx context.Context) error {
	prior := r.Current()
	w, err := Join(ctx, r.config.API, r.config.Claim, r.config.Keys, prior)
	if err != nil {
		return fmt.Errorf("joining: %w", err)
	}
	c, err := Open(w, r.config.Claim.Kind, r.config.Keys, r.config.Documents, r.config.Now(), false)
	if err != nil {
		return fmt.Errorf("joining: %w", err)
	}
	if r.config.Store != nil {
		if err := r.config.Store.Save(w); err != nil {
			r.config.Log.ErrorContext(ctx, "Credential not kept for a restart", "error", err)
		}
	}
	r.current.Store(c)
	r.config.Log.InfoContext(ctx, "Credential accepted", "renewal", prior != nil, "id", c.Host.ID, "targets", c.Host.Targets, "certificate", c.Host.Certificate, "expires_at", c.Until)
	r.config.Changed(c)
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
