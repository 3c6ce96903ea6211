package store

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// Table is what a table is declared to be.
type Table struct {
	Name      string
	ID        string // a UUID
	ARN       string
	Schema    item.Schema
	Created   time.Time
	StreamARN string // of the latest stream; "" when there has been none
	StreamOn  bool
	View      string            // of the latest stream
	TTL       string            // attribute with the expiry; "" when off
	Protected bool              // deletion protection
	Settings  map[string]string // what is only repeated: BillingMode
}

// table is a Table with its items, partition by partition.
type table struct {
	Table
	parts map[string]*partition
	order []*partition // as Scan goes
	count int
	bytes int
}

// partition holds the items of one partition key, sorted by sort key.
type partition struct {
	hash    string
	slot    uint64
	entries []entry
}

type entry struct {
	sort string
	item item.Item
}

func newTable(meta Table) *table { return &table{Table: meta, parts: map[string]*partition{}} }

func (t *table) get(k item.Key) item.Item {
	p := t.parts[k.Hash]
	if p == nil {
		return nil
	}
	if at, ok := p.find(k.Range); ok {
		return p.entries[at].item
	}
	return nil
}

func (p *partition) find(sort string) (int, bool) {
	return slices.BinarySearchFunc(p.entries, sort, func(e entry, s string) int { return cmp.Compare(e.sort, s) })
}

// put stores i, or removes what is there when i is nil.
func (t *table) put(k item.Key, i item.Item) {
	p := t.parts[k.Hash]
	if p == nil {
		if i == nil {
			return
		}
		p = t.addPartition(k.Hash)
	}
	at, found := p.find(k.Range)
	if found {
		t.count--
		t.bytes -= p.entries[at].item.Size()
	}
	switch {
	case i == nil && found:
		p.entries = slices.Delete(p.entries, at, at+1)
		if len(p.entries) == 0 {
			t.dropPartition(p)
		}
		return
	case i == nil:
		return
	case found:
		p.entries[at].item = i
	default:
		p.entries = slices.Insert(p.entries, at, entry{sort: k.Range, item: i})
	}
	t.count++
	t.bytes += i.Size()
}

// slot scatters partitions as a hash does, so that nobody can rely on Scan's order.
func slot(hash string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(hash))
	return h.Sum64()
}

func byPlace(a, b *partition) int {
	return cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.hash, b.hash))
}

func (t *table) addPartition(hash string) *partition {
	p := &partition{hash: hash, slot: slot(hash)}
	at, _ := slices.BinarySearchFunc(t.order, p, byPlace)
	t.order = slices.Insert(t.order, at, p)
	t.parts[hash] = p
	return p
}

func (t *table) dropPartition(p *partition) {
	if at, ok := slices.BinarySearchFunc(t.order, p, byPlace); ok {
		t.order = slices.Delete(t.order, at, at+1)
	}
	delete(t.parts, p.hash)
}
