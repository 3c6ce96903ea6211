package tunnel_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

var orders = identity.Target{Kind: "db", Name: "orders"}

// told is what an agent learned of whoever came.
type told struct {
	user identity.User
	use  *frame.Use
	err  error
}

// answering runs an agent's side of one inner connection: it takes the user, reads the use and answers by answer.
func answering(conn net.Conn, c *tunneltest.Cluster, agent tunneltest.Credential, answer func(net.Conn) error) <-chan told {
	done := make(chan told, 1)
	go func() {
		defer conn.Close()
		var got told
		inner, user, _, err := tunnel.AcceptInner(context.Background(), conn, func() *tls.Certificate { return agent.TLS }, c.Holder().State(), time.Now())
		if got.user, got.err = user, err; err == nil {
			got.use = new(frame.Use)
			got.err = frame.Read(inner, got.use)
		}
		if got.err == nil {
			got.err = answer(inner)
		}
		done <- got
	}()
	return done
}

// echo lets in and gives back what comes.
func echo(conn net.Conn) error {
	if err := frame.WriteOpen(conn); err != nil {
		return err
	}
	_, err := io.CopyN(conn, conn, 5)
	return err
}

func TestWhoServesATargetIsReachedThroughWhatAProxySplices(t *testing.T) {
	c := tunneltest.New(t)
	host, agent := c.Host(nil, identity.Target{Kind: "node", Name: "web-1"}, orders)
	ada := c.User(tunneltest.User{})
	for name, agents := range map[string][]string{"told of nobody": nil, "told of it": {"agt_01hv0000000000000000000000", host.ID}} {
		t.Run(name, func(t *testing.T) {
			a, b := loopback(t)
			got := answering(b, c, agent, echo)
			conn, err := tunnel.Inner(t.Context(), a, tunnel.InnerConfig{
				Certificate: ada.TLS, Trust: c.Holder().Trust(), Target: orders, Agents: agents, Use: map[string]string{"database": "app", "user": "root"}, TraceID: "trace-1",
			})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			var back [5]byte
			if _, err := io.ReadFull(conn, back[:]); err != nil || string(back[:]) != "hello" {
				t.Errorf("%q %v", back, err)
			}
			who := <-got
			if who.err != nil || who.user.Name != "ada" || who.use.GetTraceId() != "trace-1" {
				t.Fatalf("%+v", who)
			}
			if d := cmp.Diff(map[string]string{"database": "app", "user": "root"}, who.use.GetUse()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWhoDoesNotServeATargetIsToldNothing(t *testing.T) {
	c, other := tunneltest.New(t), tunneltest.New(t)
	_, elsewhere := c.Host(nil, identity.Target{Kind: "db", Name: "stock"})
	_, node := c.Host(nil, identity.Target{Kind: "node", Name: "orders"})
	_, serves := c.Host(nil, orders)
	_, foreign := other.Host(nil, orders)
	_, proxy := c.Proxy()
	ada := c.User(tunneltest.User{})
	for name, server := range map[string]tunneltest.Credential{
		"an agent of another target":          elsewhere,
		"an agent of a node of the same name": node,
		"an agent of another cluster":         foreign,
		"a proxy":                             proxy,
		"a user":                              c.User(tunneltest.User{}),
		"one that the API did not name":       serves,
	} {
		t.Run(name, func(t *testing.T) {
			var agents []string
			if strings.HasPrefix(name, "one that") {
				agents = []string{"agt_01hv0000000000000000000000"}
			}
			a, b := loopback(t)
			got := answering(b, c, server, echo)
			conn, err := tunnel.Inner(t.Context(), a, tunnel.InnerConfig{Certificate: ada.TLS, Trust: c.Holder().Trust(), Target: orders, Agents: agents, Use: map[string]string{"user": "root"}})
			if f := fault.From(err); conn != nil || f == nil || f.Code != fault.Unauthenticated || !strings.Contains(f.Message, "could not prove that it serves it") || f.Hint == "" {
				t.Errorf("%v", err)
			}
			_ = a.Close()
			if who := <-got; who.use.GetUse() != nil {
				t.Errorf("it was told %v", who.use)
			}
		})
	}
}

func TestAnAgentTakesUsersOfItsClusterAlone(t *testing.T) {
	c, other := tunneltest.New(t), tunneltest.New(t)
	_, agent := c.Host(nil, orders)
	_, proxy := c.Proxy()
	for name, client := range map[string]*tls.Certificate{
		"a user of another cluster": other.User(tunneltest.User{}).TLS,
		"a proxy":                   proxy.TLS,
		"an agent":                  agent.TLS,
		"nobody":                    nil,
		"one whose time is over":    c.User(tunneltest.User{TTL: -time.Second}).TLS,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := loopback(t)
			got := answering(b, c, agent, echo)
			conn, err := tunnel.Inner(t.Context(), a, tunnel.InnerConfig{Certificate: client, Trust: c.Holder().Trust(), Target: orders})
			if err == nil {
				_ = conn.Close()
				t.Error("let in")
			}
			want := fault.Unauthenticated
			if name == "one whose time is over" {
				want = fault.Expired
			}
			if who := <-got; !fault.Is(who.err, want) || who.user.Name != "" {
				t.Errorf("%+v", who)
			}
		})
	}
}

func TestWhatTheAgentRefusesIsSaidAsItSaidIt(t *testing.T) {
	c := tunneltest.New(t)
	_, agent := c.Host(nil, orders)
	ada := c.User(tunneltest.User{})
	ask := func(ctx context.Context, answer func(net.Conn) error) error {
		a, b := loopback(t)
		got := answering(b, c, agent, answer)
		conn, err := tunnel.Inner(ctx, a, tunnel.InnerConfig{Certificate: ada.TLS, Trust: c.Holder().Trust(), Target: orders})
		if conn != nil {
			_ = conn.Close()
		}
		<-got
		return err
	}
	err := ask(t.Context(), func(conn net.Conn) error {
		return frame.WriteRefusal(conn, fault.New(fault.Denied, "no role allows user root", "ask"))
	})
	if f := fault.From(err); f == nil || f.Code != fault.Denied || f.Message != "no role allows user root" || f.Hint != "ask" {
		t.Errorf("refused: %v", err)
	}
	err = ask(t.Context(), func(net.Conn) error { return nil }) // closes without an answer
	if f := fault.From(err); f == nil || f.Code != fault.Unreachable || !strings.Contains(f.Message, "db/orders broke") || f.Hint == "" {
		t.Errorf("broken off: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = ask(ctx, func(conn net.Conn) error {
		cancel()
		_, err := conn.Read(make([]byte, 1)) // answers nothing until the other side is gone
		return err
	})
	if !fault.Is(err, fault.Unreachable) {
		t.Errorf("given up: %v", err)
	}
}

func TestAnInnerConnectionSpeaksItsProtocolAlone(t *testing.T) {
	c := tunneltest.New(t)
	_, agent := c.Host(nil, orders)
	ada := c.User(tunneltest.User{})
	for name, protocols := range map[string][]string{"another": {names.ALPNConnect}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			a, b := loopback(t)
			got := answering(b, c, agent, echo)
			client := tls.Client(a, &tls.Config{
				MinVersion: tls.VersionTLS13, NextProtos: protocols, InsecureSkipVerify: true,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return ada.TLS, nil },
			})
			_ = client.HandshakeContext(t.Context())
			_ = a.Close()
			if who := <-got; who.err == nil || who.user.Name != "" {
				t.Errorf("%+v", who)
			}
		})
	}
}

