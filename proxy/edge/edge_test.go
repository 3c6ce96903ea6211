package edge_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/proxy/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const proto = "test/1"

// port is an edge on loopback whose handler reports sources, admits who sends "+" and echoes.
type port struct {
	addr    string
	cluster *tunneltest.Cluster
	sources chan netip.AddrPort
}

func newPort(t *testing.T, limits edge.Limits, proxied ...netip.Prefix) *port {
	t.Helper()
	p, serve := closedPort(t, limits, proxied...)
	serve()
	return p
}

// closedPort makes a port that accepts connections when it is told to: those that came before wait in the kernel.
func closedPort(t *testing.T, limits edge.Limits, proxied ...netip.Prefix) (p *port, serve func()) {
	t.Helper()
	p = &port{cluster: tunneltest.New(t), sources: make(chan netip.AddrPort, 1000)}
	_, credential := p.cluster.Proxy()
	e := edge.New(edge.Config{
		TLS: tunnel.ServerTLS(func() *tls.Certificate { return credential.TLS }, proto), Proxied: proxied, Limits: limits,
		Handlers: map[string]edge.Handler{proto: func(_ context.Context, c *edge.Conn) {
			p.sources <- c.Source
			var b [1]byte
			for {
				if _, err := io.ReadFull(c, b[:]); err != nil {
					return
				}
				if b[0] == '+' {
					c.Admit()
				}
				if _, err := c.Write(b[:]); err != nil {
					return
				}
			}
		}},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = l.Close(); serving.Wait(); e.Wait() })
	return p, func() { serving.Go(func() { _ = e.Serve(ctx, l) }) }
}

func (p *port) raw(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func client(c net.Conn, protocols ...string) *tls.Conn {
	return tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
}

// echoed reports whether a byte comes back.
func echoed(c net.Conn, b byte) bool {
	if _, err := c.Write([]byte{b}); err != nil {
		return false
	}
	var got [1]byte
	_, err := io.ReadFull(c, got[:])
	return err == nil && got[0] == b
}

// closed waits for the other side to hang up.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil {
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			t.Error("still open")
		}
	}
}

func header(command, family byte, src netip.AddrPort, extra int) []byte {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20|command, family)
	body := append(src.Addr().AsSlice(), src.Addr().AsSlice()...)
	body = binary.BigEndian.AppendUint16(body, src.Port())
	body = binary.BigEndian.AppendUint16(body, 443)
	body = append(body, make([]byte, extra)...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(body))), body...)
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

func TestABalancersHeaderNamesTheClient(t *testing.T) {
	p := newPort(t, edge.Limits{}, loopback)
	for _, c := range []struct {
		header []byte
		want   string
	}{
		{header(1, 0x11, netip.MustParseAddrPort("192.0.2.1:77"), 0), "192.0.2.1:77"},
		{header(1, 0x21, netip.MustParseAddrPort("[2001:db8::1]:78"), 80), "[2001:db8::1]:78"},
		{header(1, 0x21, netip.MustParseAddrPort("[::ffff:192.0.2.1]:79"), 0), "192.0.2.1:79"},
	} {
		raw := p.raw(t)
		if _, err := raw.Write(c.header); err != nil {
			t.Fatal(err)
		}
		if !echoed(client(raw, proto), 'x') {
			t.Fatal("no echo")
		}
		if got := <-p.sources; got.String() != c.want {
			t.Errorf("source %s, want %s", got, c.want)
		}
	}
	raw := p.raw(t)
	_, _ = raw.Write(append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20, 0, 0, 0))
	if !echoed(client(raw, proto), 'x') {
		t.Fatal("a balancer's own connection is not served")
	}
	if got := <-p.sources; got.String() != raw.LocalAddr().String() {
		t.Errorf("a balancer's own connection comes from %s", got)
	}
}

