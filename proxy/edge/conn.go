package edge

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stile-dev/stile/pkg/ration"
)

// Conn is a connection after its TLS handshake. Until Admit it counts against its source's limits and its time runs.
type Conn struct {
	*tls.Conn
	Source netip.AddrPort // the client's address; behind a balancer the one in its header

	place   *Place // among those who wait to be admitted
	limit   *time.Timer
	bounded *bounded
}

// Admit lifts the limits for unknown sources: the other side has shown who it is, or the handler has bounds of its own.
func (c *Conn) Admit() {
	c.limit.Stop()
	c.bounded.free.Store(true)
	c.place.Leave()
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

var errConnected = errors.New("too many connections from this address")

// sources counts connections by address.
type sources struct {
	limits Limits
	mu     sync.Mutex
	held   map[netip.Addr]*held
}

// held is what a source has.
type held struct {
	connections int
	turns       chan struct{} // at handshakes
}

func (s *sources) enter(a netip.Addr) (*held, error) {
	a = ration.Network(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[a]
	if h == nil {
		h = &held{turns: make(chan struct{}, max(1, s.limits.Handshakes/2))}
		s.held[a] = h
	}
	if h.connections >= s.limits.Connected {
		return nil, errConnected
	}
	h.connections++
	return h, nil
}

func (s *sources) leave(a netip.Addr) {
	a = ration.Network(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.held[a]; h != nil {
		if h.connections--; h.connections == 0 {
			delete(s.held, a)
		}
	}
}
