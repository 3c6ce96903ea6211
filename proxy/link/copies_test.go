package link_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/proxy/link"
)

// instance is an instance id, the same for the same letter.
func instance(letter string) []byte { return bytes.Repeat([]byte(letter), 16) }

// soon is a proxy that compares instances of an agent after a short while.
func soon(t *testing.T, changes ...func(*link.Config)) *proxy {
	t.Helper()
	var p *proxy
	p = newProxy(t, append([]func(*link.Config){func(c *link.Config) {
		c.Together = 100 * time.Millisecond
		c.Record = func(e audit.Event) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.copies = append(p.copies, e)
		}
	}}, changes...)...)
	return p
}

func (p *proxy) copied() []audit.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.copies
}

// dialed is dialAs for those who are let in.
func (p *proxy) dialed(instance []byte, host identity.Host, c tunneltest.Credential) *agent {
	p.t.Helper()
	a, err := p.dialAs(instance, host, c)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// fault waits for what the proxy says before it ends the tunnel.
func (a *agent) fault(t *testing.T) *fault.Fault {
	t.Helper()
	for {
		var m frame.Control
		if err := frame.Read(a.control, &m); err != nil {
			t.Fatal("the tunnel ended without a word:", err)
		}
		if f := m.GetFault(); f != nil {
			return f.Err()
		}
	}
}

// answers plays an agent that answers pings, until the tunnel ends.
func (a *agent) answers() {
	for {
		var m frame.Control
		if frame.Read(a.control, &m) != nil {
			return
		}
		if m.GetPing() != nil && frame.Write(a.control, &frame.Control{Body: &frame.Control_Pong{Pong: &frame.Pong{}}}) != nil {
			return
		}
	}
}

// TestSec_S66_TwoInstancesThatBothAnswerAreBothCut, with a word to each and one event, and neither comes in again while both
// come, nor does a third.
func TestSec_S66_TwoInstancesThatBothAnswerAreBothCut(t *testing.T) {
	p := soon(t)
	host, credential := p.cluster.Host(nil, web)
	other := p.agent(orders)
	own, second, theirs := p.dialed(instance("a"), host, credential), p.dialed(instance("a"), host, credential), p.dialed(instance("b"), host, credential)
	for _, a := range []*agent{own, second, theirs} {
		if f := a.fault(t); f.Code != fault.Quarantined || f.Hint == "" {
			t.Errorf("told %v (%s)", f, f.Hint)
		}
	}
	for _, a := range []*agent{own, second, theirs} {
		a.ends(t)
	}
	until(t, "the routes without the agent", func() bool { return len(p.routes.All()) == 1 })
	until(t, "the event", func() bool { return len(p.copied()) > 0 })
	for _, who := range []string{"a", "b", "c", "a"} {
		if _, err := p.dialAs(instance(who), host, credential); fault.From(err).Code != fault.Quarantined {
			t.Errorf("%s comes again: %v", who, err)
		}
	}
	if _, err := p.dial(host, credential); fault.From(err).Code != fault.Quarantined {
		t.Errorf("without an instance: %v", err)
	}
	other.lives(t)
	all := p.copied()
	e := all[0]
	e.Cluster, e.Source = "c", "proxy/prx_1" // set when it is recorded
	if err := e.Validate(); len(all) != 1 || err != nil || e.Type != audit.AgentCopied || e.Actor != "agent/"+host.ID || e.Data["first_source"] == e.Data["second_source"] {
		t.Errorf("recorded is %+v, %v", all, err)
	}
}

// TestSec_S66_AfterACopyOneInstanceIsLetInWhenItComesAlone: the other has been stopped.
func TestSec_S66_AfterACopyOneInstanceIsLetInWhenItComesAlone(t *testing.T) {
	p := soon(t, func(c *link.Config) { c.Alone = 500 * time.Millisecond })
	host, credential := p.cluster.Host(nil, web)
	p.dialed(instance("a"), host, credential)
	p.dialed(instance("b"), host, credential).fault(t)
	var back *agent
	until(t, "the one that comes alone to be let in", func() bool {
		var err error
		back, err = p.dialAs(instance("a"), host, credential)
		return err == nil
	})
	back.lives(t)
	p.dialed(instance("b"), host, credential)
	back.fault(t) // that they were copied before is no excuse
	until(t, "another event", func() bool { return len(p.copied()) == 2 })
}

// TestAnInstanceThatIsSilentIsNoCopy: a restart whose old tunnel has not been missed yet. By the time that a real pair is found,
// which came later, it has been compared as well.
func TestAnInstanceThatIsSilentIsNoCopy(t *testing.T) {
	p := soon(t, func(c *link.Config) { c.Silence, c.Together = 50*time.Millisecond, 500*time.Millisecond })
	host, credential := p.cluster.Host(nil, web)
	p.dialed(instance("a"), host, credential) // and nothing more comes from it
	fresh := p.dialed(instance("b"), host, credential)
	go fresh.answers()
	pair, key := p.cluster.Host(nil, orders)
	for _, who := range []string{"a", "b"} {
		go p.dialed(instance(who), pair, key).answers()
	}
	until(t, "the pair to be found", func() bool { return len(p.copied()) > 0 })
	if all := p.copied(); len(all) != 1 || all[0].Actor != "agent/"+pair.ID {
		t.Errorf("recorded is %+v", all)
	}
	p.dialed(instance("b"), host, credential).lives(t)
}

// Tunnels of one instance, and of agents that name none, are of one process.
func TestOneInstanceMayHaveSeveralTunnels(t *testing.T) {
	p := soon(t)
	host, credential := p.cluster.Host(nil, web)
	first, again := p.dialed(instance("a"), host, credential), p.dialed(instance("a"), host, credential)
	old, key := p.cluster.Host(nil, orders)
	nameless, another := p.dialed(nil, old, key), p.dialed(nil, old, key)
	pair, third := p.cluster.Host(nil, identity.Target{Kind: "node", Name: "web-3"})
	p.dialed(instance("a"), pair, third)
	p.dialed(nil, pair, third).fault(t) // one that names none beside one that does is another
	for _, a := range []*agent{first, again, nameless, another} {
		a.lives(t)
	}
	until(t, "the event", func() bool { return len(p.copied()) > 0 })
	if all := p.copied(); len(all) != 1 || all[0].Actor != "agent/"+pair.ID {
		t.Errorf("recorded is %+v", all)
	}
}

func TestAnInstanceIdHasItsSize(t *testing.T) {
	p := newProxy(t)
	host, credential := p.cluster.Host(nil, web)
	for _, size := range []int{1, 15, 17, 32 << 10} {
		if _, err := p.dialAs(make([]byte, size), host, credential); fault.From(err).Code != fault.BadInput {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// Whatever comes in whatever order, the time of the last other one is known, and nothing grows.
func TestWhenAnotherInstanceCameLast(t *testing.T) {
	cut := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	came := link.Came(cut)
	last := map[string]int{"a": 0, "b": 0}
	for minute, who := range []string{"a", "b", "a", "a", "c", "c", "a", "b", "b", "b", "c"} {
		want := 0
		for other, at := range last {
			if other != who {
				want = max(want, at)
			}
		}
		if got := came(who, cut.Add(time.Duration(minute+1)*time.Minute)); !got.Equal(cut.Add(time.Duration(want) * time.Minute)) {
			t.Errorf("%s in minute %d: another came %s after the cut, want minute %d", who, minute+1, got.Sub(cut), want)
		}
		last[who] = minute + 1
	}
}
