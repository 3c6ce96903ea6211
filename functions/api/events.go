package main

import (
	"context"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/ledger/reader"
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
	var out []wire.LedgerEvent
	for _, entry := range entries {
		out = append(out, wire.LedgerEvent{Event: entry.Body, Received: entry.Received, Standing: string(entry.Standing), Why: entry.Why})
	}
	return out, next, err
}
