package dynamodb

import (
	"maps"
	"slices"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

// Limits of batches.
const (
	maxBatchGet   = 100
	maxBatchBytes = 16 << 20 // of items that BatchGetItem returns
)

type batchGetRequest struct {
	RequestItems map[string]*keysRequest
}

type keysRequest struct {
	Keys           []item.Item
	ConsistentRead bool `json:",omitempty"`
}

type batchGetResult struct {
	Responses       map[string][]item.Item
	UnprocessedKeys map[string]*keysRequest
}

// tableReads are the reads of one table in a batch.
type tableReads struct {
	table   string
	request *keysRequest
	picks   []*pick
	meta    store.Table
	found   bool
}

func (r *batchGetRequest) reads(s *Server) ([]*tableReads, error) {
	if len(r.RequestItems) == 0 {
		return nil, constraint("requestItems", "", "Member must have length greater than or equal to 1")
	}
	var list []*tableReads
	total := 0
	for _, name := range slices.Sorted(maps.Keys(r.RequestItems)) {
		request := r.RequestItems[name]
		table, err := s.named(name)
		if err != nil {
			return nil, err
		}
		if request == nil || len(request.Keys) == 0 {
			return nil, constraint("requestItems."+table+".member.keys", "[]", "Member must have length greater than or equal to 1")
		}
		if total += len(request.Keys); total > maxBatchGet {
			return nil, item.Invalid("Too many items requested for the BatchGetItem call")
		}
		list = append(list, &tableReads{table: table, request: request})
	}
	return list, nil
}

func (t *tableReads) access() access {
	a := access{action: "BatchGetItem", table: t.table}
	for _, key := range t.request.Keys {
		a.leading = append(a.leading, leadingKey(t.meta, key)...)
	}
	return a
}

func (t *tableReads) resolve() error {
	seen := map[item.Key]bool{}
	for _, key := range t.request.Keys {
		p := &pick{table: t.table, key: key, meta: t.meta}
		if err := p.resolve(); err != nil {
			return err
		}
		if seen[p.at] {
			return item.Invalid("Provided list of item keys contains duplicates")
		}
		seen[p.at], t.picks = true, append(t.picks, p)
	}
	return nil
}

func batchGetItem(s *Server, c *gate.Call, r *batchGetRequest) (any, error) {
	reads, err := r.reads(s)
	if err != nil {
		return nil, err
	}
	for _, t := range reads {
		t.meta, t.found = s.lookup(t.table)
		if err := s.allow(c, t.access()); err != nil {
			return nil, err
		}
	}
	for _, t := range reads {
		if !t.found {
			return nil, notFound("")
		}
		if err := t.resolve(); err != nil {
			return nil, err
		}
	}
	return s.readBatch(reads), nil
}

func (s *Server) readBatch(reads []*tableReads) batchGetResult {
	out := batchGetResult{Responses: map[string][]item.Item{}, UnprocessedKeys: map[string]*keysRequest{}}
	bytes := 0
	s.store.Read(func(r *store.Reader) {
		for _, t := range reads {
			items := []item.Item{}
			for n, p := range t.picks {
				found := p.read(r)
				if found == nil {
					continue
				}
				size := found.Size()
				if bytes+size > maxBatchBytes {
					left := *t.request
					left.Keys = t.request.Keys[n:]
					out.UnprocessedKeys[t.table] = &left
					break
				}
				bytes += size
				items = append(items, *found)
			}
			out.Responses[t.table] = items
		}
	})
	return out
}
