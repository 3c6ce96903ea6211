package enrol

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
	retryDenied = 5 * time.Minute // only a person changes a denial or a quarantine
)

// Store keeps a credential over restarts; keys are kept elsewhere.
type Store interface {
	Load() (wire.HostCredential, bool, error)
	Save(wire.HostCredential) error
}

// Config is what a keeper needs. API, Claim, Keys and Documents are required.
type Config struct {
	API       API
	Claim     Claim
	Keys      Keys
	Documents Documents
	Store     Store             // nil keeps in memory alone
	Changed   func(*Credential) // called after each join and renewal; nil is none
	Log       *slog.Logger      // nil discards
	Now       func() time.Time  // nil is time.Now
}

// Keeper holds a host's credential and renews it. It is safe for concurrent use.
type Keeper struct {
	config  Config
	current atomic.Pointer[Credential]
}

// NewKeeper makes a keeper; a credential that the store holds and that is verified by the documents held is in force
// at once, without the control plane.
func NewKeeper(c Config) (*Keeper, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Changed == nil {
		c.Changed = func(*Credential) {}
	}
	k := &Keeper{config: c}
	if c.Store == nil {
		return k, nil
	}
	w, ok, err := c.Store.Load()
	if err != nil {
		return nil, fmt.Errorf("reading the credential: %w", err)
	}
	if !ok {
		return k, nil
	}
	held, err := Open(w, c.Claim.Kind, c.Keys, c.Documents, c.Now(), true)
	if err != nil {
		c.Log.Warn("The credential kept from an earlier run does not open; joining again", "error", err)
		return k, nil
	}
	k.current.Store(held)
	return k, nil
}

// Current gives the credential, which may have expired; nil before the first join.
func (k *Keeper) Current() *Credential { return k.current.Load() }

// Live reports whether there is a credential that has not expired.
func (k *Keeper) Live() bool {
	c := k.Current()
	return c != nil && k.config.Now().Before(c.Until)
}

// Run joins, and renews at two thirds of each credential's life, until the context ends. A renewal that fails leaves
// the credential in force until it expires.
func (k *Keeper) Run(ctx context.Context) {
	var said string
	wait := retryFirst
	for ctx.Err() == nil {
		if c := k.Current(); c != nil {
			pause(ctx, k.due(c))
			if ctx.Err() != nil {
				return
			}
		}
		err := k.Renew(ctx)
		if err == nil {
			wait, said = retryFirst, ""
			continue
		}
		if ctx.Err() != nil {
			return
		}
		f := fault.From(err)
		if said != f.Message {
			said = f.Message
			k.config.Log.WarnContext(ctx, "No new credential", "code", string(f.Code), "reason", f.Message, "hint", f.Hint, "error", err, "cause", f.Unwrap())
		}
		most := retryMost
		if f.Code == fault.Denied || f.Code == fault.Quarantined || f.Code == fault.Conflict {
			wait, most = retryDenied, retryDenied
		}
		pause(ctx, max(f.RetryAfter, retryFirst/2)+rand.N(wait))
		wait = min(2*wait, most)
	}
}

// due is how long to wait before renewing: two thirds of the life, give or take a tenth, so that hosts that joined
// together don't renew together. What is overdue is due now.
func (k *Keeper) due(c *Credential) time.Duration {
	life := c.Until.Sub(c.From)
	at := c.From.Add(life*2/3 - life/10 + rand.N(life/5+1))
	return at.Sub(k.config.Now())
}

// Renew joins once, as a renewal when there is a credential, and puts the answer in force.
func (k *Keeper) Renew(ctx context.Context) error {
	prior := k.Current()
	w, err := Join(ctx, k.config.API, k.config.Claim, k.config.Keys, prior)
	if err != nil {
		return fmt.Errorf("joining: %w", err)
	}
	c, err := Open(w, k.config.Claim.Kind, k.config.Keys, k.config.Documents, k.config.Now(), false)
	if err != nil {
		return fmt.Errorf("joining: %w", err)
	}
	if k.config.Store != nil {
		if err := k.config.Store.Save(w); err != nil {
			k.config.Log.ErrorContext(ctx, "Credential not kept for a restart", "error", err)
		}
	}
	k.current.Store(c)
	k.config.Log.InfoContext(ctx, "Credential taken", "renewal", prior != nil, "id", c.Host.ID, "targets", c.Host.Targets, "certificate", c.Host.Certificate, "expires_at", c.Until)
	k.config.Changed(c)
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
