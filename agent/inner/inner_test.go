package inner_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/decide"
	"github.com/stile-dev/stile/agent/inner"
	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

var orders = identity.Target{Kind: "db", Name: "orders"}

// bench is an agent that serves db/orders by echoing, and what lies between it and its clients.
type bench struct {
	t        *testing.T
	cluster  *tunneltest.Cluster
	holder   *document.Holder
	sessions *session.Register
	host     identity.Host
	service  *inner.Service
	mu       sync.Mutex
	events   []audit.Event
	wire     bytes.Buffer // what a proxy sees
}

func (b *bench) Room() error { return nil }

func (b *bench) Scarce() bool { return false }

func (b *bench) Note(e audit.Event) error { return b.Record(e) }

func (b *bench) Record(e audit.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	return nil
}

func (b *bench) of(kind audit.Type) []audit.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.events), func(e audit.Event) bool { return e.Type != kind })
}

func newBench(t *testing.T) *bench {
	t.Helper()
	readers := resource.Role{Metadata: resource.Metadata{Name: "readers"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{
		DBLabels: resource.Labels{"env": {"dev"}}, DBNames: []string{"shop"}, DBUsers: []string{"reader"},
	}}}
	b := &bench{t: t, cluster: tunneltest.New(t, readers)}
	b.holder = b.cluster.Holder()
	var credential tunneltest.Credential
	b.host, credential = b.cluster.Host(map[string]string{"env": "dev"}, orders)
	self := func() identity.Host { return b.host }
	b.sessions = session.New(session.Config{Gate: decide.New(decide.Config{Documents: b.holder, Host: self}), Journal: b, Host: self})
	b.service = inner.New(inner.Config{
		Documents: b.holder, Certificate: func() *tls.Certificate { return credential.TLS }, Sessions: b.sessions, AuthTime: 2 * time.Second,
		Handle: func(_ context.Context, s *session.Session, stream net.Conn) session.Result {
			_, _ = io.Copy(s.Output().Writer(stream, session.Stdout), stream)
			return session.Result{Data: map[string]string{"bytes": "4"}}
		},
	})
	return b
}

// between is a connection of which everything that passes is kept.
type between struct {
	net.Conn
	b *bench
}

func (c between) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.wire.Write(p[:n])
	return n, err
}

// connect gives a client a stream to the agent, as a proxy would.
func (b *bench) connect(source string) net.Conn {
	b.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	theirs, err := l.Accept()
	if err != nil {
		b.t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		b.service.Serve(context.Background(), between{theirs, b}, session.Hint{Target: orders, Source: netip.MustParseAddrPort(source)})
	}()
	b.t.Cleanup(func() { _ = ours.Close(); <-served })
	return ours
}

func (b *bench) reader() tunneltest.Credential {
	return b.cluster.User(tunneltest.User{Identity: identity.User{Roles: []string{"readers"}}})
}

