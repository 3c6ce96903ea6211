// Package store keeps tables, items and stream records in memory for reading and in bbolt permanently.
//
// One goroutine makes all changes: it takes the waiting writes, runs them one after another on a
// layer over memory, commits what they changed in one bbolt transaction with fsync, and only then shows it
// to readers and answers. So writes are serialisable, acknowledged ones survive the process, and a crowd
// of writers shares one fsync. It knows no requests and no permissions. Its entry point is [Open].
package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// Store is the state of one account and Region.
type Store struct {
	db     *bbolt.DB
	now    func() time.Time
	writes chan *write
	closed chan struct{} // closed when no more writes are accepted
	done   chan struct{} // closed when the writer has ended
	once   sync.Once

	mu      sync.RWMutex // guards what follows; only the writer takes it for writing
	tables  map[string]*table
	streams map[string]*stream
	tokens  map[string]Token
	seq     uint64
}

// write is a change that waits for its turn.
type write struct {
	change func(*Tx) error
	err    error
	done   chan struct{}
}

// ErrClosed is the answer to a write after Close.
var ErrClosed = errors.New("the store is closed")

// maxGroup bounds how many writes share one commit.
const maxGroup = 256

// Open reads the state under dir, which it makes if need be. now is the clock for stream records.
func Open(dir string, now func() time.Time) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	path := filepath.Join(dir, "dynamodb.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 2 * time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("opening %s (if another process has it open, stop that one first): %w", path, err)
	}
	s := &Store{
		db: db, now: now,
		writes: make(chan *write), closed: make(chan struct{}), done: make(chan struct{}),
		tables: map[string]*table{}, streams: map[string]*stream{}, tokens: map[string]Token{},
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), db.Close())
	}
	go s.run()
	return s, nil
}

// Close ends the writer after the writes that it has taken, and closes the file.
func (s *Store) Close() error {
	s.once.Do(func() { close(s.closed) })
	<-s.done
	return s.db.Close()
}

// Update runs change as one atomic step; an error from it undoes the step and is returned. On nil the
// change is on disk. change must not block and must not keep the Tx.
func (s *Store) Update(ctx context.Context, change func(*Tx) error) error {
	w := &write{change: change, done: make(chan struct{})}
	select {
	case s.writes <- w:
	case <-s.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	<-w.done
	return w.err
}

func (s *Store) run() {
	defer close(s.done)
	for {
		select {
		case w := <-s.writes:
			s.commit(s.gather(w))
		case <-s.closed:
			return
		}
	}
}

// gather takes whatever else is waiting.
func (s *Store) gather(first *write) []*write {
	group := []*write{first}
	for len(group) < maxGroup {
		select {
		case w := <-s.writes:
			group = append(group, w)
		default:
			return group
		}
	}
	return group
}

func (s *Store) commit(group []*write) {
	all := newLayer()
	all.seq = s.seq
	for _, w := range group {
		tx := &Tx{store: s, below: all, layer: newLayer()}
		tx.layer.seq = all.seq
		if w.err = attempt(w.change, tx); w.err == nil {
			all.merge(tx.layer)
		}
	}
	if err := s.persist(all); err != nil {
		for _, w := range group {
			if w.err == nil {
				w.err = fmt.Errorf("committing to disk: %w", err)
			}
		}
	} else {
		s.show(all)
	}
	for _, w := range group {
		close(w.done)
	}
}

// attempt runs one change; its panic fails that change and not the writer.
func attempt(change func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("a change panicked: %v\n%s", cause, debug.Stack())
		}
	}()
	return change(tx)
}

// show applies a committed layer to memory and wakes readers waiting for records.
func (s *Store) show(l *layer) {
	if l.empty() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq = l.seq
	for name, t := range l.tables {
		s.showTable(name, t)
	}
	for p, i := range l.items {
		for _, t := range s.tables {
			if t.ID == p.table {
				t.put(p.key, i)
			}
		}
	}
	for arn, st := range l.streams {
		if st == nil {
			if old := s.streams[arn]; old != nil {
				close(old.more)
			}
			delete(s.streams, arn)
			continue
		}
		s.stream(arn).Stream = *st
	}
	for _, r := range l.records {
		st := s.stream(r.EventSourceARN)
		st.records = append(st.records, r)
		close(st.more)
		st.more = make(chan struct{})
	}
	for token, t := range l.tokens {
		if t.Expires.IsZero() {
			delete(s.tokens, token)
			continue
		}
		s.tokens[token] = t
	}
	for arn, upTo := range l.trims {
		s.stream(arn).trim(upTo)
	}
}

func (s *Store) showTable(name string, meta *Table) {
	if meta == nil {
		delete(s.tables, name)
		return
	}
	if old := s.tables[name]; old != nil && old.ID == meta.ID {
		old.Table = *meta
		return
	}
	s.tables[name] = newTable(*meta)
}

func (s *Store) stream(arn string) *stream {
	st := s.streams[arn]
	if st == nil {
		st = &stream{more: make(chan struct{})}
		s.streams[arn] = st
	}
	return st
}

// Read runs fn on one consistent state. fn must not call Update and must not keep the Reader.
func (s *Store) Read(fn func(*Reader)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	fn(&Reader{store: s})
}

// Token remembers a transaction's ClientRequestToken.
type Token struct {
	Request [32]byte  // SHA-256 of what was asked
	Expires time.Time // after which the token is forgotten
}

// place is where an item is.
type place struct {
	table string // the table's id
	key   item.Key
}
