package tunnel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-yamux/v5"
)

// stream gives go-yamux's streams the ways of a net.Conn: several goroutines may read or write, all of whom Close
// wakes, and errors are those of package net.
type stream struct {
	inner   *yamux.Stream
	session *session
	span    *span

	reading, writing sync.Mutex
	ended            atomic.Bool // the writing side
	over             atomic.Bool // both
}

func (s *stream) Read(p []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.over.Load() {
		return 0, net.ErrClosed
	}
	n, err := s.inner.Read(p)
	s.span.arrived.read.Add(int64(n))
	if n > 0 && errors.Is(err, yamux.ErrTimeout) {
		// What was read can't be announced to the other side any more, which would wait for ever to send that much: the
		// deadline passed while the connection was stuck.
		_ = s.Reset()
	}
	if n > 0 {
		return n, nil // what is wrong beside is said by the next call
	}
	if errors.Is(err, io.EOF) && !errors.Is(err, yamux.ErrStreamReset) { // else the connection ended, not the stream
		return 0, io.EOF
	}
	return n, s.err(err)
}

func (s *stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.over.Load() {
		return 0, net.ErrClosed
	}
	n, err := s.inner.Write(p)
	s.session.handed.Add(int64(n))
	return n, s.err(err)
}

// err translates what go-yamux says.
func (s *stream) err(err error) error {
	switch {
	case err == nil:
		return nil
	case s.over.Load():
		return net.ErrClosed
	case errors.Is(err, yamux.ErrTimeout):
		return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
	case s.session.inner.IsClosed(), errors.Is(err, yamux.ErrStreamClosed):
		return fmt.Errorf("%w: %s", net.ErrClosed, err.Error()) // which may be the end of the connection, not of the stream
	case errors.Is(err, yamux.ErrStreamReset):
		return fmt.Errorf("%w: %w", ErrReset, err)
	}
	return err
}

func (s *stream) CloseWrite() error {
	if s.over.Load() {
		return net.ErrClosed
	}
	if !s.ends() {
		return nil
	}
	return s.end()
}

// ends reports whether the writing side is still to be ended; the session's Close waits for the end from here on.
func (s *stream) ends() bool {
	if s.ended.Swap(true) {
		return false
	}
	s.session.handed.Add(1)
	return true
}

func (s *stream) end() error {
	err := s.inner.CloseWrite()
	if err != nil { // nothing was sent
		s.session.handed.Add(-1)
	}
	return s.err(err)
}

// Close says the end first and then resets: the other side can still read what was written, and learns that nobody
// reads here. If it had ended its side as well, there is nothing to reset.
func (s *stream) Close() error {
	if !s.finish() {
		return nil
	}
	ends := s.ends()
	go func() { // a connection that is stuck doesn't hold up the caller
		if ends {
			_ = s.end()
		}
		_ = s.inner.Reset()
	}()
	return nil
}

func (s *stream) Reset() error {
	if s.finish() {
		go func() { _ = s.inner.Reset() }()
	}
	return nil
}

// finish wakes whoever reads or writes, and reports whether it was the first to do so.
func (s *stream) finish() bool {
	if s.over.Swap(true) {
		return false
	}
	_ = s.inner.SetDeadline(time.Unix(1, 0))
	s.span.disown()
	return true
}

func (s *stream) LocalAddr() net.Addr                { return s.inner.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr               { return s.inner.RemoteAddr() }
func (s *stream) SetDeadline(t time.Time) error      { return s.inner.SetDeadline(t) }
func (s *stream) SetReadDeadline(t time.Time) error  { return s.inner.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.inner.SetWriteDeadline(t) }
