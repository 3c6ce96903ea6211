package serve

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// switchboard hands each stream to the service of its target's kind.
type switchboard struct {
	services map[string]session.Service
	host     func() identity.Host // this agent, as its certificate says
}

// serve answers one stream that a proxy opened. The target must be one that the agent's certificate allows.
func (b switchboard) serve(ctx context.Context, s tunnel.Stream, open *frame.Open) {
	target := identity.Target{Kind: open.GetTarget().GetKind(), Name: open.GetTarget().GetName()}
	service, host := b.services[target.Kind], b.host()
	if service == nil || !host.Serves(target) {
		_ = frame.WriteRefusal(s, fault.Newf(fault.NotFound, "run stile ls to see what there is", "agent %s does not serve %.32s %.64q", host.ID, target.Kind, target.Name))
		_ = s.CloseWrite()
		return
	}
	if err := frame.WriteOpen(s); err != nil {
		return
	}
	source, err := netip.ParseAddrPort(open.GetSource())
	if err != nil {
		source = netip.AddrPort{}
	}
	service.Serve(ctx, s, session.Hint{Target: target, Source: source, TraceID: open.GetTraceId(), Proxy: open.GetProxy()})
}

// unserved refuses targets that have no service: nobody could reach them.
func (b switchboard) unserved(targets []identity.Target) error {
	for _, t := range targets {
		if b.services[t.Kind] == nil {
			return fault.Newf(fault.BadInput, "remove it from the configuration; this agent serves targets of kind "+strings.Join(slices.Sorted(maps.Keys(b.services)), ", "),
				"the configuration names %s, but this agent has no service for %s", t, t.Kind)
		}
	}
	return nil
}
