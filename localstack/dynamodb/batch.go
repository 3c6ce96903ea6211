package dynamodb

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/stile-dev/stile/localstack/dynamodb/expression"
	"github.com/stile-dev/stile/localstack/dynamodb/item"
	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

// Limits of batches.
const (
	maxBatchGet   = 100
	maxBatchWrite = 25
	maxBatchBytes = 16 << 20 // of items that BatchGetItem returns
)

type batchGetRequest struct {
	legacy
	RequestItems           map[string]*keysRequest
	ReturnConsumedCapacity string
}

type keysRequest struct {
	legacy
	Keys                     []item.Item
	ConsistentRead           bool              `json:",omitempty"`
	ProjectionExpression     *string           `json:",omitempty"`
	ExpressionAttributeNames map[string]string `json:",omitempty"`
}

// MarshalJSON writes what is left of a request, as UnprocessedKeys does.
func (k *keysRequest) MarshalJSON() ([]byte, error) {
	out := map[string]any{"Keys": k.Keys}
	if k.ConsistentRead {
		out["ConsistentRead"] = true
	}
	if k.ProjectionExpression != nil {
		out["ProjectionExpression"] = *k.ProjectionExpression
	}
	if k.ExpressionAttributeNames != nil {
		out["ExpressionAttributeNames"] = k.ExpressionAttributeNames
	}
	return json.Marshal(out)
}

type batchGetResult struct {
	Responses        map[string][]item.Item
	UnprocessedKeys  map[string]*keysRequest
	ConsumedCapacity []*capacity `json:",omitempty"`
}

// tableReads are the reads of one table in a batch.
type tableReads struct {
	table      string
	request    *keysRequest
	projection *expression.Projection
	picks      []*pick
	meta       store.Table
	found      bool
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
		if err := request.refuse(); err != nil {
			return nil, err
		}
		if total += len(request.Keys); total > maxBatchGet {
			return nil, item.Invalid("Too many items requested for the BatchGetItem call")
		}
		t := &tableReads{table: table, request: request}
		if t.projection, err = projection(request.ProjectionExpression, request.ExpressionAttributeNames); err != nil {
			return nil, err
		}
		list = append(list, t)
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
		p := &pick{table: t.table, key: key, projection: t.projection, meta: t.meta}
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
	if err := checkCapacity(r.ReturnConsumedCapacity); err != nil {
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
	return s.readBatch(reads, r.ReturnConsumedCapacity), nil
}

func (s *Server) readBatch(reads []*tableReads, asked string) batchGetResult {
	out := batchGetResult{Responses: map[string][]item.Item{}, UnprocessedKeys: map[string]*keysRequest{}}
	totals := map[string]float64{}
	bytes := 0
	s.store.Read(func(r *store.Reader) {
		for _, t := range reads {
			items := []item.Item{}
			for n, p := range t.picks {
				found, size := p.read(r)
				if bytes+size > maxBatchBytes {
					left := *t.request
					left.Keys = t.request.Keys[n:]
					out.UnprocessedKeys[t.table] = &left
					break
				}
				bytes += size
				totals[t.table] += readUnits(size, t.request.ConsistentRead)
				if found != nil {
					items = append(items, *found)
				}
			}
			out.Responses[t.table] = items
		}
	})
	out.ConsumedCapacity = consumedByTable(asked, totals)
	return out
}

type batchWriteRequest struct {
	RequestItems                map[string][]batchWrite
	ReturnConsumedCapacity      string
	ReturnItemCollectionMetrics string
}

type batchWrite struct {
	PutRequest    *struct{ Item item.Item }
	DeleteRequest *struct{ Key item.Item }
}

type batchWriteResult struct {
	UnprocessedItems map[string][]batchWrite
	ConsumedCapacity []*capacity `json:",omitempty"`
}

func (b batchWrite) step(table string) (*step, error) {
	switch {
	case (b.PutRequest == nil) == (b.DeleteRequest == nil):
		return nil, item.Invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
	case b.PutRequest != nil:
		if b.PutRequest.Item == nil {
			return nil, constraint("requestItems."+table+".member.putRequest.item", "", "Member must not be null")
		}
		return &step{action: "PutItem", table: table, item: b.PutRequest.Item}, nil
	case b.DeleteRequest.Key == nil:
		return nil, constraint("requestItems."+table+".member.deleteRequest.key", "", "Member must not be null")
	}
	return &step{action: "DeleteItem", table: table, key: b.DeleteRequest.Key}, nil
}

func (r *batchWriteRequest) steps(s *Server) (map[string][]*step, error) {
	if len(r.RequestItems) == 0 {
		return nil, constraint("requestItems", "", "Member must have length greater than or equal to 1")
	}
	steps := map[string][]*step{}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(r.RequestItems)) {
		table, err := s.named(name)
		if err != nil {
			return nil, err
		}
		writes := r.RequestItems[name]
		if total += len(writes); total > maxBatchWrite {
			return nil, item.Invalid("Too many items requested for the BatchWriteItem call")
		}
		if len(writes) == 0 {
			return nil, item.Invalid(fmt.Sprintf("1 validation error detected: Value '{%s=[]}' at 'requestItems' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 25, Member must have length greater than or equal to 1]", table))
		}
		for _, w := range writes {
			st, err := w.step(table)
			if err != nil {
				return nil, err
			}
			steps[table] = append(steps[table], st)
		}
	}
	return steps, nil
}

func batchWriteItem(s *Server, c *gate.Call, r *batchWriteRequest) (any, error) {
	steps, err := r.steps(s)
	if err != nil {
		return nil, err
	}
	if err := checkCapacity(r.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	if err := s.allowBatch(c, steps); err != nil {
		return nil, err
	}
	var all []*step
	for _, table := range slices.Sorted(maps.Keys(steps)) {
		if err := resolveBatch(steps[table]); err != nil {
			return nil, err
		}
		all = append(all, steps[table]...)
	}
	totals := map[string]float64{}
	err = s.store.Update(c.HTTP.Context(), func(tx *store.Tx) error {
		for _, st := range all {
			o, err := st.run(tx)
			if err != nil {
				return err
			}
			totals[st.table] += writeUnits(o.size())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return batchWriteResult{UnprocessedItems: map[string][]batchWrite{}, ConsumedCapacity: consumedByTable(r.ReturnConsumedCapacity, totals)}, nil
}

// allowBatch authorises the writes table by table, and only then reports tables that aren't there.
func (s *Server) allowBatch(c *gate.Call, steps map[string][]*step) error {
	missing := false
	for _, table := range slices.Sorted(maps.Keys(steps)) {
		a := access{action: "BatchWriteItem", table: table}
		for _, st := range steps[table] {
			missing = !st.find(s) || missing
			inner := st.access()
			a.leading = append(a.leading, inner.leading...)
		}
		if err := s.allow(c, a); err != nil {
			return err
		}
	}
	if missing {
		return notFound("")
	}
	return nil
}

func resolveBatch(steps []*step) error {
	seen := map[item.Key]bool{}
	for _, st := range steps {
		if err := st.resolve(); err != nil {
			return err
		}
		if seen[st.at] {
			return item.Invalid("Provided list of item keys contains duplicates")
		}
		seen[st.at] = true
	}
	return nil
}
