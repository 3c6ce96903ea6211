package store

import (
	"maps"
	"slices"
	"strings"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// Reader is one consistent state of the store.
type Reader struct{ store *Store }

// Table is the table of that name.
func (r *Reader) Table(name string) (Table, bool) {
	t, ok := r.store.tables[name]
	if !ok {
		return Table{}, false
	}
	return t.Table, true
}

// Tables lists the names of all tables, sorted.
func (r *Reader) Tables() []string { return slices.Sorted(maps.Keys(r.store.tables)) }

// Count is the number of items of a table and their size in bytes.
func (r *Reader) Count(name string) (items, bytes int) {
	if t, ok := r.store.tables[name]; ok {
		return t.count, t.bytes
	}
	return 0, 0
}

// Get is the item at k, or nil.
func (r *Reader) Get(table string, k item.Key) item.Item {
	if t, ok := r.store.tables[table]; ok {
		return t.get(k)
	}
	return nil
}

// Span is a part of a partition, in sortable bytes of the sort key.
type Span struct {
	Hash     string
	From, To string  // inclusive; what begins with To counts as within
	Open     bool    // without an upper end
	After    *string // continue behind this sort key
	Backward bool
}

// Query calls fn with the items of a span in order until it says false.
func (r *Reader) Query(table string, s Span, fn func(item.Item) bool) {
	t, ok := r.store.tables[table]
	if !ok {
		return
	}
	p := t.parts[s.Hash]
	if p == nil {
		return
	}
	low, high := s.bounds(p)
	for n := range high - low {
		at := low + n
		if s.Backward {
			at = high - 1 - n
		}
		if !fn(p.entries[at].item) {
			return
		}
	}
}

// bounds are the indexes of the span's first entry and of the one behind its last.
func (s Span) bounds(p *partition) (low, high int) {
	low, _ = p.find(s.From)
	high = len(p.entries)
	if !s.Open {
		high, _ = slices.BinarySearchFunc(p.entries, s.To, func(e entry, to string) int {
			if e.sort <= to || strings.HasPrefix(e.sort, to) {
				return -1
			}
			return 1
		})
	}
	if s.After != nil {
		at, found := p.find(*s.After)
		switch {
		case s.Backward:
			high = min(high, at)
		case found:
			low = max(low, at+1)
		default:
			low = max(low, at)
		}
	}
	return low, max(low, high)
}

// Scan calls fn with every item after a key, or with every one for nil, in the order of the partitions' hashes until
// it returns false.
func (r *Reader) Scan(table string, after *item.Key, fn func(item.Key, item.Item) bool) {
	t, ok := r.store.tables[table]
	if !ok {
		return
	}
	order := t.order
	if after != nil {
		at, _ := slices.BinarySearchFunc(order, &partition{hash: after.Hash, slot: slot(after.Hash)}, byPlace)
		order = order[at:]
	}
	for _, p := range order {
		from := 0
		if after != nil && p.hash == after.Hash {
			at, found := p.find(after.Range)
			if found {
				at++
			}
			from = at
		}
		for _, e := range p.entries[from:] {
			if !fn(item.Key{Hash: p.hash, Range: e.sort}, e.item) {
				return
			}
		}
	}
}
