package main

import (
	"context"
	"time"

	"github.com/stile-dev/stile/pkg/inventory"
	"github.com/stile-dev/stile/pkg/presence"
)

// watch is presence in the form that the inventory needs.
type watch struct{ store *presence.Store }

// Presence returns who is there.
func (w watch) Presence(ctx context.Context, now time.Time) (inventory.Presence, error) {
	snap, err := w.store.List(ctx, now)
	if err != nil {
		return inventory.Presence{}, err
	}
	p := inventory.Presence{Proxies: presence.Addrs(snap.Leases), Agents: map[string][]string{}}
	for agent, leases := range snap.Agents {
		p.Agents[agent] = presence.Addrs(leases)
	}
	return p, nil
}
