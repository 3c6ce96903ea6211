package edge_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stile-dev/stile/proxy/edge"
)

// from connects from one of the addresses that Linux has on loopback.
func (p *port) from(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	return c
}

// stalling is a client's connection that falls silent at some point until it may go on.
type stalling struct {
	net.Conn
	most  int // bytes that it sends before
	on    <-chan struct{}
	once  sync.Once
	still func() // called when it is silent
}

func (s *stalling) Write(p []byte) (int, error) {
	first := p[:min(len(p), s.most)]
	if _, err := s.Conn.Write(first); err != nil {
		return 0, err
	}
	s.most -= len(first)
	if len(first) == len(p) {
		return len(p), nil
	}
	s.stall()
	n, err := s.Conn.Write(p[len(first):])
	return len(first) + n, err
}

func (s *stalling) stall() {
	s.once.Do(s.still)
	<-s.on
}

// TestSec_S64_SilentHandshakesHoldUpNobody: 64 addresses fall silent before their ClientHello, within it, after it, and
// after the handshake, while one handshake at a time may compute. Others' handshakes finish meanwhile; and so do those of
// the silent when they go on, which shows that they were all waiting.
func TestSec_S64_SilentHandshakesHoldUpNobody(t *testing.T) {
	p := newPort(t, edge.Limits{Unknown: 4, Handshakes: 1, Time: time.Hour})
	hello := len(capture(t))
	on := make(chan struct{})
	var silent, done sync.WaitGroup
	for n := range 64 {
		address := fmt.Sprintf("127.0.0.%d", 10+n)
		for _, most := range []int{0, hello / 2, hello, 1 << 20} {
			silent.Add(1)
			c := client(&stalling{Conn: p.from(t, address), most: most, on: on, still: silent.Done}, proto)
			done.Go(func() {
				if err := c.Handshake(); err != nil {
					t.Errorf("silent after %d bytes: %v", most, err)
				}
				if most > hello {
					silent.Done()
					<-on
				}
				if !echoed(c, 'x') {
					t.Errorf("silent after %d bytes: no echo", most)
				}
			})
		}
	}
	silent.Wait()
	for range 20 {
		c := client(p.from(t, "127.0.0.1"), proto)
		if !echoed(c, '+') {
			t.Error("held up")
		}
		_ = c.Close()
	}
	close(on)
	done.Wait()
}

// TestSec_S64_OneAddressCannotTakeAllPlaces: whoever waits to be admitted is not pushed out by sources that hold more, and
// somebody new finds a place however many connections these open.
func TestSec_S64_OneAddressCannotTakeAllPlaces(t *testing.T) {
	p := newPort(t, edge.Limits{Unknown: 8, Pending: 16, Time: time.Hour})
	early := client(p.from(t, "127.0.0.2"), proto)
	if !echoed(early, 'x') {
		t.Fatal("no echo")
	}
	for n := range 8 {
		for range 8 {
			p.from(t, fmt.Sprintf("127.0.0.%d", 10+n))
		}
	}
	if c := client(p.from(t, "127.0.0.1"), proto); !echoed(c, 'x') {
		t.Error("there is no place for somebody new")
	}
	if !echoed(early, 'x') {
		t.Error("who came first was pushed out")
	}
}

// TestSec_S64_ConnectionsWithoutAHeaderAreBounded: connections of a balancer whose header doesn't come give way to newer
// ones, the oldest first, also when all of them come at once.
func TestSec_S64_ConnectionsWithoutAHeaderAreBounded(t *testing.T) {
	p, serve := closedPort(t, edge.Limits{Headers: 4, Time: time.Hour}, loopback)
	var silent []net.Conn
	for range 64 {
		silent = append(silent, p.from(t, "127.0.0.1"))
	}
	raw := p.from(t, "127.0.0.1")
	if _, err := raw.Write(header(1, 0x11, netip.MustParseAddrPort("192.0.2.1:77"), 0)); err != nil {
		t.Fatal(err)
	}
	serve()
	if !echoed(client(raw, proto), 'x') {
		t.Error("a header that comes is not read")
	}
	for _, c := range silent[:60] {
		closed(t, c)
	}
}

func TestPlacesAreGivenUpByWhoHoldsTheMost(t *testing.T) {
	p := edge.NewPlaces(3, 6)
	var out []string
	take := func(source, name string) *edge.Place {
		t.Helper()
		place, err := p.Take(netip.MustParseAddr(source), func() { out = append(out, name) })
		if err != nil {
			t.Fatal(err)
		}
		return place
	}
	a1 := take("192.0.2.1", "a1")
	take("192.0.2.1", "a2")
	take("192.0.2.1", "a3")
	if _, err := p.Take(netip.MustParseAddr("::ffff:192.0.2.1"), nil); err == nil {
		t.Error("a source has more than it may")
	}
	b1 := take("192.0.2.2", "b1")
	take("192.0.2.2", "b2")
	take("192.0.2.3", "c1")
	take("192.0.2.4", "d1") // the richest gives up a1
	take("192.0.2.4", "d2") // a2 is the oldest of those who have two
	take("192.0.2.2", "b3") // nobody has more than b, which gives up its own
	a1.Leave()
	b1.Leave()
	b1.Leave()
	want := "[a1 a2 b1]"
	if got := fmt.Sprint(out); got != want {
		t.Errorf("given up: %s, want %s", got, want)
	}
}
