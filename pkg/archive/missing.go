package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// CheckerConfig is what a checker needs.
type CheckerConfig struct {
	// Entry returns what is known of a session's recording, or ErrNone.
	Entry func(ctx context.Context, session string) (Entry, error)
	// Begun passes on the session.start events that were received from one time to another, those that their agents have provably
	// written, and returns how many others there are.
	Begun   func(ctx context.Context, from, to time.Time, take func([]audit.Event) error) (strange int, err error)
	Ledger  Ledger
	Cluster string
	Keeps   time.Duration    // how long the ledger has an event
	Now     func() time.Time // nil is time.Now
}

// Checker looks whether sessions that were to be recorded have recordings.
type Checker struct{ config CheckerConfig }

// NewChecker makes a checker.
func NewChecker(c CheckerConfig) *Checker {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Checker{c}
}

// entriesAtOnce is how many entries are read at once.
const entriesAtOnce = 16

// Hour tells which sessions of the hour from a time on were to be recorded and have no recording, each once, and states how many
// there are. Recordings that were left by their agents count as well; [Sweeper] has told of them, or will.
func (c *Checker) Hour(ctx context.Context, from time.Time) (checked.Statement, error) {
	s := checked.Statement{Check: checked.Recordings, From: from, To: from.Add(checked.Hour)}
	if c.config.Now().Sub(from) > c.config.Keeps-24*time.Hour {
		s.Unproved = "it was looked at when the ledger didn't hold all of it any more"
		return s, nil
	}
	type session struct{ agent, id string }
	seen, odd := map[session]bool{}, 0
	strange, err := c.config.Begun(ctx, s.From, s.To, func(events []audit.Event) error {
		var some []audit.Event
		for _, e := range events {
			how, by := e.Data["recording"], session{agentOf(e), e.SessionID}
			if how != resource.RecordStrict && how != resource.RecordBestEffort || seen[by] {
				continue
			}
			if seen[by] = true; !identity.ValidID("ses", e.SessionID) { // of a release that took any: nothing can be kept under it
				odd++
				continue
			}
			some = append(some, e)
		}
		missing, left, err := c.lacking(ctx, some)
		if err != nil {
			return err
		}
		s.Looked += len(some)
		s.Found += len(missing) + left
		return c.tell(ctx, s.To, missing)
	})
	if err != nil {
		return s, fmt.Errorf("looking for recordings of sessions: %w", err)
	}
	var unproved []string
	if strange > 0 {
		unproved = append(unproved, fmt.Sprintf("%d events that say that sessions began are signed by no agent", strange))
	}
	if odd > 0 {
		unproved = append(unproved, fmt.Sprintf("%d sessions that began have ids that are none", odd))
	}
	s.Unproved = strings.Join(unproved, "; ")
	return s, nil
}

// lacking returns which sessions have no recording, and how many have one that its agent left.
func (c *Checker) lacking(ctx context.Context, starts []audit.Event) (missing []audit.Event, left int, err error) {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(entriesAtOnce)
	for _, e := range starts {
		g.Go(func() error {
			entry, err := c.config.Entry(ctx, e.SessionID)
			if err != nil && !errors.Is(err, ErrNone) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil, entry.Agent != agentOf(e):
				missing = append(missing, e)
			case entry.Abandoned:
				left++
			}
			return nil
		})
	}
	return missing, left, g.Wait()
}

// agentOf is who said that a session began.
func agentOf(e audit.Event) string {
	return strings.TrimPrefix(e.Source, names.WriterAgent+"/")
}

// clip is as much of what an agent chose as is told: an event that is too large could not be, and would hold up all others.
func clip(text string) string {
	const most = 400
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// tell says of sessions that they have no recording, the same each time.
func (c *Checker) tell(ctx context.Context, at time.Time, starts []audit.Event) error {
	if len(starts) == 0 {
		return nil
	}
	var all []audit.Event
	for _, start := range starts {
		sum := sha256.Sum256([]byte("recording missing\n" + start.SessionID + "\n" + start.Source))
		e := audit.New(audit.RecordingMissing, bytes.NewReader(sum[:]), at)
		e.Cluster, e.Source, e.Actor = c.config.Cluster, names.WriterFunction+"sweep", clip(start.Actor)
		e.TargetKind, e.Target, e.Scope, e.SessionID = clip(start.TargetKind), clip(start.Target), clip(start.Scope), start.SessionID
		e.Outcome = audit.Failure
		e.Reason = "the session began as one that is recorded, and its agent has not claimed a recording"
		e.Data = map[string]string{"agent": agentOf(start), "recording": start.Data["recording"], "started": start.Time.UTC().Format(time.RFC3339)}
		all = append(all, e)
	}
	return c.config.Ledger.Append(ctx, all...)
}
