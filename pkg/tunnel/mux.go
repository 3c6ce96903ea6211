package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-yamux/v5"
)

const (
	// backlog is how many streams may wait to be accepted. Of the other side's, more are reset; of ours, more wait.
	backlog = 128
	// writeLimit is how long a write may be stuck in the connection before the session is given up, and how long Open
	// may take.
	writeLimit = 10 * time.Second
	// flushLimit is how long Close waits for what was written to leave, and for the other side to part.
	flushLimit = 500 * time.Millisecond
	// message is the largest frame we send: what is urgent waits for no more than that. 64 of them may wait.
	message = 64 << 10
	// measured is how often the round trip is measured. Windows grow by it.
	measured = 30 * time.Second
)

// session puts go-yamux behind Session. It adds what that leaves open:
//   - Windows are counted towards accounts: each stream has a span.
//   - The other side's word to open no more streams ends go-yamux's session; here it stops Open, and nothing else.
//   - Bodies come in pieces, so that a frame takes no more memory than its bytes, and the number of those unread is bounded.
//   - A stream that the other side reset before it was accepted counts as one of its streams until it is accepted: else
//     opening and resetting would fill the queue with what was sent in between.
//   - Accept ends with its context, Close sends what was written, and Streams doesn't wait for the connection.
type session struct {
	inner    *yamux.Session
	wire     *wire
	config   SessionConfig
	opening  chan struct{} // one Open at a time: next is its
	next     *span
	arriving chan struct{} // one for each stream that waits to be accepted
	count    atomic.Int64  // of streams
	handed   atomic.Int64  // by streams to the multiplexer, as wire.sent
	drained  atomic.Bool   // the other side wants no more streams

	mu    sync.Mutex
	spans map[uint32]*span // of the streams that are open
}

// NewSession makes a session over conn, which it owns from here on.
func NewSession(conn net.Conn, c SessionConfig) (Session, error) {
	c.Streams = cmp.Or(c.Streams, MaxStreams)
	if c.Refused == nil {
		c.Refused = func() {}
	}
	s := &session{config: c, opening: make(chan struct{}, 1), arriving: make(chan struct{}, c.Streams), spans: map[uint32]*span{}}
	s.wire = newWire(conn, s)
	config := &yamux.Config{
		AcceptBacklog: backlog, PingBacklog: 4, MaxIncomingStreams: uint32(c.Streams),
		EnableKeepAlive:   false, // the control stream watches, and says why
		KeepAliveInterval: time.Hour, MeasureRTTInterval: measured, ConnectionWriteTimeout: writeLimit,
		InitialStreamWindowSize: FirstWindow, MaxStreamWindowSize: MaxWindow, MaxMessageSize: message,
		LogOutput: io.Discard, // its errors come back from calls
	}
	make := yamux.Server
	if c.Role == Dialled {
		make = yamux.Client
	}
	inner, err := make(s.wire, config, s.memory)
	if err != nil {
		return nil, fmt.Errorf("beginning session: %w", err)
	}
	s.inner = inner
	return s, nil
}

func (s *session) Open(ctx context.Context, pays ...*Account) (Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening stream: %w", err)
	}
	select {
	case s.opening <- struct{}{}:
		defer func() { <-s.opening }()
	case <-ctx.Done():
		return nil, fmt.Errorf("opening stream: %w", ctx.Err())
	case <-s.Done():
	}
	if s.drained.Load() || s.inner.IsClosed() {
		return nil, fmt.Errorf("opening stream: %w", net.ErrClosed)
	}
	m := s.span(append(slices.Clip(pays), s.config.Pays...), false)
	if err := takeAll(m.pays, FirstWindow, toBegin); err != nil {
		return nil, fmt.Errorf("opening stream: %w", err)
	}
	m.taken, m.owned, s.next = FirstWindow, true, m
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit) // a stream that is given up half way stays for ever
	defer cancel()
	inner, err := s.inner.OpenStream(limit)
	if err != nil {
		m.Done()
		m.disown()
		return nil, fmt.Errorf("opening stream: %w", s.closed(err))
	}
	m.name(inner.StreamID())
	return s.stream(inner, m), nil
}

