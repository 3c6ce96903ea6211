package link_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/link"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// refused connects with a credential and gives what the user is told.
func (l *line) refused(c tunneltest.Credential) *fault.Fault {
	l.t.Helper()
	conn, err := l.dial(c, "web-1", l.proxies[0])
	if err != nil {
		return fault.From(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err = io.WriteString(conn, "SSH-2.0-x\r\n"); err != nil {
		l.t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if err == nil {
		l.t.Fatalf("served with %q", b)
	}
	return fault.From(err)
}

// TestSec_S15_WhoConnectsIsVerified: each certificate that is not a user's of this cluster, in force now, gets a fault
// that says so; nothing else is served to it.
func TestSec_S15_WhoConnectsIsVerified(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	foreign := tunneltest.New(t)
	_, agent := l.cluster.Agent(nil, "web-9")
	_, proxy := l.cluster.Proxy()
	stolen := l.user() // a certificate without its key
	stolen.TLS = &tls.Certificate{Certificate: stolen.TLS.Certificate, PrivateKey: tunneltest.Key(t)}
	for name, c := range map[string]struct {
		credential tunneltest.Credential
		code       fault.Code
	}{
		"another cluster's":    {foreign.User(tunneltest.User{}), fault.Unauthenticated},
		"an expired one":       {l.cluster.User(tunneltest.User{TTL: -10 * time.Second}), fault.Expired},
		"an agent's":           {agent, fault.Unauthenticated},
		"a proxy's":            {proxy, fault.Unauthenticated},
		"none":                 {tunneltest.Credential{}, fault.Unauthenticated},
		"one of a stolen sort": {stolen, fault.Unreachable},
		"a chain with a passenger": {func() tunneltest.Credential {
			c := l.user()
			c.TLS.Certificate = append(c.TLS.Certificate, agent.TLS.Certificate[0])
			return c
		}(), fault.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			if f := l.refused(c.credential); f.Code != c.code || f.Hint == "" {
				t.Errorf("got %s: %s (%s)", f.Code, f.Message, f.Hint)
			}
		})
	}
	if events := l.events(audit.SessionDenied); len(events) != 0 {
		t.Errorf("strangers fill the ledger: %+v", events)
	}
}

// TestSec_S15_OnlyAgentsHaveTunnels: a user's or a proxy's certificate gets no tunnel, nor another cluster's agent.
func TestSec_S15_OnlyAgentsHaveTunnels(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	_, foreign := tunneltest.New(t).Agent(nil, "web-1")
	_, proxy := l.cluster.Proxy()
	for name, c := range map[string]tunneltest.Credential{"a user's": l.user(), "a proxy's": proxy, "another cluster's agent's": foreign} {
		t.Run(name, func(t *testing.T) {
			s, _, err := tunnel.Dial(t.Context(), tunnel.DialConfig{Addr: l.proxies[0].addr, Certificate: c.TLS, Trust: l.cluster.Holder().Trust()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			control, err := s.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_ = frame.Write(control, &frame.Control{Body: &frame.Control_Register{Register: &frame.Register{Version: frame.Protocol}}})
			var m frame.Control
			if err := frame.Read(control, &m); err != nil || m.GetFault() == nil {
				t.Errorf("got %v, %v", &m, err)
			}
		})
	}
	if n := len(l.proxies[0].routes.All()); n != 1 {
		t.Errorf("%d tunnels are routed to", n)
	}
}

// TestSec_S15_AProxyMustBeOne: clients and agents accept nobody else at a proxy's address.
func TestSec_S15_AProxyMustBeOne(t *testing.T) {
	l := newLine(t, 1)
	other := tunneltest.New(t) // the client's cluster is another
	_, err := tunnel.DialConnect(t.Context(), tunnel.ConnectConfig{
		Addrs: []string{l.proxies[0].addr}, Certificate: l.user().TLS, Trust: other.Holder().Trust(), Target: identity.Target{Kind: "node", Name: "web-1"},
	})
	if f := fault.From(err); f.Code != fault.Unauthenticated || !strings.Contains(f.Message, "could not prove") {
		t.Errorf("got %v", err)
	}
}

func TestALockedAgentIsCutAndKeptOut(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	p := l.proxies[0]
	l.cluster.Lock(document.Lock{ID: identity.NewID("lck", rand.Reader, time.Now()), Target: "agent", Value: l.node.ID})
	if err := p.holder.Accept(l.cluster.Documents()...); err != nil {
		t.Fatal(err)
	}
	p.links.Push()
	until(t, "the agent cut", func() bool { return l.links.Up() == 0 && len(p.routes.All()) == 0 })
}

func TestAnAgentThatStopsAnsweringIsGone(t *testing.T) {
	l := newPatientLine(t, 1, 200*time.Millisecond, time.Second)
	l.up(1)
	node, credential := l.cluster.Agent(nil, "web-2")
	s, _, err := tunnel.Dial(t.Context(), tunnel.DialConfig{Addr: l.proxies[0].addr, Certificate: credential.TLS, Trust: l.cluster.Holder().Trust()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	control, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := frame.Write(control, &frame.Control{Body: &frame.Control_Register{Register: &frame.Register{Version: frame.Protocol}}}); err != nil {
		t.Fatal(err)
	}
	routes := l.proxies[0].routes
	until(t, "a route", func() bool { _, ok := routes.Find(identity.Target{Kind: "node", Name: "web-2"}); return ok })
	// From here on it answers nothing, as a stopped process: pings come to nothing.
	until(t, "the route gone", func() bool { _, ok := routes.Find(identity.Target{Kind: "node", Name: node.ID}); return !ok })
}

func TestAnAgentThatDoesNotAnswerAStreamIsNamed(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	_, credential := l.cluster.Agent(nil, "web-3")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	holder := l.cluster.Holder()
	deaf := link.New(link.Config{
		Addrs: func() []string { return []string{l.proxies[0].addr} }, Certificate: func() *tls.Certificate { return credential.TLS },
		Trust: holder.Trust, Held: holder.Versions, Accept: func([]document.Signed) {},
		Serve: func(ctx context.Context, _ tunnel.Stream, _ *frame.Open) { <-ctx.Done() },
	})
	over := make(chan struct{})
	go func() { defer close(over); deaf.Run(ctx) }()
	defer func() { cancel(); <-over }()
	until(t, "a route", func() bool {
		_, ok := l.proxies[0].routes.Find(identity.Target{Kind: "node", Name: "web-3"})
		return ok
	})
	conn, err := l.dial(l.user(), "web-3", l.proxies[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadAll(conn); !fault.Is(err, fault.Unreachable) || !strings.Contains(err.Error(), "web-3") {
		t.Errorf("got %v", err)
	}
}

// TestAnAgentSpeaksForItselfAlone: events about other nodes or of types that are not an agent's don't enter the ledger,
// and whom an event comes from is the proxy's to say.
func TestAnAgentSpeaksForItselfAlone(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	data := map[audit.Type]map[string]string{
		audit.SessionStart: {"certificate": "crt_1"},
		audit.UserLogin:    {"method": "iam", "uid": "usr_1", "logins": "ada"},
	}
	record := func(kind audit.Type, target, actor string) {
		e := audit.New(kind, rand.Reader, time.Now())
		e.Actor, e.TargetKind, e.Target, e.Data = actor, "node", target, data[kind]
		if err := l.spool.Record(e); err != nil {
			t.Fatal(err)
		}
	}
	record(audit.SessionStart, "web-2", "user/ada")
	record(audit.UserLogin, "web-1", "user/ada")
	record(audit.SessionEnd, "web-1", "user/last")
	until(t, "the last event", func() bool { return len(l.events(audit.SessionEnd)) == 1 })
	if n := len(l.events(audit.SessionStart)) + len(l.events(audit.UserLogin)); n != 0 {
		t.Errorf("%d events of others are in the ledger", n)
	}
}

func TestProxiesAreReachedByTheirOwnProtocolsOnly(t *testing.T) {
	l := newLine(t, 1)
	conn, err := tls.Dial("tcp", l.proxies[0].addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{names.ALPNPeer}})
	if err == nil {
		_ = conn.Close()
		t.Error("a protocol without a handler is spoken")
	}
}
