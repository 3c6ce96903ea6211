package link_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/proxy/connect"
	"github.com/stile-dev/stile/proxy/edge"
	"github.com/stile-dev/stile/proxy/link"
	"github.com/stile-dev/stile/proxy/route"
)

// proxy serves tunnels on loopback and keeps what it is told in memory.
type proxy struct {
	t       *testing.T
	cluster *tunneltest.Cluster
	holder  *document.Holder
	links   *link.Links
	routes  *route.Table
	addr    string

	mu     sync.Mutex
	ledger []audit.Event
	limits []audit.Event
	last   audit.Delivery
	copies []audit.Event
	broken error
}

func newProxy(t *testing.T, changes ...func(*link.Config)) *proxy {
	t.Helper()
	p := &proxy{t: t, cluster: tunneltest.New(t), routes: &route.Table{}}
	p.holder = p.cluster.Holder()
	self, credential := p.cluster.Proxy()
	limited := func(e audit.Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.limits = append(p.limits, e)
	}
	config := link.Config{
		Documents: p.holder, Routes: p.routes, Proxy: func() identity.Host { return self }, Deliver: p.deliver, Limited: limited,
		Silence: time.Hour, Dead: time.Hour, // a tunnel ends for a reason that the test gave
	}
	for _, change := range changes {
		change(&config)
	}
	p.links = link.New(config)
	users := connect.New(connect.Config{Documents: p.holder, Routes: p.routes, Proxy: func() identity.Host { return self }, Limited: limited})
	e := edge.New(edge.Config{
		TLS:      tunnel.ServerTLS(func() *tls.Certificate { return credential.TLS }, names.ALPNTunnel, names.ALPNConnect),
		Handlers: map[string]edge.Handler{names.ALPNTunnel: p.links.Serve, names.ALPNConnect: users.Serve},
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

func (p *proxy) deliver(_ context.Context, d audit.Delivery) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	for _, s := range d.Events {
		p.ledger = append(p.ledger, s.Event)
	}
	p.last = d
	return nil
}

func (p *proxy) held() []audit.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ledger
}

func (p *proxy) publish() {
	p.t.Helper()
	if err := p.holder.Accept(p.cluster.Documents()...); err != nil {
		p.t.Fatal(err)
	}
	p.links.Push()
}

// agent is one that a test plays by hand.
type agent struct {
	host    identity.Host
	session tunnel.Session
	control tunnel.Stream
}

// connect opens a tunnel with a control stream.
func (p *proxy) connect(host identity.Host, c tunneltest.Credential) (*agent, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	s, _, err := tunnel.Dial(ctx, tunnel.DialConfig{Addr: p.addr, Certificate: c.TLS, Trust: p.cluster.Holder().Trust()})
	if err != nil {
		return nil, err
	}
	p.t.Cleanup(func() { _ = s.Close() })
	a := &agent{host: host, session: s}
	if a.control, err = s.Open(ctx); err != nil {
		p.t.Fatal(err)
	}
	_ = a.control.SetDeadline(time.Now().Add(20 * time.Second))
	return a, nil
}

// dial opens a tunnel and registers; the error is what the proxy said to that.
func (p *proxy) dial(host identity.Host, c tunneltest.Credential) (*agent, error) {
	p.t.Helper()
	return p.dialAs(nil, host, c)
}

// dialAs is dial as an instance of the agent.
func (p *proxy) dialAs(instance []byte, host identity.Host, c tunneltest.Credential) (*agent, error) {
	p.t.Helper()
	a, err := p.connect(host, c)
	if err != nil {
		return nil, err
	}
	err = frame.Write(a.control, &frame.Control{Body: &frame.Control_Register{Register: &frame.Register{Version: frame.Protocol, Software: "test", Instance: instance}}})
	if err != nil {
		p.t.Fatal(err)
	}
	var m frame.Control
	if err := frame.Read(a.control, &m); err != nil {
		return nil, err
	}
	if m.GetFault() != nil {
		return nil, m.GetFault().Err()
	}
	if m.GetRegistered() == nil {
		p.t.Fatalf("the answer to register is %v", &m)
	}
	return a, nil
}

func (p *proxy) agent(targets ...identity.Target) *agent {
	p.t.Helper()
	a, err := p.dial(p.cluster.Host(nil, targets...))
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// ends waits for the tunnel to end.
func (a *agent) ends(t *testing.T) {
	t.Helper()
	select {
	case <-a.session.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the tunnel is still there")
	}
}

// open opens a stream of the agent's own for a purpose.
func (a *agent) open(t *testing.T, purpose string) (tunnel.Stream, error) {
	t.Helper()
	s, err := a.session.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(20 * time.Second))
	if err := frame.Write(s, &frame.Purpose{Name: purpose}); err != nil {
		return s, err
	}
	return s, frame.ReadAnswer(s)
}

// tell sends a batch of events and reports whether the proxy says that they are held.
func tell(s tunnel.Stream, batch uint64, events ...audit.Event) error {
	m := &frame.Events{Batch: batch}
	for _, e := range events {
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		m.Events = append(m.Events, b)
	}
	if err := frame.Write(s, m); err != nil {
		return err
	}
	var held frame.EventsHeld
	if err := frame.Read(s, &held); err != nil {
		return err
	}
	if held.GetBatch() != batch {
		return errors.New("another batch is held")
	}
	return nil
}

func event(kind audit.Type, target, name string) audit.Event {
	e := audit.New(kind, rand.Reader, time.Now())
	e.Actor, e.Cluster, e.Source, e.TargetKind, e.Target = "user/ada", "c", "agent/forged", target, name
	e.Scope, e.Data = "/forged", map[string]string{}
	for _, f := range audit.Types[kind].Fields {
		if f.Always {
			e.Data[f.Name] = "1"
		}
	}
	if kind == audit.SessionDenied || kind == audit.DocumentRefused || kind == audit.SessionDenialsCounted {
		e.Outcome, e.Reason = audit.Denied, "because"
	}
	return e
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

var (
	web    = identity.Target{Kind: "node", Name: "web-1"}
	orders = identity.Target{Kind: "db", Name: "orders"}
)

func TestAnAgentTellsOnlyOfWhatItServes(t *testing.T) {
	p := newProxy(t)
	a := p.agent(web, orders)
	s, err := a.open(t, names.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	told := []audit.Event{
		event(audit.SessionStart, "node", "web-1"), event(audit.SessionEnd, "db", "orders"), event(audit.SessionDenied, "node", a.host.ID),
		event(audit.DocumentRefused, "", ""), event(audit.SessionDenialsCounted, "", ""), event(audit.SessionDenialsCounted, "node", "web-1"),
		event(audit.SessionStart, "node", "web-2"), event(audit.SessionStart, "db", "web-1"), event(audit.SessionStart, "node", "orders"),
		event(audit.SessionStart, "app", "web-1"), event(audit.SessionStart, "app", a.host.ID), event(audit.SessionStart, "", ""),
		event(audit.SessionStart, "role", "editor"), event(audit.SessionEnd, "nothing", "known"), event(audit.DocumentRefused, "node", "web-2"),
		event(audit.UserLogin, "", ""), event(audit.ResourceDeleted, "role", "editor"), event("made.up", "node", "web-1"),
	}
	if err := tell(s, 1, told...); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range p.held() {
		if e.Source != "agent/"+a.host.ID || e.Cluster != p.cluster.ID || e.Scope != a.host.Scope {
			t.Errorf("it is said to come from %s of %s, scope %s", e.Source, e.Cluster, e.Scope)
		}
		got = append(got, e.ID)
	}
	if d := cmp.Diff([]string{told[0].ID, told[1].ID, told[2].ID, told[3].ID, told[4].ID}, got); d != "" {
		t.Error(d)
	}
}

// An agent of a release after this one says what isn't known here: nothing else is lost with it, and nothing waits for it.
func TestOfWhatANewerAgentTellsOnlyTypesThatAreNotKnownAreDropped(t *testing.T) {
	p := newProxy(t)
	a := p.agent(web)
	s, err := a.open(t, names.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	begun := event(audit.SessionStart, "node", "web-1")
	begun.Data["of_tomorrow"] = "x"
	ended := event(audit.SessionEnd, "node", "web-1")
	if err := tell(s, 1, event("session.of_tomorrow", "node", "web-1")); err != nil {
		t.Errorf("a batch of nothing else is sent for ever: %v", err)
	}
	if err := tell(s, 2, begun, event("session.of_tomorrow", "node", "web-1"), event(audit.SessionResize, "node", "web-1"), ended); err != nil {
		t.Fatal(err)
	}
	var got []audit.Type
	for _, e := range p.held() {
		got = append(got, e.Type)
		if e.ID == begun.ID && e.Data["of_tomorrow"] != "x" {
			t.Errorf("the ledger has %v of it", e.Data)
		}
	}
	if d := cmp.Diff([]audit.Type{audit.SessionStart, audit.SessionResize, audit.SessionEnd}, got); d != "" {
		t.Error(d)
	}
}

func TestEventsAreAcknowledgedOnlyWhenTheLedgerHoldsThem(t *testing.T) {
	p := newProxy(t)
	a := p.agent(web)
	p.broken = errors.New("throttled")
	s, err := a.open(t, names.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if err := tell(s, 1, event(audit.SessionStart, "node", "web-1")); err == nil {
		t.Fatal("held by nobody, and acknowledged")
	}
	p.mu.Lock()
	p.broken = nil
	p.mu.Unlock()
	until(t, "another stream", func() bool {
		s, err := a.open(t, names.StreamEvents)
		return err == nil && tell(s, 2, event(audit.SessionStart, "node", "web-1")) == nil
	})
	if n := len(p.held()); n != 1 {
		t.Errorf("%d events are held", n)
	}
}

// most is how many streams of its own an agent may hold open.
const most = 8

// A stream takes memory of the proxy's until both sides have closed it.
func TestAnAgentThatHoardsStreamsLosesItsTunnel(t *testing.T) {
	for name, hoard := range map[string]func(*testing.T, *agent){
		"too many": func(t *testing.T, a *agent) {
			for range most {
				if _, err := a.session.Open(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = a.session.Open(t.Context()) // it may see the end already
		},
		"too many that were refused": func(t *testing.T, a *agent) {
			for range most {
				if _, err := a.open(t, "wishes"); !fault.Is(err, fault.BadInput) {
					t.Fatal(err)
				}
			}
			_, _ = a.session.Open(t.Context())
		},
		"one that goes on after its refusal": func(t *testing.T, a *agent) {
			s, err := a.open(t, "wishes")
			if !fault.Is(err, fault.BadInput) {
				t.Fatal(err)
			}
			for err = nil; err == nil; {
				_, err = s.Write(make([]byte, 64<<10))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newProxy(t).agent(web)
			hoard(t, a)
			a.ends(t)
		})
	}
}

func TestAnAgentsOwnStreamsAreBoundedAndTheControlStreamGoesOn(t *testing.T) {
	p := newProxy(t)
	a := p.agent(web)
	for range 20 { // one after the other, each closed
		s, err := a.open(t, "wishes")
		if !fault.Is(err, fault.BadInput) {
			t.Fatalf("an unknown purpose: %v", err)
		}
		_ = s.Close()
		until(t, "the stream to be over on both sides", func() bool { return a.session.Streams() == 1 && p.links.Own() == 0 })
	}
	for range most { // each without a word about what it is for
		if _, err := a.session.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := frame.Write(a.control, &frame.Control{Body: &frame.Control_Ping{Ping: &frame.Ping{}}}); err != nil {
		t.Fatal(err)
	}
	for {
		var m frame.Control
		if err := frame.Read(a.control, &m); err != nil {
			t.Fatal(err)
		}
		if m.GetPong() != nil {
			break
		}
	}
	if n := p.links.Streams(); n != 0 {
		t.Errorf("%d streams to targets are said to be open", n)
	}
}

func TestARevokedAgentIsTurnedAwayAndItsTunnelEnds(t *testing.T) {
	p := newProxy(t)
	host, credential := p.cluster.Agent(nil, "web-1")
	a, err := p.dial(host, credential)
	if err != nil {
		t.Fatal(err)
	}
	p.cluster.SetRoles()
	p.cluster.Bar(identity.Ref{Target: "agent", Value: host.ID})
	p.publish()
	a.ends(t)
	until(t, "no route", func() bool { _, ok := p.routes.Find(web); return !ok })
	_, err = p.dial(host, credential)
	if f := fault.From(err); f.Code != fault.Unauthenticated || f.RetryAfter < time.Minute {
		t.Errorf("it comes again: %v, after %s", err, f.RetryAfter)
	}
}

// receive reads documents until a batch of them is whole.
func (a *agent) receive(t *testing.T) (batch uint64, documents []document.Signed) {
	t.Helper()
	var chunks frame.Assembler
	for {
		var m frame.Control
		if err := frame.Read(a.control, &m); err != nil {
			t.Fatal(err)
		}
		if m.GetChunk() == nil {
			continue
		}
		b, whole, err := chunks.Add(m.GetChunk())
		if err != nil {
			t.Fatal(err)
		}
		if !whole {
			continue
		}
		if err := json.Unmarshal(b, &documents); err != nil {
			t.Fatal(err)
		}
		return m.GetChunk().GetBatch(), documents
	}
}

// holds acknowledges a batch with what the agent holds now.
func (a *agent) holds(t *testing.T, batch uint64, v identity.Versions) {
	t.Helper()
	one := func(v identity.Version) *frame.Version { return &frame.Version{Epoch: v.Epoch, Counter: v.Counter} }
	err := frame.Write(a.control, &frame.Control{Body: &frame.Control_Held{Held: &frame.Held{
		Batch: batch, Versions: &frame.Versions{Trust: one(v.Trust), Policy: one(v.Policy), Revocations: one(v.Revocations)},
	}}})
	if err != nil {
		t.Fatal(err)
	}
}

// An agent is sent what changed in the list of users since its own. If that doesn't lead it there, because another proxy
// told it something else in between, it is sent the whole list once.
func TestAnAgentIsSentTheChangeOfItsListAndTheWholeWhenThatIsNotEnough(t *testing.T) {
	p := newProxy(t)
	a, err := p.dial(p.cluster.Agent(nil, "web-1"))
	if err != nil {
		t.Fatal(err)
	}
	holder := document.NewHolder(p.cluster.ID, "", revoked.Users)
	users := func(documents []document.Signed) (r revoked.Records) {
		t.Helper()
		for _, d := range documents {
			if d.Kind == document.KindRevocations {
				if _, agents := d.Lists[revoked.Agents]; agents {
					t.Error("an agent is sent the list of agents")
				}
				return d.Lists[revoked.Users]
			}
		}
		t.Fatal("no revocations")
		return r
	}
	batch, documents := a.receive(t)
	if err := holder.Accept(documents...); err != nil || !users(documents).Whole {
		t.Fatalf("at first: %v, %+v", err, users(documents))
	}
	a.holds(t, batch, holder.Versions())

	ada, eve := identity.Ref{Target: "user", Value: "ada"}, identity.Ref{Target: "user", Value: "eve"}
	p.cluster.Bar(ada)
	p.publish()
	batch, documents = a.receive(t)
	if err := holder.Accept(documents...); err != nil || users(documents).Whole || len(users(documents).Entries) != revoked.Size {
		t.Errorf("a change: %v, %+v", err, users(documents))
	}
	a.holds(t, batch, holder.Versions())

	p.cluster.Bar(ada, eve)
	p.publish()
	batch, documents = a.receive(t)
	if users(documents).Whole {
		t.Error("the whole list, without need")
	}
	a.holds(t, batch, holder.Versions()) // nothing was taken
	batch, documents = a.receive(t)
	if err := holder.Accept(documents...); err != nil || !users(documents).Whole {
		t.Errorf("when a change was not enough: %v, %+v", err, users(documents))
	}
	a.holds(t, batch, holder.Versions())

	p.cluster.Bar(eve)
	p.publish()
	if batch, documents = a.receive(t); users(documents).Whole {
		t.Error("it is sent the whole list for ever")
	}
	// One that refuses the whole list as well is not sent it again and again: the next batch is of the next publication.
	a.holds(t, batch, holder.Versions())
	batch, _ = a.receive(t)
	a.holds(t, batch, holder.Versions())
	p.cluster.Bar(ada)
	p.publish()
	next, documents := a.receive(t)
	if err := holder.Accept(documents...); err != nil || next != batch+1 {
		t.Errorf("%v, batch %d after %d", err, next, batch)
	}
}

// Between its handshake and its first frame an agent is in nobody's list.
func TestAnAgentThatIsLockedBeforeItRegistersIsCut(t *testing.T) {
	p := newProxy(t)
	host, credential := p.cluster.Host(nil, web)
	a, err := p.connect(host, credential)
	if err != nil {
		t.Fatal(err)
	}
	var m frame.Control
	if err := errors.Join(frame.Write(a.control, &frame.Control{Body: &frame.Control_Ping{Ping: &frame.Ping{}}}), frame.Read(a.control, &m)); err != nil || m.GetPong() == nil {
		t.Fatalf("%v %v", &m, err)
	}
	p.cluster.Lock(document.Lock{ID: "lck_1", Target: "agent", Value: host.ID})
	p.publish()
	_ = frame.Write(a.control, &frame.Control{Body: &frame.Control_Register{Register: &frame.Register{Version: frame.Protocol, Software: "test"}}}) // it may see the end already
	a.ends(t)
}

func TestALockOnAnAgentEndsItAndOneOnATargetDoesNot(t *testing.T) {
	p := newProxy(t)
	host, credential := p.cluster.Host(nil, web, orders)
	a, err := p.dial(host, credential)
	if err != nil {
		t.Fatal(err)
	}
	p.cluster.Lock(document.Lock{ID: "lck_1", Target: "target", Value: "db/orders"})
	p.publish()
	until(t, "a route, whatever is locked beside it", func() bool { _, ok := p.routes.Find(web); return ok })
	if a.session.Streams() == 0 {
		t.Error("a lock on one target took the tunnel along")
	}
	p.cluster.Lock(document.Lock{ID: "lck_2", Target: "agent", Value: host.ID})
	p.publish()
	a.ends(t)
	if _, err := p.dial(host, credential); !fault.Is(err, fault.Denied) {
		t.Errorf("it comes again: %v", err)
	}
}

func TestStrangersRegisterNothing(t *testing.T) {
	p := newProxy(t)
	other := tunneltest.New(t)
	host, stranger := other.Agent(nil, "web-1")
	if _, err := p.dial(host, stranger); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("another cluster's agent: %v", err)
	}
	self, proxyCredential := p.cluster.Proxy()
	if _, err := p.dial(self, proxyCredential); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a proxy: %v", err)
	}
	if len(p.routes.All()) != 0 {
		t.Error("there is a route")
	}
}
