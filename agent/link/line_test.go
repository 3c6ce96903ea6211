package link_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os/user"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/agent/decide"
	"github.com/stile-dev/stile/agent/link"
	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/agent/spool"
	"github.com/stile-dev/stile/agent/sshd"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/proxy/connect"
	"github.com/stile-dev/stile/proxy/edge"
	proxylink "github.com/stile-dev/stile/proxy/link"
	"github.com/stile-dev/stile/proxy/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is a whole way in one process: client, proxies, an agent, an SSH server, documents signed by a test cluster.
type line struct {
	t       testing.TB
	cluster *tunneltest.Cluster
	proxies []*proxy
	node    identity.Host
	holder  *document.Holder // the agent's
	server  *sshd.Server
	links   *link.Links
	spool   *spool.Spool
	stop    context.CancelFunc // of the agent
	stopped chan struct{}
	me      string
	silence time.Duration
	dead    time.Duration
	look    time.Duration

	together time.Duration // for which the proxies let two instances of an agent answer
	config   link.Config   // the agent's

	mu     sync.Mutex
	ledger []audit.Event
	came   []audit.Delivery
}

type proxy struct {
	id     string
	addr   string
	holder *document.Holder
	links  *proxylink.Links
	routes *route.Table
	kill   func()
}

// newLine starts a line with some proxies and waits for nothing.
func newLine(t testing.TB, proxies int) *line {
	t.Helper()
	return newPatientLine(t, proxies, 0, 0)
}

// newPatientLine is newLine with other times of silence than the tunnels' own.
func newPatientLine(t testing.TB, proxies int, silence, dead time.Duration) *line {
	t.Helper()
	l := newIdleLine(t)
	l.silence, l.dead = silence, dead
	for range proxies {
		l.proxies = append(l.proxies, l.newProxy())
	}
	l.newAgent()
	l.tell(l.proxies...)
	return l
}

// newIdleLine is a line without users.
func newIdleLine(t testing.TB) *line {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return &line{t: t, cluster: tunneltest.New(t), me: me.Username, stopped: make(chan struct{})}
}

// tell says to all proxies that these live.
func (l *line) tell(proxies ...*proxy) {
	var list []*frame.Proxies_Proxy
	for _, p := range proxies {
		list = append(list, &frame.Proxies_Proxy{Id: p.id, Addr: p.addr})
	}
	for _, p := range l.proxies {
		p.links.Proxies(list)
	}
}

func (l *line) newProxy() *proxy {
	l.t.Helper()
	return l.newProxyThat(l.deliver)
}

// newProxyThat starts a proxy that does something else with the events that it is given.
func (l *line) newProxyThat(deliver func(context.Context, audit.Delivery) error) *proxy {
	l.t.Helper()
	host, credential := l.cluster.Proxy()
	p := &proxy{id: host.ID, holder: l.cluster.Holder(), routes: &route.Table{}}
	me := func() identity.Host { return host }
	p.links = proxylink.New(proxylink.Config{
		Documents: p.holder, Routes: p.routes, Proxy: me, Deliver: deliver, Silence: l.silence, Dead: l.dead,
		Together: l.together, Record: func(e audit.Event) { _ = l.append(context.Background(), e) },
	})
	connects := connect.New(connect.Config{
		Documents: p.holder, Routes: p.routes, Proxy: me, Answer: 2 * time.Second,
		Record: func(e audit.Event) { _ = l.append(context.Background(), e) },
	})
	e := edge.New(edge.Config{
		TLS:      tunnel.ServerTLS(func() *tls.Certificate { return credential.TLS }, names.ALPNTunnel, names.ALPNConnect),
		Handlers: map[string]edge.Handler{names.ALPNTunnel: p.links.Serve, names.ALPNConnect: connects.Serve},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	p.addr = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() { defer close(served); _ = e.Serve(ctx, listener) }()
	p.kill = sync.OnceFunc(func() {
		cancel()
		_ = listener.Close()
		<-served
		e.Wait()
	})
	l.t.Cleanup(p.kill)
	return p
}

func (l *line) deliver(ctx context.Context, d audit.Delivery) error {
	for _, s := range d.Events {
		if len(s.Signature) == 0 {
			l.t.Errorf("an agent doesn't sign: %s", s.Body)
		}
		_ = l.append(ctx, s.Event)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.came = append(l.came, d)
	return nil
}

func (l *line) append(_ context.Context, events ...audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ledger = append(l.ledger, events...)
	return nil
}

func (l *line) events(kind audit.Type) []audit.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []audit.Event
	for _, e := range l.ledger {
		if e.Type == kind {
			out = append(out, e)
		}
	}
	return out
}

func (l *line) newAgent() {
	l.t.Helper()
	var credential tunneltest.Credential
	l.node, credential = l.cluster.Agent(map[string]string{"env": "test"}, "web-1")
	l.holder = l.cluster.Holder()
	me := func() identity.Host { return l.node }
	var err error
	l.spool, err = spool.Open(spool.Config{Dir: l.t.TempDir(), Epoch: "1", Stamp: func() spool.Stamp {
		return spool.Stamp{Cluster: l.cluster.ID, Source: "agent/" + l.node.ID}
	}})
	if err != nil {
		l.t.Fatal(err)
	}
	sessions := session.New(session.Config{Gate: decide.New(decide.Config{Documents: l.holder, Host: me}), Journal: l.spool, Host: me})
	l.server = sshd.New(sshd.Config{HostKey: credential.Signer, Documents: l.holder, Sessions: sessions})
	l.config = link.Config{
		Addrs: func() []string {
			l.mu.Lock()
			defer l.mu.Unlock()
			var out []string
			for _, p := range l.proxies {
				out = append(out, p.addr)
			}
			return out
		},
		Certificate: func() *tls.Certificate { return credential.TLS },
		Trust:       l.holder.Trust, Held: l.holder.Versions, Spool: l.spool, Software: "test", Silence: l.silence, Dead: l.dead, Look: l.look,
		Accept: func(d []document.Signed) {
			if err := l.holder.Accept(d...); err != nil {
				l.t.Errorf("documents: %v", err)
			}
			sessions.Recheck()
		},
		Serve: func(ctx context.Context, s tunnel.Stream, open *frame.Open) {
			if frame.WriteOpen(s) != nil {
				return
			}
			source, _ := netip.ParseAddrPort(open.GetSource())
			l.server.Serve(ctx, s, session.Hint{Target: identity.Target{Kind: "node", Name: open.GetTarget().GetName()}, Source: source, TraceID: open.GetTraceId(), Proxy: open.GetProxy()})
		},
		Log: slog.New(slog.NewTextHandler(l.t.Output(), nil)),
	}
	l.links = link.New(l.config)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { defer close(l.stopped); l.links.Run(ctx) }()
	l.stop = func() { cancel(); <-l.stopped; _ = l.spool.Close() }
	l.t.Cleanup(l.stop)
}

// knows changes which proxies a running agent knows from its configuration.
func (l *line) knows(proxies ...*proxy) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxies = proxies
}

// until waits for a condition that must come about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (l *line) up(n int) {
	l.t.Helper()
	until(l.t, "tunnels up", func() bool { return l.links.Up() >= n })
}