// proxies is a port behind which several proxies stand: each connection is answered by the next.
func proxies(t *testing.T, proxy tunneltest.Credential, answers ...func(net.Conn, *frame.ConnectRequest) error) (addr string, asked *atomic.Int64) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", tunnel.ServerTLS(func() *tls.Certificate { return proxy.TLS }, names.ALPNConnect))
	if err != nil {
		t.Fatal(err)
	}
	asked = new(atomic.Int64)
	over := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-over })
	go func() {
		defer close(over)
		for _, answer := range answers {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			var r frame.ConnectRequest
			if err := frame.Read(conn, &r); err != nil {
				t.Error(err)
			}
			if err := answer(conn, &r); err != nil {
				t.Error(err)
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String(), asked
}

func TestAProxyWithoutATunnelIsNotTheLastThatIsAsked(t *testing.T) {
	c := tunneltest.New(t)
	_, proxy := c.Proxy()
	ada := c.User(tunneltest.User{})
	refuse := func(code fault.Code) func(net.Conn, *frame.ConnectRequest) error {
		return func(conn net.Conn, _ *frame.ConnectRequest) error {
			return frame.WriteRefusal(conn, fault.New(code, "not here", "elsewhere"))
		}
	}
	open := func(conn net.Conn, r *frame.ConnectRequest) error {
		if r.GetTarget().GetKind() != "db" || r.GetTarget().GetName() != "orders" {
			return errors.New("it was asked for " + r.String())
		}
		if err := frame.WriteOpen(conn); err != nil {
			return err
		}
		_, err := io.CopyN(conn, conn, 5)
		return err
	}
	none := func(n int) []func(net.Conn, *frame.ConnectRequest) error {
		return slices.Repeat([]func(net.Conn, *frame.ConnectRequest) error{refuse(fault.NoTunnel)}, n)
	}
	for name, want := range map[string]struct {
		answers []func(net.Conn, *frame.ConnectRequest) error
		code    fault.Code // "" when it is reached
		asked   int64
	}{
		"the second has it":         {[]func(net.Conn, *frame.ConnectRequest) error{refuse(fault.NoTunnel), open}, "", 2},
		"the second is unreachable": {[]func(net.Conn, *frame.ConnectRequest) error{refuse(fault.NoTunnel), refuse(fault.Unreachable), open}, "", 3},
		"the first denies":          {[]func(net.Conn, *frame.ConnectRequest) error{refuse(fault.Denied), open}, fault.Denied, 1},
		"the twelfth has it":        {append(none(11), open), "", 12},
		"none has it":               {append(none(12), open), fault.NoTunnel, 12},
	} {
		t.Run(name, func(t *testing.T) {
			addr, asked := proxies(t, proxy, want.answers...)
			conn, err := tunnel.DialConnect(t.Context(), tunnel.ConnectConfig{Addrs: []string{addr}, Certificate: ada.TLS, Trust: c.Holder().Trust(), Target: orders})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			var back [5]byte
			_, err = io.ReadFull(conn, back[:])
			if want.code == "" && (err != nil || string(back[:]) != "hello") || want.code != "" && !fault.Is(err, want.code) {
				t.Errorf("%q %v", back, err)
			}
			if n := asked.Load(); n != want.asked {
				t.Errorf("%d were asked", n)
			}
		})
	}
}
