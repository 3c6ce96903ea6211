package owed

import (
	"context"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/checked/book"
	"github.com/stile-dev/stile/pkg/query"
	"github.com/stile-dev/stile/pkg/table"
	"github.com/stile-dev/stile/pkg/wire"
)

// Reader tells those who ask the lake what it is known to lack. It is safe for concurrent use.
type Reader struct{ state table.Table }

var _ query.Compared = Reader{}

// NewReader makes a reader of a table of state.
func NewReader(db table.API, state string) Reader { return Reader{table.Table{API: db, Name: state}} }

// Known is part of [query.Compared].
func (r Reader) Known(ctx context.Context, now time.Time) (until time.Time, lacks []wire.LakeGap, err error) {
	// How far it is comes first: an hour that is stated in between is owed by then.
	if until, err = book.Until(ctx, r.state, checked.Lake); err != nil {
		return time.Time{}, nil, err
	}
	if until.After(now) { // it has yet to begin
		until = time.Time{}
	}
	k, err := Load(ctx, r.state)
	if err != nil {
		return time.Time{}, nil, err
	}
	owed := k.Owed
	if h := k.Front; h != nil && h.From.Before(until) { // stated, and a run was cut off before it could owe it
		owed = append(owed, *h)
	}
	slices.SortFunc(owed, func(a, b Hour) int { return a.From.Compare(b.From) })
	for _, h := range owed {
		if n := len(lacks); n > 0 && !h.From.After(lacks[n-1].To) {
			lacks[n-1].To = h.End()
			continue
		}
		lacks = append(lacks, wire.LakeGap{From: h.From, To: h.End()})
	}
	return until, lacks, nil
}
