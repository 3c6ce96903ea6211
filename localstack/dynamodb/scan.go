package dynamodb

import (
	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

type scanRequest struct{ listRequest }

func scan(s *Server, c *gate.Call, r *scanRequest) (any, error) {
	l, err := r.begin(s, "FilterExpression is null")
	if err != nil {
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
	after, err := l.start()
	if err != nil {
		return nil, err
	}
	p := &page{listing: l}
	s.store.Read(func(r *store.Reader) {
		r.Scan(l.table, after, func(_ item.Key, i item.Item) bool { return p.take(i) })
	})
	return p.result(), nil
}
