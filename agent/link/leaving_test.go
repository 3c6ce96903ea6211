package link_test

import (
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
)

func TestAnAgentKeepsATunnelToAProxyThatLeavesUntilItHasAnother(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	l.proxies[0].links.Drain(time.Minute)
	until(t, "the tunnel to count no more", func() bool { return l.links.Up() == 0 })
	l.runs(l.proxies[0].addr) // people still get through
	other := l.newProxy()
	l.knows(l.proxies[0], other)
	l.tell(other)
	until(t, "a tunnel to the other", other.hasRoute)
	until(t, "the first to be left", func() bool { return !l.proxies[0].hasRoute() })
	l.runs(other.addr)
}

func TestAnAgentWithoutATunnelIsToldThatTheProxyIsAboutToEnd(t *testing.T) {
	l := newLine(t, 1)
	l.up(1)
	l.proxies[0].links.Drain(time.Minute)
	late, _ := l.again()
	until(t, "the refusal", func() bool {
		f, next := late.Refusal()
		return f != nil && f.Code == fault.Unavailable && !next.IsZero()
	})
	if late.Up() != 0 {
		t.Error("a tunnel that is about to end counts")
	}
}
