package athena

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

const (
	atOnce  = 2 // engines
	longest = 30 * time.Minute
)

var (
	errStopped = failure{cancelled, "Query cancelled by user"}
	errTimeout = failure{failed, "Query timeout"}
	errClosed  = failure{failed, "the local AWS was stopped while the query ran: ask it again"}
)

// reserve counts a query that will run or wait; false if they are too many.
func (s *Service) reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == maxQueued || s.closed {
		return false
	}
	s.active++
	s.queries.Add(1)
	return true
}

func (s *Service) release() {
	s.mu.Lock()
	s.active--
	s.mu.Unlock()
	s.queries.Done()
}

// launch runs a query that was reserved, when it is its turn.
func (s *Service) launch(who *iam.Principal, e execution, g group) {
	ctx, cancel := context.WithCancelCause(s.life)
	s.mu.Lock()
	s.cancels[e.ID] = cancel
	s.mu.Unlock()
	go func() {
		defer s.release()
		defer func() {
			s.mu.Lock()
			delete(s.cancels, e.ID)
			s.mu.Unlock()
			cancel(nil)
		}()
		select {
		case s.turns <- struct{}{}:
			defer func() { <-s.turns }()
		case <-ctx.Done():
			s.finish(e, outcome{}, 0, context.Cause(ctx))
			return
		}
		begun, err := s.change(e.ID, func(e *execution) { e.State, e.Begun = running, s.config.Now().UTC() })
		if err != nil || begun.done() {
			return
		}
		ctx, stop := context.WithTimeoutCause(ctx, longest, errTimeout)
		defer stop()
		out, scanned, err := s.run(ctx, who, e, g)
		s.finish(e, out, scanned, err)
	}()
}

// stop ends a query's process.
func (s *Service) stop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.cancels[id]; cancel != nil {
		cancel(errStopped)
	}
}

// run does what a query asks for, with its caller's rights.
func (s *Service) run(ctx context.Context, who *iam.Principal, e execution, g group) (out outcome, scanned int64, err error) {
	dir, err := os.MkdirTemp(s.config.Dir, workPrefix)
	if err != nil {
		return outcome{}, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p := &plan{s: s, ctx: ctx, who: who, dir: dir, cutoff: int64(g.Settings.BytesScannedCutoffPerQuery), seen: map[named]bool{}, values: map[named]map[string][]string{}}
	reads, err := s.ask(ctx, job{Database: e.Database, Query: e.Text, Parameters: e.Parameters, Only: "tables"})
	if err != nil {
		return outcome{}, 0, err
	}
	for _, t := range reads.Tables {
		if err := p.need(e.Database, t); err != nil {
			return outcome{}, p.scanned, err
		}
	}
	out, err = s.ask(ctx, job{Database: e.Database, Setup: p.setup, Query: e.Text, Parameters: e.Parameters, Directories: []string{dir}})
	if err != nil {
		return outcome{}, p.scanned, err
	}
	return out, p.scanned, s.write(who, e, out)
}

// finish keeps what became of a query.
func (s *Service) finish(e execution, out outcome, scanned int64, err error) {
	state, reason := succeeded, ""
	said := failure{}
	switch {
	case err == nil:
	case errors.As(err, &said):
		state, reason = said.state, said.reason
	default:
		state, reason = failed, "INTERNAL_ERROR_QUERY_ENGINE: the local Athena failed; its log says why"
		s.config.Log.Error("Query failed", "query", e.ID, "error", err.Error())
	}
	if _, err := s.change(e.ID, func(e *execution) {
		e.State, e.Reason, e.Scanned = state, reason, scanned
		if state == succeeded {
			e.Columns = out.Columns
		}
	}); err != nil {
		s.config.Log.Error("The end of a query is not kept", "query", e.ID, "error", err.Error())
	}
}
