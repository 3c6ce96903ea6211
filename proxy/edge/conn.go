package edge

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection after its TLS handshake. Until Admit it counts against its source's limits and its time runs.
type Conn struct {
	*tls.Conn
	Source netip.AddrPort // the client's address; behind a balancer the one in its header

	place   *place
	limit   *time.Timer
	bounded *bounded
}

// Admit lifts the limits for unknown sources: the other side has shown who it is.
func (c *Conn) Admit() {
	c.limit.Stop()
	c.bounded.free.Store(true)
	c.place.admit()
}

// Lift lifts the limits on time and bytes, but the connection goes on counting as one of an unknown source: it is
// bounded by its handler instead.
func (c *Conn) Lift() {
	c.limit.Stop()
	c.bounded.free.Store(true)
}

var errTooMuch = errors.New("too many bytes before identifying itself")

// bounded fails reads past a number of bytes until it is freed.
type bounded struct {
	net.Conn
	left atomic.Int64
	free atomic.Bool
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.free.Load() {
		return b.Conn.Read(p)
	}
	left := b.left.Load()
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), left)])
	b.left.Add(-int64(n))
	return n, err
}

var (
	errUnknown   = errors.New("too many connections from this address are waiting to be admitted")
	errConnected = errors.New("too many connections from this address")
)

// sources counts connections by address.
type sources struct {
	limits Limits
	mu     sync.Mutex
	held   map[netip.Addr]*held
}

type held struct{ unknown, all int }

// key makes one source of an IPv6 /64: a single customer commonly has that much.
func key(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

func (s *sources) enter(a netip.Addr) (*place, error) {
	a = key(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[a]
	if h == nil {
		h = &held{}
	}
	switch {
	case h.unknown >= s.limits.Unknown:
		return nil, errUnknown
	case h.all >= s.limits.Connected:
		return nil, errConnected
	}
	h.unknown++
	h.all++
	s.held[a] = h
	return &place{sources: s, addr: a}, nil
}

// place is one connection's part in its source's count.
type place struct {
	sources  *sources
	addr     netip.Addr
	admitted bool // guarded by sources.mu
}

func (p *place) admit() {
	p.sources.mu.Lock()
	defer p.sources.mu.Unlock()
	if !p.admitted {
		p.admitted = true
		p.sources.held[p.addr].unknown--
	}
}

func (p *place) leave() {
	p.admit()
	p.sources.mu.Lock()
	defer p.sources.mu.Unlock()
	h := p.sources.held[p.addr]
	if h.all--; h.all == 0 {
		delete(p.sources.held, p.addr)
	}
}
