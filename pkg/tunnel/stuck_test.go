package tunnel_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/tunnel"
)

func TestSec_S60_BlockedReadersReturnWhenTheConnectionIsLost(t *testing.T) {
	x, y := loopback(t)
	s, r := joined(t, x, y, tunnel.SessionConfig{}, tunnel.SessionConfig{})
	var readers sync.WaitGroup
	for range 50 {
		a, _ := across(t, s, r)
		for range 2 { // a net.Conn may have several
			readers.Go(func() {
				if _, err := a.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("a lost connection looks like the end of a stream: %v", err)
				}
			})
		}
	}
	_ = y.Close()
	over := make(chan struct{})
	go func() { readers.Wait(); close(over) }()
	select {
	case <-over:
	case <-time.After(20 * time.Second):
		t.Fatal("readers wait on a connection that is lost")
	}
	<-s.Done()
}

// gate is a connection that stops reading.
type gate struct {
	net.Conn
	shut chan struct{}
	over chan struct{}
	once sync.Once
}

func (g *gate) Read(p []byte) (int, error) {
	select {
	case <-g.shut:
		<-g.over
		return 0, net.ErrClosed
	default:
	}
	n, err := g.Conn.Read(p)
	select {
	case <-g.shut:
		<-g.over
		return 0, net.ErrClosed
	default:
	}
	return n, err
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.over) })
	return g.Conn.Close()
}

// stuck returns sessions of which the second reads no more, with a full queue of frames to it, and a stream on which 200 KiB
// have come to the first.
func stuck(t *testing.T) (s tunnel.Session, a, b tunnel.Stream) {
	x, y := net.Pipe() // has no buffer
	g := &gate{Conn: y, shut: make(chan struct{}), over: make(chan struct{})}
	s, r := joined(t, x, g, tunnel.SessionConfig{}, tunnel.SessionConfig{})
	a, b = across(t, s, r)
	if _, err := b.Write(make([]byte, 200<<10)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(a, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	other, _ := across(t, s, r)
	close(g.shut)
	fill(t, other, 1)
	return s, a, b
}

func TestSec_S60_CloseDoesNotWaitForWhoDoesNotRead(t *testing.T) {
	s, a, _ := stuck(t)
	over := make(chan struct{})
	go func() {
		_ = a.Close() // and so its streams
		_ = s.Close()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(5 * time.Second): // half of what the multiplexer would wait
		t.Fatal("Close waits for the other side")
	}
}

// What was read and can't be announced would be missing from the other side's window for ever.
func TestSec_S60_AReadThatCannotBeAnnouncedEndsTheStream(t *testing.T) {
	_, a, _ := stuck(t)
	_ = a.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	for {
		n, err := a.Read(make([]byte, 200<<10))
		if n == 0 {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("the stream goes on: %v", err)
			}
			return
		}
	}
}

func TestASpliceGivesUpOnWhoReadsNothing(t *testing.T) {
	x, y := loopback(t)
	s, r := joined(t, x, y, tunnel.SessionConfig{}, tunnel.SessionConfig{})
	a, b := across(t, s, r)
	c, _ := across(t, s, r) // nobody reads at its other end
	over := make(chan struct{})
	go func() { tunnel.Splice(b, c, 100*time.Millisecond); close(over) }()
	var err error
	for block := make([]byte, 32<<10); err == nil; {
		_, err = a.Write(block)
	}
	if !errors.Is(err, tunnel.ErrReset) {
		t.Errorf("whoever sends learns %v", err)
	}
	<-over
}

func TestWhatWasWrittenBeforeCloseArrives(t *testing.T) {
	x, y := loopback(t)
	s, r := joined(t, x, y, tunnel.SessionConfig{}, tunnel.SessionConfig{})
	a, b := across(t, s, r)
	sent := make([]byte, 200<<10)
	_, _ = a.Write(sent)
	_ = a.Close()
	_ = s.Close() // the session as well, at once
	if got, err := io.ReadAll(b); err != nil || len(got) != len(sent) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// parting notes what is written after the end, or fails because of it.
type parting struct {
	net.Conn
	ended chan struct{}
	late  atomic.Bool
}

func (p *parting) CloseWrite() error {
	close(p.ended)
	return p.Conn.(*net.TCPConn).CloseWrite()
}

func (p *parting) Write(b []byte) (int, error) {
	select {
	case <-p.ended:
		p.late.Store(true)
	default:
	}
	n, err := p.Conn.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		p.late.Store(true)
	}
	return n, err
}

// A write after the end fails, and a session whose write fails closes its connection with whatever is on its way.
func TestNothingIsWrittenAfterASessionsEnd(t *testing.T) {
	x, y := loopback(t)
	end := &parting{Conn: x, ended: make(chan struct{})}
	s, err := tunnel.NewSession(end, tunnel.SessionConfig{Role: tunnel.Dialled})
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close() // reads nothing, and doesn't part
	over := make(chan struct{})
	go func() { defer close(over); _ = s.Close() }()
	<-end.ended
	for range 100 { // more than wait to be sent
		if _, err := a.Write([]byte("x")); err != nil {
			break // the session is over
		}
	}
	<-over
	if end.late.Load() {
		t.Error("a frame was written after the end")
	}
}
