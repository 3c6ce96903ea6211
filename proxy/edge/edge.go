// Package edge is a proxy's one port: it accepts connections, bounds what a source may take before it has
// shown who it is, finishes TLS and hands each connection to the handler of its protocol (ALPN).
//
// It doesn't verify certificates; the handlers do, and tell it by [Conn.Admit]. Its entry point is [New].
package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bounds what sources may take. The zero value of a field takes its default.
type Limits struct {
	Unknown    int           // connections from one address that have not been admitted yet: 128, for offices behind one address
	Pending    int           // connections that have not been admitted yet, all sources together: 4096
	Headers    int           // connections of balancers whose header has not come yet, all together: 1024
	Connected  int           // connections from one address: 4096
	Handshakes int           // handshakes that compute at once: twice the processors; one address has half of them
	Time       time.Duration // to be admitted: 10 s
	Bytes      int64         // that may be read before being admitted: 128 KiB, a handshake and two frames
}

func (l Limits) orDefaults() Limits {
	set := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set(&l.Unknown, 128)
	set(&l.Pending, 4096)
	set(&l.Headers, 1024)
	set(&l.Connected, 4096)
	set(&l.Handshakes, 2*runtime.GOMAXPROCS(0))
	if l.Time == 0 {
		l.Time = 10 * time.Second
	}
	if l.Bytes == 0 {
		l.Bytes = 128 << 10
	}
	return l
}

// Handler serves a connection of one protocol; the connection is closed when it returns.
type Handler func(ctx context.Context, c *Conn)

// Config is what an edge needs.
type Config struct {
	TLS      *tls.Config        // with the protocols of Handlers as NextProtos
	Handlers map[string]Handler // by ALPN protocol
	Proxied  []netip.Prefix     // sources whose connections must begin with a PROXY v2 header; others' may not
	Limits   Limits
	Log      *slog.Logger // nil discards
}

// Edge serves one listener.
type Edge struct {
	config  Config
	tls     *tls.Config
	sources sources
	pending *Places
	headers *Places
	turns   chan struct{}
	quiet   *rate.Limiter // of log lines about strangers
	serving sync.WaitGroup
}

// New makes an edge.
func New(c Config) *Edge {
	c.Limits = c.Limits.orDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Edge{
		config: c, tls: paced(c.TLS), sources: sources{limits: c.Limits, held: map[netip.Addr]*held{}},
		pending: NewPlaces(c.Limits.Unknown, c.Limits.Pending), headers: NewPlaces(0, c.Limits.Headers),
		turns: make(chan struct{}, c.Limits.Handshakes), quiet: rate.NewLimiter(10, 100),
	}
}

// Serve accepts until the listener closes, and returns then. The context is the handlers'; cancelling it doesn't
// close the listener.
func (e *Edge) Serve(ctx context.Context, l net.Listener) error {
	for {
		raw, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			e.config.Log.WarnContext(ctx, "Accepting failed", "error", err)
			if !pause(ctx, 50*time.Millisecond) { // out of file descriptors, most likely
				return ctx.Err()
			}
			continue
		}
		header := e.expectHeader(raw) // here, so that places are taken in the order of arrival
		e.serving.Go(func() { e.serve(ctx, raw, header) })
	}
}

// Wait returns when every connection has ended.
func (e *Edge) Wait() { e.serving.Wait() }

func (e *Edge) serve(ctx context.Context, raw net.Conn, header *Place) {
	defer raw.Close()
	limit := time.AfterFunc(e.config.Limits.Time, func() { _ = raw.Close() })
	defer limit.Stop()
	stream, source, err := source(raw, header)
	if err != nil {
		e.stranger(ctx, "Connection refused", source, err)
		return
	}
	from, err := e.sources.enter(source.Addr())
	if err != nil {
		e.stranger(ctx, "Connection refused", source, err)
		return
	}
	defer e.sources.leave(source.Addr())
	place, err := e.pending.Take(source.Addr(), func() { _ = raw.Close() })
	if err != nil {
		e.stranger(ctx, "Connection refused", source, err)
		return
	}
	defer place.Leave()
	bounded := &bounded{Conn: stream}
	bounded.left.Store(e.config.Limits.Bytes)
	c := &Conn{Source: source, place: place, limit: limit, bounded: bounded}
	if c.Conn, err = e.handshake(ctx, &turn{Conn: bounded, own: from.turns}); err != nil {
		e.stranger(ctx, "Handshake failed", source, err)
		return
	}
	defer c.Conn.Close()
	if handler := e.config.Handlers[c.ConnectionState().NegotiatedProtocol]; handler != nil {
		handler(ctx, c)
		return
	}
	e.stranger(ctx, "Connection refused", source, errors.New("it speaks none of our protocols"))
}

// expectHeader takes a place for a connection that has to begin with a header, pushing out the one that has waited for
// its header longest if there is none; it returns nil when the connection needs none.
func (e *Edge) expectHeader(raw net.Conn) *Place {
	peer := address(raw.RemoteAddr()).Addr()
	if !slices.ContainsFunc(e.config.Proxied, func(p netip.Prefix) bool { return p.Contains(peer) }) {
		return nil
	}
	place, err := e.headers.Take(peer, func() { _ = raw.Close() })
	if err != nil {
		panic(err) // a balancer may have all places
	}
	return place
}

// source returns the client's address, the socket's or, when a place is held for it, that in the header of a balancer,
// and the connection without the header. The place is free again then.
func source(raw net.Conn, header *Place) (net.Conn, netip.AddrPort, error) {
	if header == nil {
		return raw, address(raw.RemoteAddr()), nil
	}
	defer header.Leave()
	return readHeader(raw)
}

// stranger logs what happened to an unknown peer, but no more often than a disk can take.
func (e *Edge) stranger(ctx context.Context, message string, source netip.AddrPort, err error) {
	if e.quiet.Allow() {
		e.config.Log.DebugContext(ctx, message, "source", source.String(), "error", err)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
