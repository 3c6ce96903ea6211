package link_test

import (
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

func TestAProxyThatIsAboutToEndTakesNoMoreAgentsAndKeepsThoseItHas(t *testing.T) {
	p := newProxy(t)
	there := p.agent(web)
	p.links.Drain(time.Minute)
	_, err := p.dial(p.cluster.Host(nil, identity.Target{Kind: "node", Name: "late-1"}))
	if f := fault.From(err); f == nil || f.Code != fault.Unavailable || f.Hint == "" {
		t.Errorf("one that comes later: %v", err)
	}
	there.lives(t)
	if agents := p.links.Agents(); len(agents) != 1 {
		t.Errorf("it has %v", agents)
	}
}
