package store

import (
	"maps"
	"strconv"
	"time"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// layer is what writes have changed and memory doesn't show yet.
type layer struct {
	tables  map[string]*Table // nil: dropped
	items   map[place]item.Item
	streams map[string]*Stream // nil: forgotten
	records []Record
	tokens  map[string]Token // without expiry: forgotten
	trims   map[string]uint64
	dropped []string // ids of tables whose items are to be deleted
	seq     uint64
}

func newLayer() *layer {
	return &layer{
		tables: map[string]*Table{}, items: map[place]item.Item{}, streams: map[string]*Stream{},
		tokens: map[string]Token{}, trims: map[string]uint64{},
	}
}

func (l *layer) empty() bool {
	return len(l.tables)+len(l.items)+len(l.streams)+len(l.tokens)+len(l.trims)+len(l.records) == 0
}

func (l *layer) merge(o *layer) {
	maps.Copy(l.tables, o.tables)
	maps.Copy(l.items, o.items)
	maps.Copy(l.streams, o.streams)
	maps.Copy(l.tokens, o.tokens)
	maps.Copy(l.trims, o.trims)
	l.records = append(l.records, o.records...)
	l.dropped = append(l.dropped, o.dropped...)
	l.seq = o.seq
}

// Tx is one atomic step: it reads what was committed and what it changed itself.
type Tx struct {
	store *Store
	below *layer // of the writes before in the same commit
	layer *layer
}

// Now is the time that records of this step carry.
func (t *Tx) Now() time.Time { return t.store.now() }

// Table is the table of that name.
func (t *Tx) Table(name string) (Table, bool) {
	for _, l := range []*layer{t.layer, t.below} {
		if meta, ok := l.tables[name]; ok {
			if meta == nil {
				return Table{}, false
			}
			return *meta, true
		}
	}
	if meta, ok := t.store.tables[name]; ok {
		return meta.Table, true
	}
	return Table{}, false
}

// PutTable creates or changes a table.
func (t *Tx) PutTable(meta Table) { t.layer.tables[meta.Name] = &meta }

// DropTable removes a table with its items; its stream stays readable until its records age out.
func (t *Tx) DropTable(name string) {
	meta, ok := t.Table(name)
	if !ok {
		return
	}
	if meta.StreamARN != "" {
		t.EndStream(meta.StreamARN)
	}
	t.layer.tables[name] = nil
	t.layer.dropped = append(t.layer.dropped, meta.ID)
}

// Get is the item at k, or nil.
func (t *Tx) Get(table Table, k item.Key) item.Item {
	at := place{table: table.ID, key: k}
	for _, l := range []*layer{t.layer, t.below} {
		if i, ok := l.items[at]; ok {
			return i
		}
	}
	if held, ok := t.store.tables[table.Name]; ok && held.ID == table.ID {
		return held.get(k)
	}
	return nil
}

// Put stores i at k, or removes what is there when i is nil, and writes the stream's record of it.
// by is who did it; nil for a caller of the API.
func (t *Tx) Put(table Table, k item.Key, i item.Item, by *Identity) {
	old := t.Get(table, k)
	if old == nil && i == nil {
		return
	}
	t.layer.items[place{table: table.ID, key: k}] = i
	if !table.StreamOn || old != nil && i != nil && old.Equal(i) {
		return
	}
	t.layer.seq++
	t.layer.records = append(t.layer.records, newRecord(table, t.layer.seq, change{old: old, new: i, at: t.Now(), by: by}))
}

// Token is what is remembered about a ClientRequestToken.
func (t *Tx) Token(token string) (Token, bool) {
	for _, tokens := range []map[string]Token{t.layer.tokens, t.below.tokens, t.store.tokens} {
		if found, ok := tokens[token]; ok {
			return found, found.Expires.After(t.Now())
		}
	}
	return Token{}, false
}

// PutToken remembers a ClientRequestToken.
func (t *Tx) PutToken(token string, v Token) { t.layer.tokens[token] = v }

// Tidy forgets expired tokens, records older than retention, and ended streams that have none left.
func (t *Tx) Tidy(retention time.Duration) {
	now := t.Now()
	for token, v := range t.store.tokens {
		if !v.Expires.After(now) {
			t.layer.tokens[token] = Token{}
		}
	}
	for arn, s := range t.store.streams {
		horizon := s.horizon(now.Add(-retention))
		if horizon > s.trimmed {
			t.layer.trims[arn] = horizon
		}
		if !s.Ended.IsZero() && s.Ended.Before(now.Add(-retention)) {
			t.layer.streams[arn] = nil
			delete(t.layer.trims, arn)
		}
	}
}

// StartStream begins a stream.
func (t *Tx) StartStream(s Stream) { t.layer.streams[s.ARN] = &s }

// EndStream marks a stream as ended: it takes no more records.
func (t *Tx) EndStream(arn string) {
	var s Stream
	if begun, ok := t.layer.streams[arn]; ok && begun != nil {
		s = *begun
	} else if begun, ok := t.below.streams[arn]; ok && begun != nil {
		s = *begun
	} else if held := t.store.streams[arn]; held != nil {
		s = held.Stream
	} else {
		return
	}
	s.Ended, s.Last = t.Now(), t.Sequence()
	t.layer.streams[arn] = &s
}

// sequence writes a sequence number: 21 digits whose order as text is their order.
func sequence(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	return "100000000000000000000"[:21-len(digits)] + digits
}

// Sequence is the number of the newest change, this step's own included.
func (t *Tx) Sequence() uint64 { return t.layer.seq }
