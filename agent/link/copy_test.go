package link_test

import (
	"context"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/link"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

// again runs another process of the line's agent, with all that it has.
func (l *line) again() (links *link.Links, stop func()) {
	c := l.config
	c.Spool = nil // only one process can have it
	links = link.New(c)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { defer close(stopped); links.Run(ctx) }()
	stop = func() { cancel(); <-stopped }
	l.t.Cleanup(stop)
	return links, stop
}

// TestSec_S66_TwoAgentsOfOneStateDirectoryAreTurnedAway, and both can say why; one that is started again, after the first was
// stopped, comes right in.
func TestSec_S66_TwoAgentsOfOneStateDirectoryAreTurnedAway(t *testing.T) {
	l := newIdleLine(t)
	l.together = 200 * time.Millisecond
	l.proxies = append(l.proxies, l.newProxy())
	l.newAgent()
	l.tell(l.proxies...)
	l.up(1)
	l.stop()
	restarted, _ := l.again()
	until(t, "the one that was started again", func() bool { return restarted.Up() == 1 })
	if f, _ := restarted.Refusal(); f != nil {
		t.Errorf("refused: %v", f)
	}
	copied, _ := l.again()
	for _, one := range []*link.Links{restarted, copied} {
		until(t, "both to be turned away", func() bool {
			f, next := one.Refusal()
			return one.Up() == 0 && f != nil && f.Code == fault.Quarantined && f.Hint != "" && !next.IsZero()
		})
	}
	if n := len(l.proxies[0].routes.All()); n != 0 {
		t.Errorf("%d tunnels are routed to", n)
	}
	until(t, "the event", func() bool { return len(l.events(audit.AgentCopied)) == 1 })
}