func (b *bench) open(c tunneltest.Credential, change func(*tunnel.InnerConfig)) (*tls.Conn, error) {
	b.t.Helper()
	config := tunnel.InnerConfig{
		Certificate: c.TLS, Trust: b.cluster.Holder().Trust(), Target: orders, Use: map[string]string{"database": "shop", "user": "reader"}, Agents: []string{b.host.ID},
	}
	if change != nil {
		change(&config)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	conn, err := tunnel.Inner(ctx, b.connect("192.0.2.7:5555"), config)
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return conn, err
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestASessionPassesUnreadAndIsJournaled(t *testing.T) {
	b := newBench(t)
	conn, err := b.open(b.reader(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "a secret word"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("a secret word"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "a secret word" {
		t.Fatalf("%q, %v", got, err)
	}
	_ = conn.Close()
	until(t, "the end", func() bool { return len(b.of(audit.SessionEnd)) == 1 })
	start, end := b.of(audit.SessionStart)[0], b.of(audit.SessionEnd)[0]
	if start.TargetKind != "db" || start.Target != "orders" || start.Data["database"] != "shop" || start.Data["user"] != "reader" || start.SourceIP != "192.0.2.7" {
		t.Errorf("%+v", start)
	}
	if end.SessionID != start.SessionID || end.Data["bytes"] != "4" {
		t.Errorf("%+v", end)
	}
	until(t, "the user to be gone", func() bool { return b.sessions.Users() == 0 })
	b.mu.Lock()
	defer b.mu.Unlock()
	if strings.Contains(b.wire.String(), "secret") || strings.Contains(b.wire.String(), "reader") {
		t.Error("a proxy could read it")
	}
}

func TestWhatARoleDoesNotAllowIsRefusedWithAReason(t *testing.T) {
	b := newBench(t)
	for name, use := range map[string]map[string]string{
		"another user": {"database": "shop", "user": "root"}, "another database": {"database": "hr", "user": "reader"},
		"half a use": {"database": "shop"}, "a use too many": {"database": "shop", "user": "reader", "login": "root"}, "none": nil,
		"one without end": {"database": strings.Repeat("x", 5000), "user": "reader"},
	} {
		conn, err := b.open(b.reader(), func(c *tunnel.InnerConfig) { c.Use = use })
		if f := fault.From(err); f.Code != fault.Denied && f.Code != fault.BadInput {
			t.Errorf("%s: %v %v", name, conn, err)
		}
	}
	if n := len(b.of(audit.SessionDenied)); n != 5 {
		t.Errorf("%d denials are journaled", n)
	}
	if len(b.of(audit.SessionStart)) != 0 {
		t.Error("a session began")
	}
}

func TestALockCutsWhatRuns(t *testing.T) {
	b := newBench(t)
	conn, err := b.open(b.reader(), nil)
	if err != nil {
		t.Fatal(err)
	}
	b.cluster.Lock(document.Lock{ID: "lck_1", Target: "user", Value: "ada", Reason: "left"})
	if err := b.holder.Accept(b.cluster.Documents()...); err != nil {
		t.Fatal(err)
	}
	b.sessions.Recheck()
	_, _ = io.ReadAll(conn) // ends
	until(t, "the end", func() bool { return len(b.of(audit.SessionEnd)) == 1 })
	if e := b.of(audit.SessionEnd)[0]; !strings.Contains(e.Reason, "locked") {
		t.Errorf("%+v", e)
	}
	if _, err := b.open(b.reader(), nil); !fault.Is(err, fault.Denied) {
		t.Errorf("a new one: %v", err)
	}
}

func TestNobodyButAUserOfTheClusterIsServed(t *testing.T) {
	b := newBench(t)
	_, host := b.cluster.Agent(nil, "web-1")
	for name, c := range map[string]tunneltest.Credential{
		"another cluster's user": tunneltest.New(t).User(tunneltest.User{}), "an agent": host,
		"an expired user": b.cluster.User(tunneltest.User{TTL: time.Nanosecond}), "nobody": {TLS: &tls.Certificate{}},
		"one pinned elsewhere": b.cluster.User(tunneltest.User{Identity: identity.User{Roles: []string{"readers"}, SourceAddress: "198.51.100.1"}}),
	} {
		if conn, err := b.open(c, nil); err == nil {
			t.Errorf("%s: %v", name, conn)
		}
	}
	if len(b.of(audit.SessionStart)) != 0 {
		t.Error("a session began")
	}
}

func TestAClientTakesNoOtherAgent(t *testing.T) {
	b := newBench(t)
	for name, change := range map[string]func(*tunnel.InnerConfig){
		"for another target":           func(c *tunnel.InnerConfig) { c.Target.Name = "hr" },
		"for a node of the name":       func(c *tunnel.InnerConfig) { c.Target.Kind = "node" },
		"that the API did not tell of": func(c *tunnel.InnerConfig) { c.Agents = []string{"agt_01hv0000000000000000000000"} },
		"of another cluster":           func(c *tunnel.InnerConfig) { c.Trust = tunneltest.New(t).Holder().Trust() },
	} {
		conn, err := b.open(b.reader(), change)
		if !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %v %v", name, conn, err)
		}
	}
}

func TestWhoSaysNothingIsNotWaitedFor(t *testing.T) {
	b := newBench(t)
	began := time.Now()
	silent := b.connect("192.0.2.7:5555")
	_ = silent.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, silent); err != nil {
		t.Errorf("still open after %s: %v", time.Since(began), err)
	}
}

func TestWhoProvesHimselfAndNamesNoUseIsNotWaitedFor(t *testing.T) {
	b := newBench(t)
	user := b.reader()
	conn := tls.Client(b.connect("192.0.2.7:5555"), &tls.Config{
		Certificates: []tls.Certificate{*user.TLS}, NextProtos: []string{names.ALPNTarget}, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, // whom the client believes is not what is tested
	})
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
}
