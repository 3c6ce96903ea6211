package connect_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/proxy/connect"
	"github.com/stile-dev/stile/proxy/edge"
	"github.com/stile-dev/stile/proxy/route"
)

// agent answers each stream by saying what it was opened for.
type agent struct {
	silent bool
	pays   chan []*tunnel.Account // gets the accounts of each stream; nil when nobody asks
}

type stream struct{ net.Conn }

func (s stream) CloseWrite() error { return s.Close() }
func (s stream) Reset() error      { return s.Close() }

func (a agent) Open(_ context.Context, pays ...*tunnel.Account) (tunnel.Stream, error) {
	if a.pays != nil {
		a.pays <- pays
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		var open frame.Open
		if frame.Read(theirs, &open) != nil || a.silent {
			_, _ = io.Copy(io.Discard, theirs)
			return
		}
		_ = frame.WriteOpen(theirs)
		_, _ = io.WriteString(theirs, open.GetTarget().GetKind()+"/"+open.GetTarget().GetName()+" for "+open.GetUser())
	}()
	return stream{ours}, nil
}
func (agent) Streams() int { return 0 }
func (agent) Close() error { return nil }

// proxy is a connect handler behind a port on loopback, with a tunnel to node/web-1.
type proxy struct {
	t       *testing.T
	cluster *tunneltest.Cluster
	holder  *document.Holder
	addr    string
	mu      sync.Mutex
	events  []audit.Event
	log     bytes.Buffer
}

// Write takes a line of the log.
func (p *proxy) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(line)
}

func newProxy(t *testing.T, a agent) *proxy {
	t.Helper()
	p := &proxy{t: t, cluster: tunneltest.New(t)}
	p.holder = p.cluster.Holder()
	self, credential := p.cluster.Proxy()
	routes := &route.Table{}
	host, _ := p.cluster.Agent(nil, "web-1")
	routes.Add(&route.Tunnel{Agent: host, Session: a})
	h := connect.New(connect.Config{
		Documents: p.holder, Routes: routes, Proxy: func() identity.Host { return self }, Answer: 100 * time.Millisecond,
		Log:    slog.New(slog.NewTextHandler(p, nil)),
		Record: func(e audit.Event) { p.mu.Lock(); defer p.mu.Unlock(); p.events = append(p.events, e) },
	})
	e := edge.New(edge.Config{
		TLS:      tunnel.ServerTLS(func() *tls.Certificate { return credential.TLS }, names.ALPNConnect),
		Handlers: map[string]edge.Handler{names.ALPNConnect: h.Serve},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() { defer close(served); _ = e.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); _ = l.Close(); <-served; e.Wait() })
	return p
}

