package feed

import (
	"cmp"
	"context"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/presence"
)

const (
	// debounce gathers changes: a lost tunnel is written well within 250 ms.
	debounce = 100 * time.Millisecond
	// again is how long to wait before trying again to write a shard.
	again = 2 * time.Second
	// setFor is how long a shard counts by itself; the lease ends sooner.
	setFor = 24 * time.Hour
	// rewrite is how often each shard is written even if nothing changed, long before it stops counting.
	rewrite = time.Hour
	// writeLimit bounds one write.
	writeLimit = 2 * time.Second
)

// Table is where presence is kept.
type Table interface {
	PutLease(context.Context, presence.Lease) error
	DropLease(ctx context.Context, proxy string) error
	PutTunnels(ctx context.Context, proxy string, shard int, tunnels []presence.Tunnel, expires time.Time) error
	Leases(ctx context.Context, now time.Time) ([]presence.Lease, error)
}

// Presence publishes that this proxy is alive and which agents it has tunnels to.
type Presence struct {
	Table   Table
	Lease   func() presence.Lease    // without Expires
	Tunnels func() []presence.Tunnel // all that are up
	Proxies func([]presence.Lease)   // told which proxies are live, including this one
	Log     *slog.Logger
	Now     func() time.Time // nil is time.Now

	mu    sync.Mutex
	dirty [presence.Shards]bool
	wake  chan struct{}
	once  sync.Once
}

func (p *Presence) init() {
	p.once.Do(func() {
		p.wake = make(chan struct{}, 1)
		if p.Now == nil {
			p.Now = time.Now
		}
	})
}

// Changed reports that a tunnel of an agent came or went.
func (p *Presence) Changed(agent string) {
	p.init()
	p.mu.Lock()
	p.dirty[shard(agent)] = true
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func shard(agent string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(agent))
	return int(h.Sum32() % presence.Shards)
}

// Run keeps lease and sets until the context ends; it then leaves them, for Withdraw.
func (p *Presence) Run(ctx context.Context) {
	p.init()
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { p.lease(ctx) })
	turn := time.NewTicker(rewrite / presence.Shards) // one shard at a time, so that the writes are spread
	defer turn.Stop()
	for next := 0; ; {
		select {
		case <-p.wake:
		case <-turn.C:
			p.mu.Lock()
			p.dirty[next%presence.Shards] = true
			p.mu.Unlock()
			next++
		case <-ctx.Done():
			return
		}
		pause(ctx, debounce)
		if !p.write(ctx) {
			pause(ctx, again)
			select {
			case p.wake <- struct{}{}:
			default:
			}
		}
	}
}

// lease renews the lease and learns of the other proxies.
func (p *Presence) lease(ctx context.Context) {
	tick := time.NewTicker(presence.LeaseEvery)
	defer tick.Stop()
	var away complaint
	for {
		err := p.renew(ctx)
		if ctx.Err() != nil {
			return
		}
		switch wrong, well := away.note(err, p.Now()); {
		case wrong:
			p.Log.WarnContext(ctx, "Lease not renewed", "error", err, "since", away.since)
		case well:
			p.Log.InfoContext(ctx, "Lease renewed again")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Presence) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	l := p.Lease()
	l.Expires = p.Now().Add(presence.LeaseFor)
	if err := p.Table.PutLease(ctx, l); err != nil {
		return err
	}
	live, err := p.Table.Leases(ctx, p.Now())
	if err != nil {
		return err
	}
	slices.SortFunc(live, func(a, b presence.Lease) int { return cmp.Compare(a.Proxy, b.Proxy) })
	p.Proxies(live)
	return nil
}

// write writes the dirty shards and reports whether all are written.
func (p *Presence) write(ctx context.Context) bool {
	p.mu.Lock()
	dirty := p.dirty
	p.dirty = [presence.Shards]bool{}
	p.mu.Unlock()
	var sets [presence.Shards][]presence.Tunnel
	for _, t := range p.Tunnels() {
		sets[shard(t.Agent)] = append(sets[shard(t.Agent)], t)
	}
	all := true
	for i, is := range dirty {
		if !is || p.put(ctx, i, sets[i]) {
			continue
		}
		all = false
		p.mu.Lock()
		p.dirty[i] = true
		p.mu.Unlock()
	}
	return all
}

func (p *Presence) put(ctx context.Context, shard int, set []presence.Tunnel) bool {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	slices.SortFunc(set, func(a, b presence.Tunnel) int { return cmp.Compare(a.Agent, b.Agent) })
	err := p.Table.PutTunnels(ctx, p.Lease().Proxy, shard, set, p.Now().Add(setFor))
	if err != nil {
		p.Log.WarnContext(ctx, "Tunnel set not written", "shard", shard, "error", err)
	}
	return err == nil
}

// Withdraw reports that this proxy is leaving, so that nobody is sent to it any more.
func (p *Presence) Withdraw(ctx context.Context) error {
	return p.Table.DropLease(ctx, p.Lease().Proxy)
}
