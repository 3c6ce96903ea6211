package link_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stile-dev/stile/pkg/identity"
)

// balancer is one address in front of several proxies. It sends each connection where choose says, as often as not
// where the agent has a tunnel already.
type balancer struct {
	addr   string
	mu     sync.Mutex
	count  int
	choose func(n int) (addr string) // "" resets the connection
}

func newBalancer(t *testing.T, choose func(n int) string) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{addr: listener.Addr().String(), choose: choose}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	return b
}

func (b *balancer) serve(c net.Conn) {
	defer c.Close()
	b.mu.Lock()
	to := b.choose(b.count)
	b.count++
	b.mu.Unlock()
	target, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer target.Close()
	go func() { defer target.Close(); _, _ = io.Copy(target, c) }()
	_, _ = io.Copy(c, target)
}

// newLineBehind is newLine with all proxies behind one address, which is all that anyone is told. choose gets their
// own addresses. At first the agent is told of the first proxy alone.
func newLineBehind(t *testing.T, proxies int, choose func(n int, all []string) string) *line {
	t.Helper()
	l := newIdleLine(t)
	var all []string
	for range proxies {
		p := l.newProxy()
		all = append(all, p.addr)
		l.proxies = append(l.proxies, p)
	}
	b := newBalancer(t, func(n int) string { return choose(n, all) })
	for _, p := range l.proxies {
		p.addr = b.addr
	}
	l.newAgent()
	l.tell(l.proxies[0])
	return l
}

func (p *proxy) hasRoute() bool {
	_, ok := p.routes.Find(identity.Target{Kind: "node", Name: "web-1"})
	return ok
}

// runs runs a command through whatever proxy answers at an address.
func (l *line) runs(addr string) {
	l.t.Helper()
	c := l.user()
	conn, err := l.dial(c, "web-1", &proxy{addr: addr})
	if err != nil {
		l.t.Fatal(err)
	}
	client, err := l.sshOver(conn, c, l.me, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	defer client.Close()
	if err := open(l.t, client).Run("true"); err != nil {
		l.t.Error(err)
	}
}

func TestTwoProxiesBehindOneAddressBothGetATunnel(t *testing.T) {
	l := newLineBehind(t, 2, func(n int, all []string) string {
		if n < 4 { // the balancer favours one proxy for a while
			return all[0]
		}
		return all[n%len(all)]
	})
	l.tell(l.proxies...)
	for _, p := range l.proxies {
		until(t, "a route", p.hasRoute)
	}
	for range 12 {
		l.runs(l.proxies[0].addr)
	}
}

func TestAProxyThatComesLaterBehindTheSameAddressGetsATunnelToo(t *testing.T) {
	l := newLineBehind(t, 2, func(n int, all []string) string { return all[n%len(all)] })
	until(t, "a tunnel", func() bool { return l.proxies[0].hasRoute() || l.proxies[1].hasRoute() })
	l.tell(l.proxies...)
	for _, p := range l.proxies {
		until(t, "a route", p.hasRoute)
	}
}

func TestNoTunnelForNodeAtOneProxyIsAskedOfAnotherBehindTheAddress(t *testing.T) {
	l := newLine(t, 1)
	until(t, "a route", l.proxies[0].hasRoute)
	young := l.newProxy() // has no tunnel, and nobody was told of it
	b := newBalancer(t, func(n int) string { return []string{young.addr, l.proxies[0].addr}[n%2] })
	for range 6 {
		l.runs(b.addr)
	}
}

func TestAProxyThatDiesBeforeItAnswersIsNotTheEndOfAConnection(t *testing.T) {
	l := newLine(t, 1)
	until(t, "a route", l.proxies[0].hasRoute)
	dying := l.newProxy()
	b := newBalancer(t, func(n int) string {
		if n == 0 {
			return dying.addr
		}
		return l.proxies[0].addr
	})
	c := l.user()
	conn, err := l.dial(c, "web-1", &proxy{addr: b.addr})
	if err != nil {
		t.Fatal(err)
	}
	dying.kill()
	client, err := l.sshOver(conn, c, l.me, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := open(t, client).Run("true"); err != nil {
		t.Error(err)
	}
}
