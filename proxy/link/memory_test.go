package link_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// limited returns what the proxy recorded about limits.
func (p *proxy) limited() []audit.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limits
}

// serve plays an agent that sends each stream as much as it takes, and counts what it took.
func (a *agent) serve(t *testing.T, size int, sent *atomic.Int64) {
	for block := make([]byte, 32<<10); ; {
		s, err := a.session.Accept(t.Context())
		if err != nil {
			return
		}
		go func() {
			defer s.Close()
			var open frame.Open
			if frame.Read(s, &open) != nil || frame.WriteOpen(s) != nil {
				return
			}
			for range size / len(block) {
				n, err := s.Write(block)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
	}
}

// settled waits until a number stays the same for a second. It may take as long as it moves.
func settled(t *testing.T, n *atomic.Int64) {
	t.Helper()
	for last := int64(-1); last != n.Load(); {
		last = n.Load()
		<-time.After(time.Second)
	}
}

// narrow dials with a small buffer of the kernel's: what lies there is no memory of the proxy's, and takes long to fill.
func narrow(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return c, c.(*net.TCPConn).SetReadBuffer(64 << 10)
}

func TestSec_S60_ConnectionsThatNobodyReadsHoldLittle(t *testing.T) {
	const connections, each = 100, 60 << 20
	p := newProxy(t)
	a := p.agent(web)
	var sent atomic.Int64
	go a.serve(t, each, &sent)
	user := p.cluster.User(tunneltest.User{})
	connect := func() (net.Conn, error) {
		return tunnel.DialConnect(t.Context(), tunnel.ConnectConfig{
			Addrs: []string{p.addr}, Certificate: user.TLS, Trust: p.cluster.Holder().Trust(), Target: web, Dial: narrow,
		})
	}
	before := heap()
	var clients []net.Conn
	for range connections {
		c, err := connect()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
		go func() { // fast at first, so that windows grow, and then not at all
			_, _ = io.CopyN(io.Discard, c, 2<<20)
		}()
	}
	until(t, "something to move", func() bool { return sent.Load() > 0 })
	settled(t, &sent)
	held := heap() - before
	t.Logf("%d MiB were taken of the agent; the heap grew by %d MiB", sent.Load()>>20, held>>20)
	if held > 96<<20 {
		t.Errorf("%d MiB are held", held>>20)
	}
	for _, c := range clients {
		_ = c.Close()
	}
	until(t, "the memory to be free", func() bool { return heap()-before < 16<<20 && p.links.Streams() == 0 })
	c, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.CopyN(io.Discard, c, each); err != nil {
		t.Errorf("and then: %v", err)
	}
}

func TestSec_S60_AUserWhoHasTooManyConnectionsIsRefusedAndOthersAreNot(t *testing.T) {
	p := newProxy(t)
	a := p.agent(web)
	var sent atomic.Int64
	go a.serve(t, 32<<10, &sent)
	connect := func(u tunneltest.Credential) (net.Conn, error) {
		c, err := tunnel.DialConnect(t.Context(), tunnel.ConnectConfig{Addrs: []string{p.addr}, Certificate: u.TLS, Trust: p.cluster.Holder().Trust(), Target: web})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = c.Close() })
		_, err = io.ReadFull(c, make([]byte, 1))
		return c, err
	}
	ada, bob := p.cluster.User(tunneltest.User{Identity: identity.User{Name: "ada"}}), p.cluster.User(tunneltest.User{Identity: identity.User{Name: "bob"}})
	for range tunnel.UserBudget / tunnel.FirstWindow {
		if _, err := connect(ada); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := connect(ada); !fault.Is(err, fault.RateLimited) {
		t.Errorf("one more: %v", err)
	}
	if _, err := connect(bob); err != nil {
		t.Errorf("another user: %v", err)
	}
	if l := p.limited(); len(l) != 1 || l[0].Type != audit.LimitReached || l[0].Actor != "user/ada" {
		t.Errorf("recorded is %v", l)
	}
}

func TestSec_S60_TunnelsOfAHostileAgentHoldLittle(t *testing.T) {
	const tunnels, streams = 4, 256
	for name, register := range map[string]bool{"before they register": false, "registered": true} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t)
			host, credential := p.cluster.Host(nil, web)
			before := heap()
			block := make([]byte, 32<<10)
			for range tunnels {
				dial := p.connect
				if register {
					dial = p.dial
				}
				a, err := dial(host, credential)
				if err != nil {
					t.Fatal(err)
				}
				hoard := streams
				if register {
					hoard = most // one more would end the tunnel
				}
				for range hoard {
					s, err := a.session.Open(t.Context())
					if err != nil {
						break
					}
					_ = s.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
					for range tunnel.FirstWindow / len(block) {
						if _, err := s.Write(block); err != nil {
							break
						}
					}
				}
			}
			if held := heap() - before; held > 16<<20 {
				t.Errorf("%d MiB are held", held>>20)
			}
		})
	}
}