func (s *session) Accept(ctx context.Context) (Stream, error) {
	select {
	case <-s.arriving:
	case <-ctx.Done():
		return nil, fmt.Errorf("accepting stream: %w", ctx.Err())
	case <-s.Done():
		return nil, fmt.Errorf("accepting stream: %w", net.ErrClosed)
	}
	inner, err := s.inner.AcceptStream()
	if err != nil {
		return nil, fmt.Errorf("accepting stream: %w", s.closed(err))
	}
	m := s.find(inner.StreamID())
	if m == nil { // the session has just ended
		return nil, fmt.Errorf("accepting stream: %w", net.ErrClosed)
	}
	return s.stream(inner, m), nil
}

// stream gives a stream to its owner.
func (s *session) stream(inner *yamux.Stream, m *span) *stream {
	one := &stream{inner: inner, session: s, span: m}
	if m.own(one) {
		_ = inner.Reset() // as the other side did before; what had come until it ended its side can be read
	}
	return one
}

func (s *session) Drain() error {
	if err := s.inner.GoAway(); err != nil {
		return fmt.Errorf("draining session: %w", s.closed(err))
	}
	return nil
}

func (s *session) Close() error {
	limit := time.NewTimer(flushLimit)
	defer limit.Stop()
	if s.flush(limit.C) {
		s.part(limit.C)
	}
	return s.inner.Close()
}

// flush waits for what streams have written, and reports whether it has left.
func (s *session) flush(limit <-chan time.Time) bool {
	for s.wire.sent.Load() < s.handed.Load() {
		select {
		case <-s.wire.wrote:
		case <-s.Done():
			return false
		case <-limit:
			return false
		}
	}
	return true
}

// part ends the writing side and waits for the other side to do so: closing a connection with bytes unread would take
// from the other side what it has not read.
func (s *session) part(limit <-chan time.Time) {
	half, ok := s.wire.Conn.(interface{ CloseWrite() error })
	if !ok {
		return
	}
	go s.wire.part(half.CloseWrite)
	select {
	case <-s.Done():
	case <-limit:
	}
}

func (s *session) Abort() { s.wire.abort() }

func (s *session) Done() <-chan struct{} { return s.inner.CloseChan() }
func (s *session) Streams() int          { return int(s.count.Load()) }

func (s *session) Idle() (heard, said time.Duration) {
	since := time.Since(s.wire.began)
	return since - time.Duration(s.wire.heard.Load()), since - time.Duration(s.wire.said.Load())
}

// closed marks errors of a session that is over as net.ErrClosed, so that callers need not know the multiplexer's.
func (s *session) closed(err error) error {
	if s.inner.IsClosed() || errors.Is(err, yamux.ErrSessionShutdown) {
		return fmt.Errorf("%w: %w", net.ErrClosed, err)
	}
	return err
}

// span begins the memory of a stream.
func (s *session) span(pays []*Account, small bool) *span {
	s.count.Add(1)
	return &span{session: s, pays: pays, small: small}
}

// memory is called by go-yamux for each stream, without a word about which: on Open's goroutine for the one that it
// opens, on the reader's for one that the other side began with the header that it read last.
func (s *session) memory() (yamux.MemoryManager, error) {
	var caller [1]uintptr
	runtime.Callers(2, caller[:])
	if f, _ := runtime.CallersFrames(caller[:]).Next(); strings.HasSuffix(f.Function, ".OpenStream") {
		return s.next, nil
	}
	m := s.span(s.config.Pays, s.config.Small)
	m.taken = FirstWindow
	for _, a := range m.pays {
		a.used.Add(FirstWindow)
	}
	s.wire.fresh = m
	m.name(s.wire.syn)
	return m, nil
}

// begun is called by the reader when go-yamux has taken a stream of the other side's, or has reset it.
func (s *session) begun(m *span) {
	if m.isGone() {
		s.config.Refused()
		return
	}
	s.arriving <- struct{}{} // has room for as many as go-yamux takes
}

// early is called by the reader for each reset, and reports whether it is of a stream that nobody has accepted yet.
func (s *session) early(id uint32) bool {
	m := s.find(id)
	return m != nil && m.early()
}

// arrives is called by the reader for each piece of a body, and reports whether the stream may have it.
func (s *session) arrives(id uint32, n int) bool {
	m := s.find(id)
	if m == nil || !m.arrived.add(int64(n)) {
		return true
	}
	if one := m.owner(); one != nil {
		_ = one.Reset()
	} else {
		s.Abort()
	}
	return false
}

func (s *session) find(id uint32) *span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spans[id]
}

func (s *session) know(id uint32, m *span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spans[id] == nil { // a second stream of the same number ends the session
		s.spans[id] = m
	}
}

func (s *session) forget(id uint32, m *span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spans[id] == m {
		delete(s.spans, id)
	}
}
