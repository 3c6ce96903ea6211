package link

import (
	"crypto/rand"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
)

// An agent draws an instance id at each start. Two instances of one agent id are a restart whose old tunnel is not yet known to
// be dead, or a copied state directory. What is dead answers no ping, so two that both still answer after ten seconds are a
// copy. Which of them is the right one can't be told: both are cut, and nobody is let in as this agent until only one instance
// has come for some minutes. Agents of the first release have no instance id; all of them count as one instance.

const (
	// together is how long two instances may both answer.
	together = 10 * time.Second
	// alone is for how long no other instance may have come before one of a copied agent is let in again. Agents that are
	// refused come once a minute at least.
	alone = 5 * time.Minute
	// farewell is how long an agent may take to read why it is cut.
	farewell = 2 * time.Second
	// instanceSize is how long an instance id is, in bytes.
	instanceSize = 16
)

// callers are the instances of a copied agent that have come since.
type callers struct {
	last  string    // the instance that came last
	at    time.Time // when it did
	other time.Time // when any other came last
}

// came notes that an instance came, and returns when any other came last.
func (c *callers) came(instance string, now time.Time) (other time.Time) {
	if c.last != instance {
		c.last, c.other = instance, c.at
	}
	c.at = now
	return c.other
}

// barred refuses an instance of a copied agent, unless it is alone by now. l.mu is held.
func (l *Links) barred(n *link) *fault.Fault {
	c := l.copies[n.agent.ID]
	switch {
	case c == nil:
		return nil
	case n.since.Sub(c.came(n.instance, n.since)) >= l.config.Alone:
		delete(l.copies, n.agent.ID)
		return nil
	}
	return inUseTwice(n.agent.ID)
}

func inUseTwice(agent string) *fault.Fault {
	f := fault.Newf(fault.Quarantined, "stop the copy and empty its state directory: the other is let in five minutes later. If you don't know the copy, ask an administrator to remove the node with stile rm",
		"the state directory of %s is in use by two agents at once", agent)
	f.RetryAfter = time.Minute // so that agents wait for as long as after a denial
	return f
}

// suspect has the tunnels of an agent compared after a while, if they are of several instances. l.mu is held.
func (l *Links) suspect(agent string) {
	if l.suspected[agent] || len(instances(l.agents[agent])) < 2 {
		return
	}
	l.suspected[agent] = true
	time.AfterFunc(l.config.Together, func() { l.compare(agent) })
}

// instances sorts tunnels that are not to end by the instance that they are of.
func instances(tunnels []*link) map[string][]*link {
	by := map[string][]*link{}
	for _, n := range tunnels {
		if !n.ended {
			by[n.instance] = append(by[n.instance], n)
		}
	}
	return by
}

// compare cuts an agent of which two instances answer, and looks again later while there are two.
func (l *Links) compare(agent string) {
	now := time.Now()
	l.mu.Lock()
	delete(l.suspected, agent)
	tunnels := l.agents[agent]
	if !l.twice(tunnels, now) {
		l.suspect(agent)
		l.mu.Unlock()
		return
	}
	for id, c := range l.copies {
		if now.Sub(c.at) > l.config.Alone {
			delete(l.copies, id) // it has not come for so long that it would be let in
		}
	}
	l.copies[agent] = &callers{last: tunnels[0].instance, at: now, other: now}
	f, e := inUseTwice(agent), l.copied(tunnels)
	for _, n := range tunnels {
		n.ended = true
		go n.dismiss(f)
	}
	l.mu.Unlock()
	e.Reason = f.Message
	l.config.Record(e)
}

// copied is the event, which names the addresses that the oldest instance and the newest other one came from.
func (l *Links) copied(tunnels []*link) audit.Event {
	first := tunnels[0]
	second := first
	for _, n := range tunnels {
		if n.instance != first.instance {
			second = n
		}
	}
	e := audit.New(audit.AgentCopied, rand.Reader, l.config.Now())
	e.Actor, e.Scope, e.Outcome, e.SourceIP = "agent/"+first.agent.ID, first.agent.Scope, audit.Denied, second.source.Addr().String()
	e.Data = map[string]string{"first_source": first.source.String(), "second_source": second.source.String()}
	return e
}

// twice reports whether two instances have been here for long enough and both answer: each was heard within less time than
// that, in which it was asked if it had nothing to say. l.mu is held.
func (l *Links) twice(tunnels []*link, now time.Time) bool {
	answering, lately := 0, l.config.Silence+l.config.Together/5
	for _, of := range instances(tunnels) {
		here, answers := false, false
		for _, n := range of {
			here = here || now.Sub(n.since) >= l.config.Together
			answers = answers || n.control.Heard() < lately
		}
		if here && answers {
			answering++
		}
	}
	return answering > 1
}

// dismiss ends the tunnel and says why.
func (n *link) dismiss(f *fault.Fault) {
	n.unroute()
	n.log.Warn("Tunnel cut", "reason", f.Message)
	abort := time.AfterFunc(farewell, n.session.Abort)
	if n.control.Send(&frame.Control{Body: &frame.Control_Fault{Fault: frame.FromFault(f)}}) != nil {
		abort.Stop()
		n.session.Abort()
	}
}