func TestSec_S60_AnAgentHasFourTunnelsAtAProxy(t *testing.T) {
	p := newProxy(t)
	host, credential := p.cluster.Host(nil, web)
	other := p.agent(orders)
	var tunnels []*agent
	for range 6 {
		a, err := p.dial(host, credential)
		if err != nil {
			t.Fatal(err)
		}
		tunnels = append(tunnels, a)
	}
	tunnels[0].ends(t)
	tunnels[1].ends(t)
	until(t, "the routes of those that are left", func() bool { return len(p.routes.All()) == 4+1 })
	for _, a := range append(tunnels[2:], other) {
		a.lives(t)
	}
	p.recorded(t, host.ID, 2)
}

func TestSec_S60_OfTunnelsThatWereReplacedOrAreToEndTwoStay(t *testing.T) {
	t.Run("replaced by a newer certificate", func(t *testing.T) {
		p := newProxy(t)
		host, renewed := p.cluster.Host(nil, web)
		old := p.cluster.Renewed(host, time.Now().Add(-time.Minute))
		var tunnels []*agent
		for range 4 {
			a, err := p.dial(host, old)
			if err != nil {
				t.Fatal(err)
			}
			tunnels = append(tunnels, a)
		}
		newest, err := p.dial(host, renewed)
		if err != nil {
			t.Fatal(err)
		}
		tunnels[0].ends(t)
		tunnels[1].ends(t)
		for _, a := range append(tunnels[2:], newest) {
			a.lives(t)
		}
		p.recorded(t, host.ID, 2)
	})
	t.Run("at a proxy that drains", func(t *testing.T) {
		p := newProxy(t)
		host, credential := p.cluster.Host(nil, web)
		var tunnels []*agent
		for range 4 {
			a, err := p.dial(host, credential)
			if err != nil {
				t.Fatal(err)
			}
			tunnels = append(tunnels, a)
		}
		p.links.Drain(time.Minute)
		tunnels[0].ends(t)
		tunnels[1].ends(t)
		for _, a := range tunnels[2:] {
			a.lives(t)
		}
		p.recorded(t, host.ID, 2)
	})
}

func (p *proxy) recorded(t *testing.T, agent string, n int) {
	t.Helper()
	l := p.limited()
	if len(l) != n {
		t.Errorf("recorded is %v", l)
	}
	for _, e := range l {
		e.Cluster, e.Source = "c", "proxy/prx_1" // set when it is recorded
		if err := e.Validate(); err != nil || e.Type != audit.LimitReached || e.Actor != "agent/"+agent {
			t.Errorf("recorded is %v, %v", e, err)
		}
	}
}

// lives asks the proxy for an answer on the control stream.
func (a *agent) lives(t *testing.T) {
	t.Helper()
	if err := frame.Write(a.control, &frame.Control{Body: &frame.Control_Ping{Ping: &frame.Ping{}}}); err != nil {
		t.Fatal(err)
	}
	for {
		var m frame.Control
		if err := frame.Read(a.control, &m); err != nil {
			t.Fatal(errors.Join(errors.New("the tunnel is gone"), err))
		}
		if m.GetPong() != nil {
			return
		}
	}
}