// reach connects a user to a target and returns what comes back.
func (p *proxy) reach(c tunneltest.Credential, kind, name string) (string, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	conn, err := tunnel.DialConnect(ctx, tunnel.ConnectConfig{
		Addrs: []string{p.addr}, Certificate: c.TLS, Trust: p.cluster.Holder().Trust(), Target: identity.Target{Kind: kind, Name: name}, TraceID: "t",
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	b, err := io.ReadAll(conn)
	return string(b), err
}

func (p *proxy) publish() {
	p.t.Helper()
	if err := p.holder.Accept(p.cluster.Documents()...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *proxy) denials() []audit.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.events
}

// Two connections of a user count towards one account, and nobody else's towards it, whatever they are called.
func TestSec_S60_AConnectionCountsTowardsItsUser(t *testing.T) {
	a := agent{pays: make(chan []*tunnel.Account, 1)}
	p := newProxy(t, a)
	ada := p.cluster.User(tunneltest.User{})
	namesake := p.cluster.User(tunneltest.User{Identity: identity.User{UID: "usr_2"}})
	seen := map[*tunnel.Account]bool{}
	for _, who := range []tunneltest.Credential{ada, namesake} {
		if got, err := p.reach(who, "node", "web-1"); err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		pays := <-a.pays
		if len(pays) != 1 || seen[pays[0]] {
			t.Fatalf("%d accounts, or another's", len(pays))
		}
		seen[pays[0]] = true
	}
}

func TestAUserReachesTheTargetAndNoOther(t *testing.T) {
	p := newProxy(t, agent{})
	ada := p.cluster.User(tunneltest.User{})
	if got, err := p.reach(ada, "node", "web-1"); err != nil || got != "node/web-1 for ada" {
		t.Errorf("%q, %v", got, err)
	}
	for _, target := range [][2]string{{"node", "web-2"}, {"db", "web-1"}} {
		if got, err := p.reach(ada, target[0], target[1]); !fault.Is(err, fault.NoTunnel) {
			t.Errorf("%v: %q, %v", target, got, err)
		}
	}
	for _, target := range [][2]string{{"", ""}, {"node", ""}, {"node", "WEB 1"}, {"node", strings.Repeat("x", 300)}, {"no de", "web-1"}} {
		if got, err := p.reach(ada, target[0], target[1]); !fault.Is(err, fault.BadInput) {
			t.Errorf("%q: %q, %v", target, got, err)
		}
	}
}

func TestARevokedUserIsTurnedAwayWithAnEvent(t *testing.T) {
	p := newProxy(t, agent{})
	ada := p.cluster.User(tunneltest.User{})
	p.cluster.SetRoles()
	p.cluster.Bar(identity.Ref{Target: "user", Value: "ada"})
	p.publish()
	if got, err := p.reach(ada, "node", "web-1"); !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("%q, %v", got, err)
	}
	events := p.denials()
	if len(events) != 1 || events[0].Type != audit.SessionDenied || events[0].Actor != "user/ada" || events[0].Target != "web-1" || events[0].DecisionID == "" || events[0].Data["uid"] == "" {
		t.Errorf("%+v", events)
	}
	if _, err := p.reach(p.cluster.User(tunneltest.User{}), "node", "web-1"); err != nil {
		t.Errorf("with a certificate from after it: %v", err)
	}
}

func TestALockIsFollowed(t *testing.T) {
	for target, value := range map[string]string{"user": "ada", "role": "access", "target": "node/web-1"} {
		t.Run(target, func(t *testing.T) {
			p := newProxy(t, agent{})
			p.cluster.Lock(document.Lock{ID: "lck_1", Target: target, Value: value, Reason: "under suspicion"})
			p.publish()
			got, err := p.reach(p.cluster.User(tunneltest.User{}), "node", "web-1")
			if f := fault.From(err); f.Code != fault.Denied || !strings.Contains(f.Message, "under suspicion") || f.DecisionID == "" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestAUserWhoIsFasterThanTheFeedWaitsForIt(t *testing.T) {
	p := newProxy(t, agent{})
	p.cluster.SetRoles()
	p.cluster.Lock()
	ada := p.cluster.User(tunneltest.User{})
	done := make(chan error)
	go func() { _, err := p.reach(ada, "node", "web-1"); done <- err }()
	p.publish()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestACertificateThatIsPinnedElsewhereIsTurnedAway(t *testing.T) {
	p := newProxy(t, agent{})
	for address, want := range map[string]bool{"127.0.0.1": true, "192.0.2.7": false} {
		ada := p.cluster.User(tunneltest.User{Identity: identity.User{SourceAddress: address}})
		if _, err := p.reach(ada, "node", "web-1"); (err == nil) != want || err != nil && !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestStrangersAndHostsAreNobody(t *testing.T) {
	p := newProxy(t, agent{})
	stranger := tunneltest.New(t).User(tunneltest.User{})
	_, host := p.cluster.Agent(nil, "web-2")
	expired := p.cluster.User(tunneltest.User{TTL: time.Nanosecond})
	for name, c := range map[string]tunneltest.Credential{"another cluster's user": stranger, "an agent": host, "an expired one": expired} {
		if _, err := p.reach(c, "node", "web-1"); !fault.Is(err, fault.Unauthenticated) && !fault.Is(err, fault.Expired) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnAgentThatDoesNotAnswerIsNamed(t *testing.T) {
	p := newProxy(t, agent{silent: true})
	_, err := p.reach(p.cluster.User(tunneltest.User{}), "node", "web-1")
	if f := fault.From(err); f.Code != fault.Unreachable || !strings.Contains(f.Message, "web-1 did not answer") {
		t.Errorf("%v", err)
	}
}

// TestSec_S65_DenialsOfAUserAreRationedAtTheProxy: a user who is locked out tries on and on; another one's denial is
// recorded all the same.
func TestSec_S65_DenialsOfAUserAreRationedAtTheProxy(t *testing.T) {
	p := newProxy(t, agent{})
	p.cluster.Lock(document.Lock{ID: "lck_1", Target: "role", Value: "access", Reason: "under suspicion"})
	p.publish()
	mallory := p.cluster.User(tunneltest.User{Identity: identity.User{Name: "mallory"}})
	named := 0
	for range 20 {
		_, err := p.reach(mallory, "node", "web-1")
		if f := fault.From(err); f.Code != fault.Denied {
			t.Fatal(err)
		} else if f.DecisionID != "" {
			named++
		}
	}
	if n := len(p.denials()); n != named || n < 10 || n > 12 { // one more each half minute
		t.Errorf("%d of 20 denials are recorded, and %d were given an id", n, named)
	}
	if _, err := p.reach(p.cluster.User(tunneltest.User{}), "node", "web-1"); fault.From(err).DecisionID == "" {
		t.Errorf("another user: %v", err)
	}
}

// TestSec_S67_RefusedConnectionsOfAnAddressAreOneLineAMinuteAtTheProxy: a flood of refusals fills no log.
func TestSec_S67_RefusedConnectionsOfAnAddressAreOneLineAMinuteAtTheProxy(t *testing.T) {
	p := newProxy(t, agent{})
	stranger := tunneltest.New(t).User(tunneltest.User{})
	for range 30 {
		if _, err := p.reach(stranger, "node", "web-1"); err == nil {
			t.Fatal("let in")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := strings.Count(p.log.String(), "Connection refused"); n < 1 || n > 2 { // the test may take more than a minute
		t.Errorf("%d lines:\n%s", n, p.log.String())
	}
}
