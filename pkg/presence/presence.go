// Package presence keeps track of who is there: each live proxy's lease and its set of tunnels, in the
// table presence. Liveness is the tunnel: an agent is online when a live proxy's set names it.
//
// It knows neither names nor rules. Its entry point is [New].
package presence

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// The rhythm of presence.
const (
	LeaseEvery = 3 * time.Second  // how often a proxy renews its lease
	LeaseFor   = 10 * time.Second // how long a lease is valid
	Shards     = 16               // how many items a proxy's tunnels are spread over
)

// maxSet bounds what a shard may unpack to.
const maxSet = 16 << 20

// Config says where presence is kept.
type Config struct {
	DynamoDB table.API
	Table    string
}

// Store reads and writes presence. It may be used by several goroutines.
type Store struct {
	table table.Table

	mu   sync.Mutex
	keys map[string]string // of the live proxies, by proxy
	read time.Time         // when they were
}

// New makes a store.
func New(c Config) *Store { return &Store{table: table.Table{API: c.DynamoDB, Name: c.Table}} }

// Lease is a proxy's sign of life.
type Lease struct {
	Proxy   string    // prx_…
	Addr    string    // host:port where clients and agents reach it
	Zone    string    // availability zone, "" if unknown
	Started time.Time //
	Key     string    // SPKI DER of the key by which it vouches for callers; "" for proxies of the first release
	Expires time.Time // after it the proxy counts as gone, with all its tunnels
}

// Tunnel is one agent's tunnel to a proxy.
type Tunnel struct {
	Agent   string            `json:"agent"` // agt_…
	Targets []identity.Target `json:"targets,omitempty"`
	Since   time.Time         `json:"since"`
}

// PutLease writes or renews a lease.
func (s *Store) PutLease(ctx context.Context, l Lease) error {
	return s.table.Put(ctx, table.Item{
		names.PK: table.String(names.Proxy), names.SK: table.String(l.Proxy), "addr": table.String(l.Addr),
		"zone": table.String(l.Zone), "key": table.Bytes([]byte(l.Key)), "started_ms": table.Int(l.Started.UnixMilli()),
		"expires_ms": table.Int(l.Expires.UnixMilli()), names.Expires: table.Int(l.Expires.Add(time.Hour).Unix()),
	})
}

// DropLease records that a proxy is gone.
func (s *Store) DropLease(ctx context.Context, proxy string) error {
	return s.table.Delete(ctx, table.Key{PK: names.Proxy, SK: proxy})
}

// PutTunnels replaces a shard (0 to Shards-1) of a proxy's set; it counts while the proxy's lease does.
func (s *Store) PutTunnels(ctx context.Context, proxy string, shard int, tunnels []Tunnel, expires time.Time) error {
	set, err := pack(tunnels)
	if err != nil {
		return err
	}
	return s.table.Put(ctx, table.Item{
		names.PK: table.String(names.Tunnels + "#" + proxy), names.SK: table.String(fmt.Sprintf("%02x", shard)),
		"set": table.Bytes(set), "expires_ms": table.Int(expires.UnixMilli()),
		names.Expires: table.Int(expires.Add(24 * time.Hour).Unix()),
	})
}

// Leases returns the proxies that are live at now, the longest running first.
func (s *Store) Leases(ctx context.Context, now time.Time) ([]Lease, error) {
	items, err := s.table.List(ctx, names.Proxy)
	if err != nil {
		return nil, err
	}
	var live []Lease
	for _, i := range items {
		l := Lease{
			Proxy: i.Text(names.SK), Addr: i.Text("addr"), Zone: i.Text("zone"), Key: string(i.Bytes("key")),
			Started: time.UnixMilli(i.Int("started_ms")), Expires: time.UnixMilli(i.Int("expires_ms")),
		}
		if l.Expires.After(now) {
			live = append(live, l)
		}
	}
	slices.SortFunc(live, func(a, b Lease) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Proxy, b.Proxy))
	})
	return live, nil
}

// keysFor is how long the keys of proxies are kept: so often a stranger can have them read.
const keysFor = time.Second

// Key returns the key (SPKI DER) by which a live proxy vouches for callers, nil for one that isn't live or doesn't. A proxy
// that has come or gone within the last second may not be noticed yet.
func (s *Store) Key(ctx context.Context, proxy string, now time.Time) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.read); s.keys == nil || age < 0 || age >= keysFor {
		leases, err := s.Leases(ctx, now)
		if err != nil {
			return nil, err
		}
		s.keys, s.read = map[string]string{}, now
		for _, l := range leases {
			s.keys[l.Proxy] = l.Key
		}
	}
	return []byte(s.keys[proxy]), nil
}

// Addrs returns the public addresses of the live proxies, each once.
func (s *Store) Addrs(ctx context.Context, now time.Time) ([]string, error) {
	leases, err := s.Leases(ctx, now)
	if err != nil {
		return nil, err
	}
	return Addrs(leases), nil
}

// Addrs returns the public addresses of proxies, each once, in their order.
func Addrs(leases []Lease) []string {
	addrs := []string{}
	for _, l := range leases {
		if !slices.Contains(addrs, l.Addr) {
			addrs = append(addrs, l.Addr)
		}
	}
	return addrs
}

// Snapshot is who is there at one moment.
type Snapshot struct {
	Leases []Lease            // live proxies
	Agents map[string][]Lease // by agent id: the live proxies that have a tunnel to it
}

// List returns the live proxies and the agents that they reach.
func (s *Store) List(ctx context.Context, now time.Time) (Snapshot, error) {
	leases, err := s.Leases(ctx, now)
	if err != nil {
		return Snapshot{}, err
	}
	snap := Snapshot{Leases: leases, Agents: map[string][]Lease{}}
	for _, l := range leases {
		tunnels, err := s.Tunnels(ctx, l.Proxy)
		if err != nil {
			return Snapshot{}, err
		}
		for _, t := range tunnels {
			if held := snap.Agents[t.Agent]; !slices.Contains(held, l) {
				snap.Agents[t.Agent] = append(held, l)
			}
		}
	}
	return snap, nil
}

// Tunnels returns all tunnels that a proxy last said it holds.
func (s *Store) Tunnels(ctx context.Context, proxy string) ([]Tunnel, error) {
	items, err := s.table.List(ctx, names.Tunnels+"#"+proxy)
	if err != nil {
		return nil, err
	}
	var all []Tunnel
	for _, i := range items {
		set, err := unpack(i.Bytes("set"))
		if err != nil {
			return nil, fmt.Errorf("reading tunnels of %s, shard %s: %w", proxy, i.Text(names.SK), err)
		}
		all = append(all, set...)
	}
	return all, nil
}

func pack(tunnels []Tunnel) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	err := json.NewEncoder(z).Encode(tunnels)
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("packing tunnels: %w", err)
	}
	return b.Bytes(), nil
}

func unpack(set []byte) ([]Tunnel, error) {
	z, err := gzip.NewReader(bytes.NewReader(set))
	if err != nil {
		return nil, fmt.Errorf("unpacking tunnels: %w", err)
	}
	var tunnels []Tunnel
	if err := json.NewDecoder(io.LimitReader(z, maxSet)).Decode(&tunnels); err != nil {
		return nil, fmt.Errorf("unpacking tunnels: %w", err)
	}
	return tunnels, nil
}
