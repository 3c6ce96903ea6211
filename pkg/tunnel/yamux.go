package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	// window is how much one stream may have in flight: at 100 ms of round trip 16 MiB give 120 MB/s and more.
	window = 16 << 20
	// backlog is how many streams may wait for Accept.
	backlog = 256
	// writeLimit is how long a write may be stuck in the connection before the session is given up.
	writeLimit = 10 * time.Second
	// halfClosed is how long a stream may stay after one side closed it and the other did not.
	halfClosed = time.Hour
)

// NewSession makes a session over conn, which it owns from here on.
func NewSession(conn net.Conn, role Role) (Session, error) {
	config := &yamux.Config{
		AcceptBacklog:          backlog,
		EnableKeepAlive:        false, // the control stream watches, and says why
		KeepAliveInterval:      time.Hour,
		ConnectionWriteTimeout: writeLimit,
		MaxStreamWindowSize:    window,
		StreamCloseTimeout:     halfClosed,
		Logger:                 log.New(io.Discard, "", 0), // its errors come back from calls
	}
	make := yamux.Server
	if role == Dialled {
		make = yamux.Client
	}
	j := &joined{Conn: conn, began: time.Now()}
	inner, err := make(j, config)
	if err != nil {
		return nil, fmt.Errorf("beginning session: %w", err)
	}
	return &session{inner: inner, conn: j}, nil
}

type session struct {
	inner *yamux.Session
	conn  *joined
}

func (s *session) Open(ctx context.Context) (Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening stream: %w", err)
	}
	inner, err := s.inner.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("opening stream: %w", closed(err))
	}
	return &stream{Stream: inner}, nil
}

func (s *session) Accept(ctx context.Context) (Stream, error) {
	inner, err := s.inner.AcceptStreamWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("accepting stream: %w", closed(err))
	}
	return &stream{Stream: inner}, nil
}

func (s *session) Drain() error {
	if err := s.inner.GoAway(); err != nil {
		return fmt.Errorf("draining session: %w", closed(err))
	}
	return nil
}

func (s *session) Close() error          { return s.inner.Close() }
func (s *session) Done() <-chan struct{} { return s.inner.CloseChan() }
func (s *session) Streams() int          { return s.inner.NumStreams() }

func (s *session) Idle() (heard, said time.Duration) {
	since := time.Since(s.conn.began)
	return since - time.Duration(s.conn.heard.Load()), since - time.Duration(s.conn.said.Load())
}

// closed marks the multiplexer's own words for "it is over" as net.ErrClosed, so that callers need not know them.
func closed(err error) error {
	switch {
	case errors.Is(err, yamux.ErrSessionShutdown), errors.Is(err, yamux.ErrRemoteGoAway),
		errors.Is(err, yamux.ErrStreamClosed), errors.Is(err, yamux.ErrConnectionReset), errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %w", net.ErrClosed, err)
	}
	return err
}

// stream gives yamux's streams the two ways of closing that TCP has: theirs closes only the writing side.
type stream struct {
	*yamux.Stream
	over atomic.Bool
}

func (s *stream) CloseWrite() error { return s.Stream.Close() }

func (s *stream) Close() error {
	s.over.Store(true)
	err := s.Stream.Close()
	_ = s.SetReadDeadline(time.Unix(1, 0)) // wakes a reader
	return err
}

func (s *stream) Read(p []byte) (int, error) {
	if s.over.Load() {
		return 0, net.ErrClosed
	}
	n, err := s.Stream.Read(p)
	if err != nil && s.over.Load() {
		err = net.ErrClosed
	}
	return n, err
}

// joined puts a frame's header and its body into one write: one TLS record and one packet instead of two; and
// it notes when bytes came and went. The multiplexer writes from one goroutine only.
type joined struct {
	net.Conn
	buf         []byte
	began       time.Time
	heard, said atomic.Int64 // nanoseconds since began
}

func (j *joined) Read(p []byte) (int, error) {
	n, err := j.Conn.Read(p)
	if n > 0 {
		j.heard.Store(int64(time.Since(j.began)))
	}
	return n, err
}

func (j *joined) write(p []byte) (int, error) {
	n, err := j.Conn.Write(p)
	if n > 0 {
		j.said.Store(int64(time.Since(j.began)))
	}
	return n, err
}

const (
	muxHeader = 12
	muxData   = 0 // the type byte of a data frame
	record    = 16 << 10
)

func (j *joined) Write(p []byte) (int, error) {
	if len(j.buf) == 0 {
		if len(p) == muxHeader && p[1] == muxData && binary.BigEndian.Uint32(p[8:]) > 0 {
			j.buf = append(j.buf, p...) // the body comes next
			return len(p), nil
		}
		return j.write(p)
	}
	n := min(len(p), record-len(j.buf))
	j.buf = append(j.buf, p[:n]...)
	_, err := j.write(j.buf)
	j.buf = j.buf[:0]
	if err != nil {
		return 0, err
	}
	if n == len(p) {
		return n, nil
	}
	m, err := j.write(p[n:])
	return n + m, err
}
