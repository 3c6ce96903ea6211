package tunnel_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns two sessions joined over loopback, closed at the end of the test.
func pair(t testing.TB) (dialled, listened tunnel.Session) {
	t.Helper()
	a, b := loopback(t)
	dialled, err := tunnel.NewSession(a, tunnel.SessionConfig{Role: tunnel.Dialled})
	if err != nil {
		t.Fatal(err)
	}
	listened, err = tunnel.NewSession(b, tunnel.SessionConfig{Role: tunnel.Listened})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialled.Close(); _ = listened.Close() })
	return dialled, listened
}

func loopback(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		got <- c
	}()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return a, <-got
}

// streams returns both ends of one stream.
func streams(t testing.TB) (a, b tunnel.Stream) {
	t.Helper()
	s, r := pair(t)
	a, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err = r.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestStreamsCarryBytesAndHalfCloses(t *testing.T) {
	a, b := streams(t)
	sent := make([]byte, 5<<20)
	_, _ = rand.Read(sent)
	go func() {
		_, _ = a.Write(sent)
		_ = a.CloseWrite()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	if _, err := b.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	got, err = io.ReadAll(a)
	if err != nil || string(got) != "still here" {
		t.Fatalf("after the half-close: %q, %v", got, err)
	}
}

func TestCloseWakesAReader(t *testing.T) {
	a, _ := streams(t)
	done := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 1))
		done <- err
	}()
	_ = a.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestDrainStopsNewStreamsAndKeepsOpenOnes(t *testing.T) {
	s, r := pair(t)
	a, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Drain(); err != nil {
		t.Fatal(err)
	}
	_, _ = b.Write([]byte("x")) // comes after the word to drain
	if _, err := io.ReadFull(a, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a new stream after draining: %v", err)
	}
}

func TestDoneIsClosedWhenTheOtherSideGoes(t *testing.T) {
	s, r := pair(t)
	_ = r.Close()
	<-s.Done()
	if _, err := s.Open(context.Background()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestSpliceHandsOnHalfCloses(t *testing.T) {
	a, b := streams(t)
	c, d := streams(t)
	go tunnel.Splice(b, c, tunnel.Unread)
	_, _ = a.Write([]byte("question"))
	_ = a.CloseWrite()
	if got, err := io.ReadAll(d); err != nil || string(got) != "question" {
		t.Fatalf("%q, %v", got, err)
	}
	_, _ = d.Write([]byte("answer"))
	_ = d.Close()
	if got, err := io.ReadAll(a); err != nil || string(got) != "answer" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestASilentSideIsDead(t *testing.T) {
	a, b := streams(t)
	go func() { _, _ = io.Copy(io.Discard, b) }() // takes everything, answers nothing
	began := time.Now()
	c := tunnel.NewControl(tunnel.ControlConfig{Stream: a, Silence: 30 * time.Millisecond, Dead: 90 * time.Millisecond})
	if err := c.Run(); !errors.Is(err, tunnel.ErrDead) {
		t.Fatalf("got %v", err)
	}
	if time.Since(began) < 90*time.Millisecond {
		t.Error("given up too early")
	}
}

func TestPingsKeepAQuietTunnel(t *testing.T) {
	a, b := streams(t)
	heard := make(chan *frame.Control, 1)
	left := tunnel.NewControl(tunnel.ControlConfig{
		Stream: a, Silence: 20 * time.Millisecond, Dead: 10 * time.Second,
		Handle: func(m *frame.Control) error { heard <- m; return nil },
	})
	right := tunnel.NewControl(tunnel.ControlConfig{Stream: &counting{Stream: b, want: 5, after: func() {
		_ = frame.Write(b, &frame.Control{Body: &frame.Control_GoAway{GoAway: &frame.GoAway{Grace: 7}}})
	}}, Silence: time.Hour, Dead: 2 * time.Hour})
	over := make(chan error, 2)
	go func() { over <- left.Run() }()
	go func() { over <- right.Run() }()
	if m := <-heard; m.GetGoAway().GetGrace() != 7 {
		t.Errorf("heard %v", m)
	}
	_, _ = a.Close(), b.Close()
	<-over
	<-over
}

// counting calls after, once, when want pongs have been written.
type counting struct {
	tunnel.Stream
	want  int
	after func()
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.Stream.Write(p)
	if c.want--; c.want == 0 {
		c.after()
	}
	return n, err
}

// Bulk fills the connection, so that no ping comes through in time; its bytes are signs of life all the same, and
// the side that only listens says something now and then.
func TestABusyTunnelIsNotTakenForDead(t *testing.T) {
	s, r := pair(t)
	a, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const silent, dead = 100 * time.Millisecond, time.Second
	mute := &held{Stream: a} // writes of the control stream get stuck, as behind bulk
	left := tunnel.NewControl(tunnel.ControlConfig{Stream: mute, Idle: s.Idle, Silence: silent, Dead: dead})
	right := tunnel.NewControl(tunnel.ControlConfig{Stream: b, Idle: r.Idle, Silence: silent, Dead: dead})
	over := make(chan error, 2)
	go func() { over <- left.Run() }()
	go func() { over <- right.Run() }()
	bulk, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sink, err := r.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, sink) }()
	for began := time.Now(); time.Since(began) < 3*dead/2; {
		if _, err := bulk.Write(make([]byte, 1<<10)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-over:
		t.Fatalf("given up: %v", err)
	default:
	}
	_, _ = a.Close(), b.Close()
	<-over
	<-over
}

// held swallows what is written.
type held struct{ tunnel.Stream }

func (h *held) Write(p []byte) (int, error) { return len(p), nil }
