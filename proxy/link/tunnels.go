package link

import (
	"crypto/rand"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

// What one agent may have at a proxy. It needs one tunnel, and one beside it while a lost one is not yet noticed. Each
// holds up to its own streams' first windows, some 3 MiB, and what waits to be sent, 4 MiB for ten seconds.
const (
	maxRegistered = 4
	// maxRetired is for sessions that outlive a renewed certificate, or the proxy's draining.
	maxRetired = 2
)

// retired reports whether a tunnel has no future: its certificate has expired or was renewed, or the proxy is
// leaving. l.mu is held.
func (l *Links) retired(n *link) bool {
	return n.expired || l.away || slices.ContainsFunc(l.agents[n.agent.ID], func(o *link) bool { return o.agent.IssuedAt.After(n.agent.IssuedAt) })
}

// enter adds a tunnel that registers and ends those that are too many then, unless its agent was copied.
func (l *Links) enter(n *link) error {
	l.mu.Lock()
	n.since = time.Now()
	if l.away {
		l.mu.Unlock()
		return fault.New(fault.Unavailable, "this proxy is about to end", "wait: the agent tries the other proxies by itself")
	}
	if f := l.barred(n); f != nil {
		l.mu.Unlock()
		return f
	}
	l.live[n] = struct{}{}
	l.agents[n.agent.ID] = append(l.agents[n.agent.ID], n)
	tooMany := l.tooMany(n.agent.ID)
	l.suspect(n.agent.ID)
	l.mu.Unlock()
	end(tooMany)
	return nil
}

// leave forgets a tunnel.
func (l *Links) leave(n *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.live, n)
	id := n.agent.ID
	l.agents[id] = slices.DeleteFunc(l.agents[id], func(o *link) bool { return o == n })
	if len(l.agents[id]) == 0 {
		delete(l.agents, id)
	}
}

// expire retires a tunnel whose certificate has expired.
func (l *Links) expire(n *link) {
	n.unroute()
	l.mu.Lock()
	n.expired = true
	tooMany := l.tooMany(n.agent.ID)
	l.mu.Unlock()
	end(tooMany)
}

// tooMany returns the tunnels of an agent that are beyond what it may have, the oldest of each sort. l.mu is held.
func (l *Links) tooMany(agent string) map[*link]string {
	var registered, retired []*link // the oldest first
	for _, n := range l.agents[agent] {
		switch {
		case n.ended:
		case l.retired(n):
			retired = append(retired, n)
		default:
			registered = append(registered, n)
		}
	}
	beyond := map[*link]string{}
	for _, n := range registered[:max(0, len(registered)-maxRegistered)] {
		n.ended, beyond[n] = true, "an agent may have four tunnels at a proxy; its oldest was closed"
	}
	for _, n := range retired[:max(0, len(retired)-maxRetired)] {
		n.ended, beyond[n] = true, "an agent may have two tunnels at a proxy that were replaced or are to end; the oldest was closed"
	}
	return beyond
}

func end(tunnels map[*link]string) {
	for n, reason := range tunnels {
		n.limited(reason)
		n.cut(reason)
	}
}

// cut ends the tunnel and waits for nothing.
func (n *link) cut(reason string) {
	n.unroute()
	n.log.Warn("Tunnel cut", "reason", reason)
	n.session.Abort()
}

// limited records that a limit ended something of the agent's.
func (n *link) limited(reason string) {
	e := audit.New(audit.LimitReached, rand.Reader, n.links.config.Now())
	e.Actor, e.Scope, e.Outcome, e.Reason, e.SourceIP = "agent/"+n.agent.ID, n.agent.Scope, audit.Denied, reason, n.source.Addr().String()
	n.links.config.Limited(e)
}
