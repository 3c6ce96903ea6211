package dynamodb

import (
	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

type scanRequest struct {
	listRequest
	Segment       *int
	TotalSegments *int
}

// checkSegments refuses a parallel scan that makes no sense.
func (r *scanRequest) checkSegments() error {
	switch {
	case r.Segment == nil && r.TotalSegments == nil:
		return nil
	case r.Segment == nil:
		return item.Invalid("The Segment parameter is required but was not present in the request when parameter TotalSegments is present")
	case r.TotalSegments == nil:
		return item.Invalid("The TotalSegments parameter is required but was not present in the request when Segment parameter is present")
	case *r.TotalSegments < 1 || *r.TotalSegments > 1_000_000:
		return item.Invalid("1 validation error detected: Value at 'totalSegments' failed to satisfy constraint: Member must have value between 1 and 1000000")
	case *r.Segment < 0 || *r.Segment >= *r.TotalSegments:
		return item.Invalid("The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment must be between 0 and TotalSegments - 1")
	}
	return nil
}

func scan(s *Server, c *gate.Call, r *scanRequest) (any, error) {
	l, err := r.begin(s, "FilterExpression is null")
	if err != nil {
		return nil, err
	}
	if err := r.checkSegments(); err != nil {
		return nil, err
	}
	if err := l.finish(); err != nil {
		return nil, err
	}
	var found bool
	l.meta, found = s.lookup(l.table)
	if err := s.allow(c, access{action: "Scan", table: l.table}); err != nil {
		return nil, err
	}
	if !found {
		return nil, notFound("")
	}
	if err := l.checkIndex(); err != nil {
		return nil, err
	}
	return s.runScan(l, r)
}

func (s *Server) runScan(l *listing, r *scanRequest) (any, error) {
	after, err := l.start()
	if err != nil {
		return nil, err
	}
	sweep := store.Sweep{After: after}
	if r.TotalSegments != nil {
		sweep.Segment, sweep.Shares = *r.Segment, *r.TotalSegments
	}
	p := &page{listing: l}
	s.store.Read(func(r *store.Reader) {
		r.Scan(l.table, sweep, func(_ item.Key, i item.Item) bool { return p.take(i) })
	})
	return p.result(), nil
}
