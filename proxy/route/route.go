// Package route is a proxy's table of tunnels: which agents are connected, and by which of them each target that
// their certificates allow can be reached.
//
// It doesn't know what runs over a tunnel. Its entry point is [Table].
package route

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// Session is what we use of a tunnel.
type Session interface {
	Open(ctx context.Context, pays ...*tunnel.Account) (tunnel.Stream, error)
	Streams() int
	Close() error
}

// Tunnel is one agent's tunnel to this proxy.
type Tunnel struct {
	Agent   identity.Host // as its certificate says
	Session Session
	Since   time.Time
}

// Table holds the tunnels. Its zero value is ready; it is safe for concurrent use.
type Table struct {
	// Changed, if set, is called after each change, without holding a lock.
	Changed func(agent string)

	mu      sync.RWMutex
	agents  map[string][]*Tunnel                     // by agent id
	targets map[identity.Target]map[*Tunnel]struct{} // what they serve, and their ids as a target of each kind
}

// Add enters a tunnel until the returned function is called. An agent that comes again while its old tunnel
// still counts as alive has both; the newer is preferred.
func (t *Table) Add(n *Tunnel) (remove func()) {
	t.mu.Lock()
	if t.agents == nil {
		t.agents, t.targets = map[string][]*Tunnel{}, map[identity.Target]map[*Tunnel]struct{}{}
	}
	t.agents[n.Agent.ID] = append(t.agents[n.Agent.ID], n)
	for _, target := range reachable(n.Agent) {
		if t.targets[target] == nil {
			t.targets[target] = map[*Tunnel]struct{}{}
		}
		t.targets[target][n] = struct{}{}
	}
	t.mu.Unlock()
	t.changed(n.Agent.ID)
	return sync.OnceFunc(func() { t.remove(n) })
}

func (t *Table) remove(n *Tunnel) {
	t.mu.Lock()
	t.agents[n.Agent.ID] = slices.DeleteFunc(t.agents[n.Agent.ID], func(o *Tunnel) bool { return o == n })
	if len(t.agents[n.Agent.ID]) == 0 {
		delete(t.agents, n.Agent.ID)
	}
	for _, target := range reachable(n.Agent) {
		delete(t.targets[target], n)
		if len(t.targets[target]) == 0 {
			delete(t.targets, target)
		}
	}
	t.mu.Unlock()
	t.changed(n.Agent.ID)
}

func (t *Table) changed(agent string) {
	if t.Changed != nil {
		t.Changed(agent)
	}
}

// reachable lists the targets that lead to a host: what it serves, and its id as a target of each kind.
func reachable(h identity.Host) []identity.Target {
	all := slices.Clone(h.Targets)
	for _, t := range h.Targets {
		if own := (identity.Target{Kind: t.Kind, Name: h.ID}); !slices.Contains(all, own) {
			all = append(all, own)
		}
	}
	return all
}

// Find returns the tunnel that a stream to the target should take: the newest of the agent, the less busy of
// two random agents where several serve it.
func (t *Table) Find(target identity.Target) (*Tunnel, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	newest := map[string]*Tunnel{}
	for n := range t.targets[target] {
		if old := newest[n.Agent.ID]; old == nil || n.Since.After(old.Since) {
			newest[n.Agent.ID] = n
		}
	}
	var all []*Tunnel
	for _, n := range newest {
		all = append(all, n)
	}
	switch len(all) {
	case 0:
		return nil, false
	case 1:
		return all[0], true
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return slices.MinFunc(all[:2], func(a, b *Tunnel) int { return cmp.Compare(a.Session.Streams(), b.Session.Streams()) }), true
}

// All returns every tunnel.
func (t *Table) All() []*Tunnel {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []*Tunnel
	for _, tunnels := range t.agents {
		out = append(out, tunnels...)
	}
	return out
}
