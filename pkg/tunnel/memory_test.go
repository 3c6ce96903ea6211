package tunnel_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/tunnel"
)

// joined makes two sessions over a pair of connections, which end with the test.
func joined(t testing.TB, a, b net.Conn, dialled, listened tunnel.SessionConfig) (d, l tunnel.Session) {
	t.Helper()
	dialled.Role, listened.Role = tunnel.Dialled, tunnel.Listened
	d, err := tunnel.NewSession(a, dialled)
	if err != nil {
		t.Fatal(err)
	}
	l, err = tunnel.NewSession(b, listened)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Abort(); l.Abort(); <-d.Done(); <-l.Done() })
	return d, l
}

// across opens a stream from one session to the other.
func across(t testing.TB, from, to tunnel.Session, pays ...*tunnel.Account) (a, b tunnel.Stream) {
	t.Helper()
	a, err := from.Open(t.Context(), pays...)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = to.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// fill writes until nothing moves any more and returns how much went.
func fill(t testing.TB, s tunnel.Stream, block int) (n int64) {
	t.Helper()
	b := make([]byte, block)
	for {
		_ = s.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		m, err := s.Write(b)
		n += int64(m)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			return n
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestSec_S60_AResetReachesBothSidesAndLeavesNothing(t *testing.T) {
	for name, give := range map[string]func(tunnel.Stream) error{
		"reset": tunnel.Stream.Reset, "closed by one side": func(s tunnel.Stream) error { return s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			x, y := loopback(t)
			host := tunnel.NewAccount("host", 1<<30)
			s, r := joined(t, x, y, tunnel.SessionConfig{Pays: []*tunnel.Account{host}}, tunnel.SessionConfig{})
			user := tunnel.NewAccount("user", 1<<30)
			a, b := across(t, r, s, user)
			stuck := make(chan error, 1)
			fill(t, b, 32<<10)
			_ = b.SetWriteDeadline(time.Time{})
			go func() { _, err := b.Write(make([]byte, 1)); stuck <- err }()
			if err := give(a); err != nil {
				t.Fatal(err)
			}
			if err := <-stuck; !errors.Is(err, tunnel.ErrReset) {
				t.Errorf("whoever writes to it learns %v", err)
			}
			_ = b.Close()
			until(t, "both sides to forget it", func() bool {
				return s.Streams() == 0 && r.Streams() == 0 && user.Used() == 0 && host.Used() == 0
			})
		})
	}
}

func TestSec_S60_StreamsThatNobodyAcceptsAreReset(t *testing.T) {
	const most = 8
	for name, hoard := range map[string]func(*testing.T, tunnel.Stream){
		"kept": func(*testing.T, tunnel.Stream) {},
		"reset by whoever opened them": func(t *testing.T, s tunnel.Stream) {
			if err := s.Reset(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var refused atomic.Int64
			x, y := loopback(t)
			hostile, victim := joined(t, x, y, tunnel.SessionConfig{}, tunnel.SessionConfig{Streams: most, Refused: func() { refused.Add(1) }})
			before, block := heap(), make([]byte, 32<<10)
			for range 256 {
				s, err := hostile.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for range tunnel.FirstWindow / len(block) {
					if _, err := s.Write(block); err != nil {
						break // refused
					}
				}
				hoard(t, s)
			}
			until(t, "the streams beyond to be refused", func() bool { return refused.Load() == 256-most })
			if n := victim.Streams(); n != most {
				t.Errorf("%d streams wait", n)
			}
			if grown := heap() - before; grown > (most+8)*tunnel.FirstWindow {
				t.Errorf("%d KiB are held for them", grown>>10)
			}
		})
	}
}

func TestSec_S60_WindowsGrowWithinTheAccounts(t *testing.T) {
	for name, k := range map[string]struct {
		limit int64
		most  int64 // that may be in use
	}{
		"none is left":            {tunnel.FirstWindow, tunnel.FirstWindow},
		"half is for windows":     {2 << 20, 1 << 20},
		"as much as is necessary": {1 << 30, tunnel.MaxWindow},
	} {
		t.Run(name, func(t *testing.T) {
			x, y := loopback(t)
			s, r := joined(t, late(x, 10*time.Millisecond), late(y, 10*time.Millisecond), tunnel.SessionConfig{}, tunnel.SessionConfig{})
			user := tunnel.NewAccount("user", k.limit)
			a, b := across(t, r, s, user)
			go func() {
				for block := make([]byte, 32<<10); ; {
					if _, err := b.Write(block); err != nil {
						return
					}
				}
			}()
			grown, further := int64(0), 0
			much := 6 * tunnel.MaxWindow
			if k.limit == tunnel.FirstWindow {
				much = 16 * tunnel.FirstWindow
			}
			for range much / (32 << 10) {
				if _, err := io.ReadFull(a, make([]byte, 32<<10)); err != nil {
					t.Fatal(err)
				}
				grown = max(grown, user.Used())
				if grown >= k.most && k.limit < 1<<30 && grown > tunnel.FirstWindow {
					if further++; further > 512 { // and no further, in 16 MiB
						break
					}
				}
			}
			if grown > k.most || k.limit > tunnel.FirstWindow && grown == tunnel.FirstWindow {
				t.Errorf("%d KiB are taken at most, of %d", grown>>10, k.limit>>10)
			}
		})
	}
}

func TestSec_S60_AnAccountThatIsFullRefusesAStream(t *testing.T) {
	x, y := loopback(t)
	s, r := joined(t, x, y, tunnel.SessionConfig{}, tunnel.SessionConfig{})
	full, roomy := tunnel.NewAccount("ada", 2*tunnel.FirstWindow), tunnel.NewAccount("the proxy", 1<<30)
	across(t, r, s, roomy, full)
	a, _ := across(t, r, s, roomy, full)
	_, err := r.Open(t.Context(), roomy, full)
	var f *tunnel.FullError
	if !errors.As(err, &f) || f.Owner != "ada" {
		t.Fatalf("the third: %v", err)
	}
	if n := roomy.Used(); n != 2*tunnel.FirstWindow {
		t.Errorf("%d bytes are counted for two", n)
	}
	_ = a.Close()
	until(t, "room", func() bool { _, err := r.Open(t.Context(), roomy, full); return err == nil })
}

// A stream whose ends are both closed is over for the multiplexer; what came over it is still held for its reader.
func TestSec_S60_WhatWasNotReadCountsUntilItsReaderLetsGo(t *testing.T) {
	x, y := loopback(t)
	s, r := joined(t, x, y, tunnel.SessionConfig{}, tunnel.SessionConfig{})
	user := tunnel.NewAccount("ada", 1<<30)
	a, b := across(t, r, s, user)
	_, _ = b.Write(make([]byte, 200<<10))
	_ = b.CloseWrite()
	_ = a.CloseWrite()
	until(t, "the stream to be over", func() bool { return r.Streams() == 0 })
	if user.Used() == 0 {
		t.Error("nothing is counted")
	}
	_ = a.Close()
	if n := user.Used(); n != 0 {
		t.Errorf("%d bytes are counted", n)
	}
}

// The multiplexer keeps each frame by itself: a window of single bytes would take forty times what it is counted for.
func TestSec_S60_SingleBytesFillNoMoreThanTheirWindow(t *testing.T) {
	x, y := loopback(t)
	s, r := joined(t, x, y, tunnel.SessionConfig{}, tunnel.SessionConfig{})
	a, b := across(t, r, s)
	before := heap()
	var err error
	for range tunnel.FirstWindow {
		if _, err = b.Write([]byte{1}); err != nil {
			break
		}
	}
	if !errors.Is(err, tunnel.ErrReset) {
		t.Errorf("a window of single bytes was taken: %v", err)
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("%d KiB are held", grown>>10)
	}
	runtime.KeepAlive(a)
	a, b = across(t, r, s) // those that are read in time are no harm
	const some = 4096
	for range 3 * tunnel.FirstWindow / 16 / some {
		for range some {
			if _, err := b.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.ReadFull(a, make([]byte, some)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSec_S60_WhoOpensAStreamPaysForIt(t *testing.T) {
	x, y := loopback(t)
	s, r := joined(t, x, y, tunnel.SessionConfig{}, tunnel.SessionConfig{})
	users := make([]*tunnel.Account, 16)
	var opening sync.WaitGroup
	for i := range users { // while the other side opens as well
		users[i] = tunnel.NewAccount("user", 1<<30)
		opening.Go(func() {
			for range 20 {
				if _, err := r.Open(t.Context(), users[i]); err != nil {
					t.Error(err)
				}
				if _, err := s.Accept(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
		opening.Go(func() {
			for range 20 {
				if _, err := s.Open(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := r.Accept(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	opening.Wait()
	for i, u := range users {
		if u.Used() != 20*tunnel.FirstWindow {
			t.Errorf("user %d pays for %d KiB", i, u.Used()>>10)
		}
	}
}
