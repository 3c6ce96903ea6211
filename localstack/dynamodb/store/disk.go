package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// The file's buckets: tables by name; items/<table id> by key; streams by ARN; records/<stream ARN> by
// number; tokens by token; counters.
var (
	bucketTables  = []byte("tables")
	bucketItems   = []byte("items")
	bucketStreams = []byte("streams")
	bucketRecords = []byte("records")
	bucketTokens  = []byte("tokens")
	bucketCounts  = []byte("counters")
	keySequence   = []byte("sequence")
)

// persist writes a layer in one transaction.
func (s *Store) persist(l *layer) error {
	if l.empty() {
		return nil
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		d := &disk{tx: tx}
		for name, t := range l.tables {
			d.put(bucketTables, []byte(name), t, t == nil)
		}
		for p, i := range l.items {
			d.put(bucketItems, p.key.Bytes(), i, i == nil, []byte(p.table))
		}
		for _, id := range l.dropped {
			d.drop(bucketItems, []byte(id))
		}
		for arn, st := range l.streams {
			d.put(bucketStreams, []byte(arn), st, st == nil)
			if st == nil {
				d.drop(bucketRecords, []byte(arn))
				d.put(bucketCounts, trimmed(arn), nil, true)
			}
		}
		for _, r := range l.records {
			d.put(bucketRecords, number(Number(r.Change.SequenceNumber)), r, false, []byte(r.EventSourceARN))
		}
		for arn, upTo := range l.trims {
			d.trim(arn, upTo)
		}
		for token, t := range l.tokens {
			d.put(bucketTokens, []byte(token), t, t.Expires.IsZero())
		}
		d.put(bucketCounts, keySequence, l.seq, false)
		return d.err
	})
}

// disk writes within one transaction and keeps the first error.
type disk struct {
	tx  *bbolt.Tx
	err error
}

// bucket is the named bucket, or the one inside it; it is made if need be.
func (d *disk) bucket(name []byte, inner ...[]byte) *bbolt.Bucket {
	b, err := d.tx.CreateBucketIfNotExists(name)
	for _, n := range inner {
		if err == nil {
			b, err = b.CreateBucketIfNotExists(n)
		}
	}
	d.note(err)
	return b
}

func (d *disk) note(err error) {
	if d.err == nil && err != nil {
		d.err = err
	}
}

func (d *disk) put(name, key []byte, v any, remove bool, inner ...[]byte) {
	b := d.bucket(name, inner...)
	if d.err != nil {
		return
	}
	if remove {
		d.note(b.Delete(key))
		return
	}
	text, err := json.Marshal(v)
	d.note(err)
	d.note(b.Put(key, text))
}

func (d *disk) drop(name, inner []byte) {
	b := d.bucket(name)
	if d.err != nil {
		return
	}
	if err := b.DeleteBucket(inner); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
		d.note(err)
	}
}

func (d *disk) trim(arn string, upTo uint64) {
	b := d.bucket(bucketRecords, []byte(arn))
	if d.err != nil {
		return
	}
	var old [][]byte
	c := b.Cursor()
	for k, _ := c.First(); k != nil && binary.BigEndian.Uint64(k) <= upTo; k, _ = c.Next() {
		old = append(old, k)
	}
	for _, k := range old {
		d.note(b.Delete(k))
	}
	d.put(bucketCounts, trimmed(arn), upTo, false)
}

func trimmed(arn string) []byte { return []byte("trimmed " + arn) }

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// load reads the whole file into memory.
func (s *Store) load() error {
	return s.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketCounts); b != nil {
			if err := decode(b.Get(keySequence), &s.seq); err != nil {
				return err
			}
		}
		if err := each(tx.Bucket(bucketTokens), func(k []byte, t Token) { s.tokens[string(k)] = t }); err != nil {
			return err
		}
		if err := s.loadTables(tx); err != nil {
			return err
		}
		return s.loadStreams(tx)
	})
}

func (s *Store) loadTables(tx *bbolt.Tx) error {
	if err := each(tx.Bucket(bucketTables), func(k []byte, t Table) { s.tables[string(k)] = newTable(t) }); err != nil {
		return err
	}
	for _, t := range s.tables {
		var faulty error
		err := each(inner(tx, bucketItems, t.ID), func(_ []byte, i item.Item) {
			key, err := t.Schema.KeyIn(i)
			if err != nil {
				faulty = fmt.Errorf("an item of table %s: %w", t.Name, err)
				return
			}
			t.put(key, i)
		})
		if err := errors.Join(err, faulty); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) loadStreams(tx *bbolt.Tx) error {
	if err := each(tx.Bucket(bucketStreams), func(k []byte, st Stream) { s.stream(string(k)).Stream = st }); err != nil {
		return err
	}
	for arn, st := range s.streams {
		if err := each(inner(tx, bucketRecords, arn), func(_ []byte, r Record) { st.records = append(st.records, r) }); err != nil {
			return err
		}
		if b := tx.Bucket(bucketCounts); b != nil {
			if text := b.Get(trimmed(arn)); text != nil {
				if err := decode(text, &st.trimmed); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func inner(tx *bbolt.Tx, name []byte, key string) *bbolt.Bucket {
	if b := tx.Bucket(name); b != nil {
		return b.Bucket([]byte(key))
	}
	return nil
}

// each decodes every value of a bucket, which may be absent.
func each[V any](b *bbolt.Bucket, fn func([]byte, V)) error {
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, text []byte) error {
		var v V
		if err := decode(text, &v); err != nil {
			return err
		}
		fn(k, v)
		return nil
	})
}

func decode(text []byte, to any) error {
	if text == nil {
		return nil
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("decoding a stored value: %w", err)
	}
	return nil
}