func TestAHeaderIsDemandedFromBalancersAndTakenFromNobodyElse(t *testing.T) {
	src := netip.MustParseAddrPort("192.0.2.1:77")
	t.Run("a balancer without one", func(t *testing.T) {
		p := newPort(t, edge.Limits{}, loopback)
		if echoed(client(p.raw(t), proto), 'x') {
			t.Error("served")
		}
	})
	t.Run("somebody else with one", func(t *testing.T) {
		p := newPort(t, edge.Limits{}, netip.MustParsePrefix("10.0.0.0/8"))
		raw := p.raw(t)
		_, _ = raw.Write(header(1, 0x11, src, 0))
		if echoed(client(raw, proto), 'x') {
			t.Error("served")
		}
	})
	for name, bad := range map[string][]byte{
		"version 1":       []byte("PROXY TCP4 192.0.2.1 192.0.2.2 77 443\r\n"),
		"over datagrams":  header(1, 0x12, src, 0),
		"over Unix":       append([]byte("\r\n\r\n\x00\r\nQUIT\n"), append([]byte{0x21, 0x31, 0, 216}, make([]byte, 216)...)...),
		"of no family":    header(1, 0, src, 0),
		"a huge one":      header(1, 0x11, src, 5000),
		"a huge LOCAL":    header(0, 0, src, 5000),
		"version 3":       bytes.Replace(header(1, 0x11, src, 0), []byte("\x21\x11"), []byte("\x31\x11"), 1),
		"an unknown verb": header(5, 0x11, src, 0),
		"addresses cut":   append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x11, 0, 4, 1, 2, 3, 4),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPort(t, edge.Limits{}, loopback)
			raw := p.raw(t)
			_, _ = raw.Write(bad)
			if echoed(client(raw, proto), 'x') {
				t.Error("served")
			}
		})
	}
}

// A header that is never finished ends with the time of strangers; one that is announced as
// too long, or is none, isn't waited for.
func TestAHeaderIsBoundedInTimeAndSize(t *testing.T) {
	long := header(1, 0x11, netip.MustParseAddrPort("192.0.2.1:77"), 64<<10-1-12)
	for name, c := range map[string]struct {
		limit time.Duration
		sent  []byte
	}{
		"silence":              {50 * time.Millisecond, nil},
		"half a header":        {50 * time.Millisecond, long[:14]},
		"64 KiB are announced": {time.Hour, long[:16]},
		"no header":            {time.Hour, []byte("\x16\x03\x01")},
	} {
		t.Run(name, func(t *testing.T) {
			raw := newPort(t, edge.Limits{Time: c.limit}, loopback).raw(t)
			if _, err := raw.Write(c.sent); err != nil {
				t.Fatal(err)
			}
			closed(t, raw)
		})
	}
}

// said is a connection on which the other side has said something and hung up.
type said struct {
	net.Conn
	*bytes.Reader
}

func (s said) Read(b []byte) (int, error) { return s.Reader.Read(b) }

func (said) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func FuzzHeader(f *testing.F) {
	f.Add(header(1, 0x11, netip.MustParseAddrPort("192.0.2.1:77"), 9))
	f.Add(append(header(1, 0x21, netip.MustParseAddrPort("[2001:db8::1]:78"), 0), "and more"...))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"))
	f.Add([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 77 443\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, got, err := edge.ReadHeader(said{Reader: bytes.NewReader(b)})
		if err != nil {
			return
		}
		if !got.IsValid() || got.Addr().Is4In6() {
			t.Errorf("address %s from %q", got, b)
		}
		want := b[16+int(binary.BigEndian.Uint16(b[14:])):]
		if rest, err := io.ReadAll(c); err != nil || !bytes.Equal(rest, want) {
			t.Errorf("%q follows the header, %v; want %q", rest, err, want)
		}
	})
}

// TestSec_S14_NothingIsResumed: a client that keeps session tickets gets none, so each connection shows its
// certificate again (CVE-2025-68121).
func TestSec_S14_NothingIsResumed(t *testing.T) {
	p := newPort(t, edge.Limits{})
	user := p.cluster.User(tunneltest.User{})
	cache := tls.NewLRUClientSessionCache(8)
	for range 3 {
		c := tls.Client(p.raw(t), &tls.Config{
			InsecureSkipVerify: true, NextProtos: []string{proto}, ClientSessionCache: cache, ServerName: "proxy", Certificates: []tls.Certificate{*user.TLS},
		})
		if !echoed(c, 'x') || !echoed(c, 'y') {
			t.Fatal("no echo")
		}
		if c.ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
		_ = c.Close()
	}
	if _, kept := cache.Get("proxy"); kept {
		t.Error("a ticket was given")
	}
}

func TestOnlyTLS13AndOurProtocolsAreSpoken(t *testing.T) {
	p := newPort(t, edge.Limits{})
	old := tls.Client(p.raw(t), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto}, MaxVersion: tls.VersionTLS12})
	if old.Handshake() == nil {
		t.Error("TLS 1.2 is spoken")
	}
	if echoed(client(p.raw(t), "h2"), 'x') {
		t.Error("h2 is spoken")
	}
	none := client(p.raw(t))
	if echoed(none, 'x') {
		t.Error("something is spoken without a protocol")
	}
}

