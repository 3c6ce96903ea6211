package archive

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/recording"
)

// Lease says until when the agent of a recording that isn't complete counts as alive.
type Lease struct {
	Session, Agent string
	Until          time.Time
}

// ErrHeardOf says that a recording's agent has been heard of again, or has completed it.
var ErrHeardOf = errors.New("the recording's agent has been heard of")

// Leases is the store in the form that a sweeper needs.
type Leases interface {
	// Lapsed returns leases that ended before a time, at most so many.
	Lapsed(ctx context.Context, now time.Time, most int) ([]Lease, error)
	// Lapses fails with ErrHeardOf unless the lease is still as it was found.
	Lapses(context.Context, Lease) error
	// Get returns the entry of a session, or ErrNone.
	Get(ctx context.Context, session string) (Entry, error)
	// Abandon marks an entry and drops its lease, or fails with ErrHeardOf.
	Abandon(context.Context, Entry, Lease) error
	// Drop removes a lease, or fails with ErrHeardOf.
	Drop(context.Context, Lease) error
}

// Shelf is the bucket in the form that a sweeper needs: it reads no recording.
type Shelf interface {
	// Names passes on the names and sizes of the objects under a prefix, in order of names.
	Names(ctx context.Context, prefix string, take func(name string, size int64)) error
	// Head describes what is under a key, and whether anything is.
	Head(ctx context.Context, key string) (Object, bool, error)
	// State puts a statement under a key, unless there is one.
	State(ctx context.Context, key string, body []byte) error
}

// SweeperConfig is what a sweeper needs.
type SweeperConfig struct {
	Leases Leases
	Shelf  Shelf
	Ledger Ledger
	// Ended reports whether the ledger holds the end of a session.
	Ended   func(ctx context.Context, session string) (bool, error)
	Cluster string
	Entropy io.Reader
}

// Sweeper closes recordings whose agents aren't heard of any more. An agent that comes back brings the rest all the same.
type Sweeper struct{ config SweeperConfig }

// NewSweeper makes a sweeper.
func NewSweeper(c SweeperConfig) *Sweeper { return &Sweeper{c} }

// mostSwept is how many recordings a run closes; the next one goes on.
const mostSwept = 200

// mostSeen is of how many lapsed leases a run chooses those, and patience how long it looks at one of them: an agent that leaves
// many behind, or any that take long, holds up no other for ever.
const (
	mostSeen = 20 * mostSwept
	patience = time.Minute
)

// maxRuns is how many runs of missing chunks a statement names.
const maxRuns = 200

// Sweep closes what is abandoned and returns the sessions. One recording that can't be closed holds up no other: it is tried
// again by the next run, and part of the error.
func (s *Sweeper) Sweep(ctx context.Context, now time.Time) ([]string, error) {
	lapsed, err := s.config.Leases.Lapsed(ctx, now, mostSeen)
	if err != nil {
		return nil, fmt.Errorf("looking for recordings whose agents aren't heard of: %w", err)
	}
	var closed []string
	var failed []error
	for _, l := range inTurn(lapsed, mostSwept) {
		one, cancel := context.WithTimeout(ctx, patience)
		did, err := s.close(one, l, now)
		cancel()
		switch {
		case ctx.Err() != nil:
			return closed, errors.Join(append(failed, ctx.Err())...)
		case err != nil && !errors.Is(err, ErrHeardOf):
			failed = append(failed, fmt.Errorf("closing %s: %w", l.Session, err))
		case did && err == nil:
			closed = append(closed, l.Session)
		}
	}
	return closed, errors.Join(failed...)
}

