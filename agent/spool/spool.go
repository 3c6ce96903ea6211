// Package spool keeps an agent's audit events on disk until the ledger holds them: lines of JSON in segments,
// synced within a tenth of a second, delivered at least once and in order, bounded.
//
// It doesn't know how events are delivered. Its entry point is [Open].
package spool

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

const (
	segmentSize = 1 << 20
	syncAfter   = 100 * time.Millisecond
	suffix      = ".ndjson"
	cursorName  = "delivered"
)

// Config says how much is kept and in whose name.
type Config struct {
	Dir     string               // made with 0700 when absent
	Limit   int64                // bytes on disk past which no new session has room; 0 is 64 MiB. Sessions that run may use an eighth more, what is no session's half
	Stamp   func() Stamp         // whose events these are, asked for each event
	Epoch   string               // changes when the agent starts
	OnError func(err error)      // told about failed syncs; nil logs
	Sync    func(*os.File) error // has what a file has survive a crash of the machine; nil is fsync
	// Allocate takes disk space for the reserve; nil is [Allocate].
	Allocate func(path string, size int64) error
}

// Stamp is what the spool adds to each event.
type Stamp struct {
	Cluster string
	Source  string // agent/<id>
}

// Spool is one directory of events. It is safe for concurrent use, by one process.
type Spool struct {
	config  Config
	syncing sync.Mutex // held while the disk is at work, and never waited for under mu: no session waits for a disk

	mu       sync.Mutex
	segments []segment   // oldest first; the last is appended to
	file     *os.File    // the last segment
	full     []*os.File  // segments before it that are to be synced and closed
	at       position    // of the first event not acknowledged
	last     number      // of the newest event, maybe of an earlier run
	dirty    *time.Timer // nil when synced
	ready    chan struct{}
	closed   bool
	reserve  Reserve
}

type segment struct {
	number uint64
	size   int64
}

type position struct {
	segment uint64
	offset  int64
}

// Position is where a batch ends; give it to Acknowledge.
type Position struct{ after position }

// Open reads what an earlier run left behind.
func Open(c Config) (*Spool, error) {
	if c.Limit == 0 {
		c.Limit = 64 << 20
	}
	if c.OnError == nil {
		c.OnError = func(err error) { slog.Error("Audit spool not synced", "error", err) }
	}
	if c.Allocate == nil {
		c.Allocate = Allocate
	}
	if c.Sync == nil {
		c.Sync = (*os.File).Sync
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the audit spool: %w", err)
	}
	s := &Spool{
		config: c, ready: make(chan struct{}, 1),
		reserve: Reserve{Path: filepath.Join(c.Dir, reserveName), Size: reserveSize, Allocate: c.Allocate},
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("opening the audit spool: %w", err)
	}
	if s.behind() {
		s.wake()
	}
	if err := s.reserve.Hold(); err != nil {
		c.OnError(fmt.Errorf("reserving disk space: %w", err)) // Room tells this to whoever wants a session
	}
	return s, nil
}

func (s *Spool) load() error {
	entries, err := os.ReadDir(s.config.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		number, err := strconv.ParseUint(name, 10, 64)
		if !ok || err != nil {
			continue
		}
		size, err := s.mend(number)
		if err != nil {
			return err
		}
		s.segments = append(s.segments, segment{number, size})
	}
	slices.SortFunc(s.segments, func(a, b segment) int { return int(int64(a.number) - int64(b.number)) })
	next := uint64(1)
	if n := len(s.segments); n > 0 {
		next = s.segments[n-1].number + 1
		s.at = s.cursor()
	}
	return s.begin(next)
}

// mend cuts off a line that a crash left unfinished and returns the size of the rest.
func (s *Spool) mend(number uint64) (int64, error) {
	b, err := os.ReadFile(s.path(number))
	if err != nil {
		return 0, err
	}
	whole := int64(bytes.LastIndexByte(b, '\n') + 1)
	if n, ok := lastIn(b[:whole]); ok {
		s.restore(n)
	}
	if whole < int64(len(b)) {
		err = os.Truncate(s.path(number), whole)
	}
	return whole, err
}

// cursor reads how far delivery had got; what it doesn't know of is delivered again.
func (s *Spool) cursor() position {
	first := position{segment: s.segments[0].number}
	b, err := os.ReadFile(filepath.Join(s.config.Dir, cursorName))
	if err != nil {
		return first
	}
	if n := lastOf(string(b)); n.seq > 0 && (s.last.seq == 0 || n.epoch == s.last.epoch) {
		s.restore(n) // what the segments say is newer, unless a crash took it from them
	}
	var p position
	if _, err := fmt.Sscanf(string(b), "%d %d\n", &p.segment, &p.offset); err != nil || p.segment < first.segment {
		return first
	}
	return p
}

func (s *Spool) path(number uint64) string {
	return filepath.Join(s.config.Dir, fmt.Sprintf("%020d%s", number, suffix))
}