// TestSec_S16_StrangersAreBounded: half-open handshakes, a byte now and then, silence, junk and too many connections
// of one address cost a bounded time and leave nothing behind.
func TestSec_S16_StrangersAreBounded(t *testing.T) {
	t.Run("silence ends", func(t *testing.T) {
		p := newPort(t, edge.Limits{Time: 50 * time.Millisecond})
		closed(t, p.raw(t))
	})
	t.Run("silence after the handshake ends", func(t *testing.T) {
		p := newPort(t, edge.Limits{Time: 2 * time.Second})
		c := client(p.raw(t), proto)
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		closed(t, c)
	})
	t.Run("a drip ends", func(t *testing.T) {
		p := newPort(t, edge.Limits{Time: 100 * time.Millisecond})
		c := p.raw(t)
		var err error
		for err == nil {
			_, err = c.Write([]byte{22})
			runtime.Gosched()
		}
	})
	t.Run("many bytes end", func(t *testing.T) {
		p := newPort(t, edge.Limits{Bytes: 8 << 10})
		c := client(p.raw(t), proto)
		go func() { _, _ = io.Copy(io.Discard, c) }()
		var err error
		for n := 0; err == nil; n += 1024 {
			if _, err = c.Write(make([]byte, 1024)); n > 16<<20 {
				t.Fatal("there is no end")
			}
		}
	})
	t.Run("who is admitted goes on", func(t *testing.T) {
		p := newPort(t, edge.Limits{Bytes: 8 << 10, Time: time.Hour})
		c := client(p.raw(t), proto)
		if !echoed(c, '+') {
			t.Fatal("no echo")
		}
		go func() { _, _ = c.Write(bytes.Repeat([]byte("x"), 64<<10)) }()
		if _, err := io.ReadFull(c, make([]byte, 64<<10)); err != nil {
			t.Error(err)
		}
	})
	t.Run("junk ends", func(t *testing.T) {
		p := newPort(t, edge.Limits{})
		c := p.raw(t)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		closed(t, c)
	})
}

func TestSec_S16_OneAddressHasABoundedNumber(t *testing.T) {
	p := newPort(t, edge.Limits{Unknown: 3, Connected: 5, Time: time.Hour})
	var open []net.Conn
	serve := func(b byte) bool {
		c := client(p.raw(t), proto)
		open = append(open, c)
		return echoed(c, b)
	}
	for i := range 3 {
		if !serve('x') {
			t.Fatalf("connection %d is not served", i)
		}
	}
	if serve('x') {
		t.Error("a fourth unknown one is served")
	}
	for _, c := range open[:3] {
		if !echoed(c, '+') {
			t.Fatal("not admitted")
		}
	}
	for range 2 {
		if !serve('+') {
			t.Error("after admission there is no place")
		}
	}
	if serve('x') {
		t.Error("more than the address may have are served")
	}
	_ = open[0].Close()
	deadline := time.Now().Add(20 * time.Second)
	for !serve('x') {
		if time.Now().After(deadline) {
			t.Fatal("a place given up is not given again")
		}
	}
}

// TestSec_S16_ANetworkOfIPv6IsOneAddress: whoever has an IPv6 address usually has its /64, so all addresses in it share
// one limit.
func TestSec_S16_ANetworkOfIPv6IsOneAddress(t *testing.T) {
	p := newPort(t, edge.Limits{Unknown: 1, Time: time.Hour}, loopback)
	serve := func(source string) bool {
		raw := p.raw(t)
		if _, err := raw.Write(header(1, 0x21, netip.MustParseAddrPort(source), 0)); err != nil {
			t.Fatal(err)
		}
		return echoed(client(raw, proto), 'x')
	}
	if !serve("[2001:db8::1]:1") {
		t.Fatal("the first connection of a network is not served")
	}
	if serve("[2001:db8::ffff:0:0:2]:1") {
		t.Error("another address of the network is served")
	}
	if !serve("[2001:db8:0:1::1]:1") {
		t.Error("the network beside it is not served")
	}
}

// TestSec_S16_AFloodLeavesNothing: hundreds of half-open handshakes and floods of key updates; goroutines are back
// to what they were.
func TestSec_S16_AFloodLeavesNothing(t *testing.T) {
	p := newPort(t, edge.Limits{Time: 200 * time.Millisecond, Unknown: 1000})
	before := runtime.NumGoroutine()
	hello := capture(t)
	var flood sync.WaitGroup
	for i := range 300 {
		c := p.raw(t)
		flood.Go(func() {
			if i%2 == 0 {
				_, _ = c.Write(hello[:len(hello)/2])
			}
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		})
	}
	flood.Wait()
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > before+2 {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines stay, there were %d", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
	if !echoed(client(p.raw(t), proto), 'x') {
		t.Error("nobody is served after the flood")
	}
}

// capture returns the bytes of a client's hello.
func capture(t *testing.T) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer b.Close()
	go func() { _ = client(a, proto).Handshake() }()
	buf := make([]byte, 4096)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}
