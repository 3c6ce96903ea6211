package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	operation "github.com/stile-dev/stile/pkg/operation/roster"
	"github.com/stile-dev/stile/pkg/wire"
)

// events is the ledger in the form that operations need.
type events struct {
	db   reader.API
	name string
}

// Session reads a session's events.
func (e events) Session(ctx context.Context, session, after string, limit int, trust []document.Trust) ([]wire.LedgerEvent, string, error) {
	entries, next, err := reader.Session(ctx, e.db, e.name, session, after, limit, trust...)
	return onWire(entries), next, err
}

// Decision reads the events of a decision.
func (e events) Decision(ctx context.Context, decision, after string, limit int, trust []document.Trust) ([]wire.LedgerEvent, string, error) {
	entries, next, err := reader.Decision(ctx, e.db, e.name, decision, after, limit, trust...)
	return onWire(entries), next, err
}

// Received reads what was received.
func (e events) Received(ctx context.Context, s operation.Span, want func(audit.Event) bool, trust []document.Trust) ([]wire.LedgerEvent, string, error) {
	span := reader.Span{After: cmp.Or(s.After, reader.Begin(s.Since)), Until: s.Until, Limit: s.Limit}
	entries, next, err := reader.Received(ctx, e.db, e.name, span, want, trust...)
	if errors.Is(err, reader.ErrPosition) {
		err = fault.New(fault.BadInput, "the cursor did not come from this list", "send the previous page's next unchanged, or none to begin again").With("cursor", "malformed").Because(err)
	}
	return onWire(entries), next, err
}

// Reached says up to when a position has everything.
func (events) Reached(position string) (time.Time, bool) { return reader.Reached(position) }

func onWire(entries []reader.Entry) (out []wire.LedgerEvent) {
	for _, e := range entries {
		out = append(out, wire.LedgerEvent{Event: e.Body, Received: e.Received, Standing: string(e.Standing), Why: e.Why})
	}
	return out
}