// begin starts a segment.
func (s *Spool) begin(number uint64) error {
	f, err := os.OpenFile(s.path(number), os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if s.file != nil {
		s.full = append(s.full, s.file)
		s.soon()
	}
	s.file = f
	s.segments = append(s.segments, segment{number: number})
	if s.at.segment == 0 {
		s.at = position{segment: number}
	}
	return nil
}

func (s *Spool) size() (n int64) {
	for _, g := range s.segments {
		n += g.size
	}
	return n
}

// Record keeps an event. It is on disk when Record returns and survives a crash of the agent; within a tenth of a
// second it is synced and survives one of the machine.
func (s *Spool) Record(e audit.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record(e, s.config.Limit+s.config.Limit/8)
}

// record keeps an event when that makes the spool no larger than most.
func (s *Spool) record(e audit.Event, most int64) error {
	if s.closed {
		return fmt.Errorf("recording %s: %w", e.Type, os.ErrClosed)
	}
	stamp := s.config.Stamp()
	number, after := s.next(stamp.Source)
	e.Cluster, e.Source, e.SourceEpoch, e.Seq, e.SourceAfter = stamp.Cluster, number.source, number.epoch, number.seq, after
	if err := e.Validate(); err != nil {
		return fmt.Errorf("recording %s: %w", e.Type, err)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("recording %s: %w", e.Type, err)
	}
	line = append(line, '\n')
	if s.size()+int64(len(line)) > most {
		return fault.New(fault.Unavailable, "the node's audit spool has no room for this event", "restore the agent's connection to a proxy, and the proxy's to the control plane")
	}
	if err = s.append(line); err != nil && most > s.config.Limit && s.reserve.Release() {
		err = s.append(line)
	}
	if err != nil {
		return s.noDisk(fmt.Errorf("recording %s: %w", e.Type, err))
	}
	s.last = number
	s.wake()
	return nil
}

func (s *Spool) append(line []byte) error {
	last := &s.segments[len(s.segments)-1]
	if last.size > 0 && last.size+int64(len(line)) > segmentSize {
		if err := s.begin(last.number + 1); err != nil {
			return err
		}
		last = &s.segments[len(s.segments)-1]
	}
	if _, err := s.file.Write(line); err != nil {
		return errors.Join(err, s.file.Truncate(last.size))
	}
	last.size += int64(len(line))
	s.soon()
	return nil
}

// soon has what was written synced.
func (s *Spool) soon() {
	if s.dirty == nil {
		s.dirty = time.AfterFunc(syncAfter, s.sync)
	}
}

func (s *Spool) sync() {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	if s.dirty == nil || s.closed {
		s.mu.Unlock()
		return
	}
	s.dirty = nil
	file, full := s.file, s.full
	s.full = nil
	s.mu.Unlock()
	if err := errors.Join(s.finish(full), s.config.Sync(file)); err != nil {
		s.mu.Lock()
		s.reserve.Release()
		s.mu.Unlock()
		s.config.OnError(err)
	}
}

// finish syncs and closes files.
func (s *Spool) finish(files []*os.File) error {
	var failed []error
	for _, f := range files {
		failed = append(failed, s.config.Sync(f), f.Close())
	}
	return errors.Join(failed...)
}

func (s *Spool) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Ready has a value when there may be events to deliver.
func (s *Spool) Ready() <-chan struct{} { return s.ready }

// behind reports whether events wait for delivery.
func (s *Spool) behind() bool {
	last := s.segments[len(s.segments)-1]
	if s.at.segment == last.number {
		return s.at.offset < last.size
	}
	for _, g := range s.segments {
		if g.number == s.at.segment && s.at.offset < g.size || g.number > s.at.segment && g.size > 0 {
			return true
		}
	}
	return false
}

// Next returns the oldest events that are not acknowledged, one JSON each, at most limit bytes in all (but at least
// one event), and where they end. It gives none when there are none.
func (s *Spool) Next(limit int) ([][]byte, Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.at
	var out [][]byte
	for _, g := range s.segments {
		if g.number < at.segment {
			continue
		}
		if g.number > at.segment {
			at = position{segment: g.number}
		}
		lines, err := s.lines(&at, g.size, &limit, len(out) == 0)
		if err != nil {
			return nil, Position{}, fmt.Errorf("reading the audit spool: %w", err)
		}
		out = append(out, lines...)
		if at.offset < g.size {
			break
		}
	}
	return out, Position{at}, nil
}

// lines reads from at to the end of its segment or of the limit and moves at.
func (s *Spool) lines(at *position, size int64, limit *int, first bool) ([][]byte, error) {
	if at.offset >= size {
		return nil, nil
	}
	f, err := os.Open(s.path(at.segment))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReader(io.NewSectionReader(f, at.offset, size-at.offset))
	var out [][]byte
	for at.offset < size {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return out, err
		}
		if len(line) > *limit && !(first && len(out) == 0) {
			*limit = 0
			break
		}
		*limit -= len(line)
		at.offset += int64(len(line))
		out = append(out, line[:len(line)-1])
	}
	return out, nil
}

// Acknowledge says that everything before a position is held elsewhere; it is deleted here by whole segments.
func (s *Spool) Acknowledge(p Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = p.after
	if last := s.segments[len(s.segments)-1]; !s.behind() && (last.size > segmentSize/4 || s.size() >= s.config.Limit) {
		if err := s.begin(last.number + 1); err != nil { // so that what is delivered can go
			return fmt.Errorf("clearing the audit spool: %w", err)
		}
		s.at = position{segment: last.number + 1}
	}
	for len(s.segments) > 1 && s.segments[0].number < s.at.segment {
		if err := os.Remove(s.path(s.segments[0].number)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clearing the audit spool: %w", err)
		}
		s.segments = s.segments[1:]
	}
	if s.behind() {
		s.wake()
	}
	name := filepath.Join(s.config.Dir, cursorName)
	if err := os.WriteFile(name+".new", s.delivered(), 0o600); err != nil {
		return fmt.Errorf("clearing the audit spool: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("clearing the audit spool: %w", err)
	}
	return nil
}

// Close syncs and closes; later events are refused.
func (s *Spool) Close() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.dirty != nil {
		s.dirty.Stop()
	}
	return s.finish(append(s.full, s.file))
}
