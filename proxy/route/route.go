// Package route is a proxy's table of tunnels: which agents are connected, by id and by the names that their
// certificates allow.
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

// Session is what is used of a tunnel.
type Session interface {
	Open(ctx context.Context) (tunnel.Stream, error)
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
	// Changed, if set, is called after each change, under no lock.
	Changed func(agent string)

	mu     sync.RWMutex
	agents map[string][]*Tunnel            // by agent id
	names  map[string]map[*Tunnel]struct{} // node names and agent ids
}

// Add enters a tunnel until the returned function is called. An agent that comes again while its old tunnel
// still counts as alive has both; the newer is preferred.
func (t *Table) Add(n *Tunnel) (remove func()) {
	t.mu.Lock()
	if t.agents == nil {
		t.agents, t.names = map[string][]*Tunnel{}, map[string]map[*Tunnel]struct{}{}
	}
	t.agents[n.Agent.ID] = append(t.agents[n.Agent.ID], n)
	for _, name := range keys(n.Agent) {
		if t.names[name] == nil {
			t.names[name] = map[*Tunnel]struct{}{}
		}
		t.names[name][n] = struct{}{}
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
	for _, name := range keys(n.Agent) {
		delete(t.names[name], n)
		if len(t.names[name]) == 0 {
			delete(t.names, name)
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

func keys(h identity.Host) []string { return append([]string{h.ID}, h.Names...) }

// Find gives the tunnel that a stream to the target should take: the newest of the agent, the less busy of
// two random agents where several serve the name.
func (t *Table) Find(kind, name string) (*Tunnel, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	newest := map[string]*Tunnel{}
	for n := range t.names[name] {
		if !slices.Contains(n.Agent.Resources, kind) {
			continue
		}
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

// All gives every tunnel.
func (t *Table) All() []*Tunnel {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []*Tunnel
	for _, tunnels := range t.agents {
		out = append(out, tunnels...)
	}
	return out
}