// me is a user who may log in as whoever runs the test.
func (l *line) user() tunneltest.Credential {
	return l.cluster.User(tunneltest.User{Logins: []string{l.me}})
}

// dial opens a connection to a target through a proxy.
func (l *line) dial(c tunneltest.Credential, target string, through *proxy) (net.Conn, error) {
	return tunnel.DialConnect(l.t.Context(), tunnel.ConnectConfig{
		Addrs: []string{through.addr}, Certificate: c.TLS, Trust: l.cluster.Holder().Trust(), Target: identity.Target{Kind: "node", Name: target}, TraceID: "t1",
	})
}

// ssh logs in; banner gets what the server says before.
func (l *line) ssh(c tunneltest.Credential, login string, banner *strings.Builder) (*ssh.Client, error) {
	conn, err := l.dial(c, "web-1", l.proxies[0])
	if err != nil {
		return nil, err
	}
	return l.sshOver(conn, c, login, banner)
}

func (l *line) sshOver(conn net.Conn, c tunneltest.Credential, login string, banner *strings.Builder) (*ssh.Client, error) {
	signer, err := c.Signer()
	if err != nil {
		l.t.Fatal(err)
	}
	sc, channels, requests, err := ssh.NewClientConn(conn, "web-1", &ssh.ClientConfig{
		User: login, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyAlgorithms: []string{ssh.CertAlgoECDSA256v01},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			_, err := certs.VerifySSHHost(key.(*ssh.Certificate), l.cluster.Holder().Trust().CA(names.KeyHostSSH), "web-1", time.Now())
			return err
		},
		BannerCallback: func(s string) error {
			if banner != nil {
				banner.WriteString(s)
			}
			return nil
		},
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return ssh.NewClient(sc, channels, requests), nil
}

func (l *line) login() *ssh.Client {
	l.t.Helper()
	c, err := l.ssh(l.user(), l.me, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

func open(t testing.TB, c *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestACommandRunsThroughTheTunnel(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	s := open(t, l.login())
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr = &out, &errs
	err := s.Run("echo out; echo err >&2; echo $STILE_USER; exit 7")
	exit, ok := errors.AsType[*ssh.ExitError](err)
	if !ok || exit.ExitStatus() != 7 {
		t.Errorf("ended with %v", err)
	}
	if out.String() != "out\nada\n" || errs.String() != "err\n" {
		t.Errorf("stdout %q, stderr %q", out.String(), errs.String())
	}
	until(t, "events in the ledger", func() bool { return len(l.events(audit.SessionEnd)) == 1 })
	begin, end := l.events(audit.SessionStart)[0], l.events(audit.SessionEnd)[0]
	if begin.SessionID != end.SessionID || begin.Actor != "user/ada" || begin.Source != "agent/"+l.node.ID || end.Data["exit_status"] != "7" {
		t.Errorf("begin %+v\nend %+v", begin, end)
	}
}

func TestTwentyMegabytesComeBackAsTheyWent(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	s := open(t, l.login())
	sent := make([]byte, 20<<20)
	_, _ = rand.Read(sent)
	var out bytes.Buffer
	s.Stdin, s.Stdout = bytes.NewReader(sent), &out
	if err := s.Run("cat"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), sent) {
		t.Errorf("%d bytes came back, or others", out.Len())
	}
}

func TestAnUnknownTargetIsUnreachable(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	conn, err := l.dial(l.user(), "web-2", l.proxies[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.ReadAll(conn)
	if f := fault.From(err); f.Code != fault.NoTunnel || !strings.Contains(f.Message, "web-2") || f.Hint == "" {
		t.Errorf("got %v: %+v", err, f)
	}
}

func TestADeniedLoginSaysWhyAndIsRecorded(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	c := l.cluster.User(tunneltest.User{Logins: []string{"root", "daemon"}, Identity: identity.User{Roles: []string{"auditor"}}})
	var banner strings.Builder
	if _, err := l.ssh(c, "daemon", &banner); err == nil {
		t.Fatal("let in")
	}
	until(t, "the event in the ledger", func() bool { return len(l.events(audit.SessionDenied)) == 1 })
	e := l.events(audit.SessionDenied)[0]
	if !strings.HasPrefix(e.DecisionID, "dec_") || e.Outcome != audit.Denied || !strings.Contains(banner.String(), e.DecisionID) {
		t.Errorf("event %+v, banner %q", e, banner.String())
	}
	if !strings.Contains(banner.String(), "stile: error: ") || !strings.Contains(banner.String(), "stile: hint: ") {
		t.Errorf("banner %q", banner.String())
	}
}

func TestALockCutsOpenSessions(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	s := open(t, l.login())
	var errs bytes.Buffer
	s.Stderr = &errs
	in, _ := s.StdinPipe()
	defer in.Close()
	if err := s.Start("cat"); err != nil {
		t.Fatal(err)
	}
	l.cluster.Lock(document.Lock{ID: identity.NewID("lck", rand.Reader, time.Now()), Target: "user", Value: "ada", Reason: "gone"})
	if err := l.proxies[0].holder.Accept(l.cluster.Documents()...); err != nil {
		t.Fatal(err)
	}
	l.proxies[0].links.Push()
	if err := s.Wait(); err == nil {
		t.Error("the command ended well")
	}
	if !strings.Contains(errs.String(), "locked: user ada: gone") {
		t.Errorf("stderr %q", errs.String())
	}
	conn, err := l.dial(l.user(), "web-1", l.proxies[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err = io.ReadAll(conn); !fault.Is(err, fault.Denied) {
		t.Errorf("a new connection: %v", err)
	}
}

func TestAnAgentHoldsTunnelsToTwoProxiesAndOutlivesOne(t *testing.T) {
	l := newLine(t, 2)
	l.up(2)
	for _, p := range l.proxies {
		until(t, "a route", func() bool { _, ok := p.routes.Find(identity.Target{Kind: "node", Name: "web-1"}); return ok })
	}
	l.proxies[0].kill()
	until(t, "one tunnel", func() bool { return l.links.Up() == 1 })
	l.knows(l.proxies[1])
	s := open(t, l.login())
	if err := s.Run("true"); err != nil {
		t.Error(err)
	}
}

func TestAStoppedAgentIsGoneSoonAndComesBack(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	p := l.proxies[0]
	until(t, "a route", func() bool { _, ok := p.routes.Find(identity.Target{Kind: "node", Name: "web-1"}); return ok })
	l.stop()
	until(t, "no route", func() bool { _, ok := p.routes.Find(identity.Target{Kind: "node", Name: "web-1"}); return !ok })
}

func TestSessionsOutliveARenewal(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	c := l.login()
	s := open(t, c)
	in, _ := s.StdinPipe()
	out, _ := s.StdoutPipe()
	if err := s.Start("cat"); err != nil {
		t.Fatal(err)
	}
	l.links.Renewed()
	until(t, "a second tunnel", func() bool { return len(l.proxies[0].routes.All()) == 2 })
	if _, err := io.WriteString(in, "still\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(out, got); err != nil || string(got) != "still\n" {
		t.Fatalf("%q, %v", got, err)
	}
	_ = c.Close()
	until(t, "the old tunnel gone", func() bool { return len(l.proxies[0].routes.All()) == 1 })
}

func TestADrainingProxyHandsItsAgentsOver(t *testing.T) {
	l := newLine(t, 2)
	l.up(2)
	first := l.proxies[0]
	s := open(t, l.login())
	in, _ := s.StdinPipe()
	if err := s.Start("cat"); err != nil {
		t.Fatal(err)
	}
	first.links.Drain(time.Minute)
	until(t, "the tunnel given up", func() bool { return l.links.Up() == 1 })
	if first.links.Streams() != 1 {
		t.Errorf("%d streams at the draining proxy", first.links.Streams())
	}
	_ = in.Close()
	if err := s.Wait(); err != nil {
		t.Errorf("the session on the draining proxy: %v", err)
	}
}