// inTurn chooses leases, at most so many: one of each agent, the second of each, and so on, the agents in any order.
func inTurn(all []Lease, most int) []Lease {
	of := map[string][]Lease{}
	for _, l := range all {
		of[l.Agent] = append(of[l.Agent], l)
	}
	agents := slices.Collect(maps.Keys(of))
	rand.Shuffle(len(agents), func(i, j int) { agents[i], agents[j] = agents[j], agents[i] })
	out := make([]Lease, 0, min(len(all), most))
	for turn := 0; len(out) < cap(out); turn++ {
		for _, agent := range agents {
			if turn < len(of[agent]) && len(out) < cap(out) {
				out = append(out, of[agent][turn])
			}
		}
	}
	return out
}

// close states what there is of a recording, writes what the ledger lacks, and marks the recording, in this order: a run that is
// cut off is made good by the next one.
func (s *Sweeper) close(ctx context.Context, l Lease, now time.Time) (bool, error) {
	e, err := s.config.Leases.Get(ctx, l.Session)
	if errors.Is(err, ErrNone) || err == nil && (e.Complete || e.Abandoned) {
		return false, s.config.Leases.Drop(ctx, l)
	}
	if err != nil {
		return false, err
	}
	prefix, err := recording.Prefix(l.Session)
	if err != nil {
		return false, err
	}
	st, err := s.found(ctx, prefix, e, l, now)
	if err != nil {
		return false, err
	}
	if err := s.config.Leases.Lapses(ctx, l); err != nil { // others were closed since it was found
		return false, err
	}
	if err := s.config.Shelf.State(ctx, prefix+recording.StatementName, st.Marshal()); err != nil {
		return false, err
	}
	if err := s.tell(ctx, e, st, now); err != nil {
		return false, err
	}
	return true, s.config.Leases.Abandon(ctx, e, l)
}

// found says what there is of a recording.
func (s *Sweeper) found(ctx context.Context, prefix string, e Entry, l Lease, now time.Time) (recording.Statement, error) {
	st := recording.Statement{V: 1, Session: e.Session, Cluster: s.config.Cluster, Agent: e.Agent, Lapsed: l.Until, Made: now.UTC()}
	next, last := 0, ""
	err := s.config.Shelf.Names(ctx, prefix, func(name string, size int64) {
		seq, manifest, err := recording.ParseName(name)
		if err != nil || manifest {
			return
		}
		if seq > next && len(st.Missing) < maxRuns {
			st.Missing = append(st.Missing, recording.Missing{First: next, Last: seq - 1, Why: "it was not there"})
		}
		st.Chunks, st.Size, next, last = st.Chunks+1, st.Size+size, seq+1, name
	})
	if err != nil || last == "" {
		return st, err
	}
	o, _, err := s.config.Shelf.Head(ctx, prefix+last)
	st.Last = hex.EncodeToString(o.SHA256)
	return st, err
}

// tell writes that the recording is abandoned, and the session's end if nobody did.
func (s *Sweeper) tell(ctx context.Context, e Entry, st recording.Statement, now time.Time) error {
	event := func(t audit.Type) audit.Event {
		out := audit.New(t, s.config.Entropy, now)
		out.Cluster, out.Source, out.Actor = s.config.Cluster, names.WriterFunction+"sweep", "user/"+e.User
		out.TargetKind, out.Target, out.Scope, out.SessionID = e.Target.Kind, e.Target.Name, e.Scope, e.Session
		out.Outcome, out.Reason = audit.Failure, fmt.Sprintf("nothing was heard of agent %s for %v, until %s", e.Agent, recording.LeaseFor, st.Lapsed.Format(time.RFC3339))
		out.Data = map[string]string{"uid": e.UID, "agent": e.Agent, "chunks": strconv.Itoa(st.Chunks)}
		if st.Last != "" {
			out.Data["last"] = st.Last
		}
		if len(st.Missing) > 0 {
			out.Data["missing"] = strconv.Itoa(len(st.Missing))
		}
		return out
	}
	events := []audit.Event{event(audit.RecordingAbandoned)}
	ended, err := s.config.Ended(ctx, e.Session)
	if err != nil {
		return err
	}
	if !ended {
		events = append(events, event(audit.SessionEnd))
	}
	return s.config.Ledger.Append(ctx, events...)
}
