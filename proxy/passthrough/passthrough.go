// Package passthrough serves ALPN stile-api/1: it splices a connection to the API of the cluster and to nothing
// else, so that an agent needs only one way out. Whoever connects proves nothing to the proxy and gains
// nothing from it: the bytes are TLS to the API, which asks for its own proof.
//
// The other side has no say in where it leads. Its entry point is [Handler.Serve].
package passthrough

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/stile-dev/stile/pkg/ration"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/proxy/edge"
)

// Limits on one connection: a join takes three calls of seconds each.
const (
	dialLimit = 5 * time.Second
	life      = 2 * time.Minute
)

// So many connections may be open at once from one address, behind which there may be many agents, and in all.
const (
	each = 64
	all  = 512
)

// Handler leads to one address.
type Handler struct {
	addr   string // host:port of the API
	log    *slog.Logger
	places *edge.Places
	lines  ration.Lines // of the log, by address
}

// New makes a handler that leads to addr.
func New(addr string, log *slog.Logger) *Handler {
	return &Handler{addr: addr, log: log, places: edge.NewPlaces(each, all), lines: ration.NewLines()}
}

// logs returns the log for what went wrong with a connection, which discards when its address had its line.
func (h *Handler) logs(c *edge.Conn) *slog.Logger {
	between, ok := h.lines.Take(c.Source.Addr(), time.Now())
	if !ok {
		return slog.New(slog.DiscardHandler)
	}
	return h.log.With("source", c.Source.String(), "not_logged_before", between)
}

// Serve splices until either side ends, the connection has lived long enough, or its place is needed for another source.
func (h *Handler) Serve(ctx context.Context, c *edge.Conn) {
	place, err := h.places.Take(c.Source.Addr(), func() { _ = c.NetConn().Close() })
	if err != nil {
		h.logs(c).WarnContext(ctx, "Connection to the API refused", "error", err)
		return
	}
	defer place.Leave()
	dialing, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	out, err := new(net.Dialer).DialContext(dialing, "tcp", h.addr)
	if err != nil {
		h.logs(c).WarnContext(ctx, "API not reached", "addr", h.addr, "error", err)
		return
	}
	api, ok := out.(*net.TCPConn)
	if !ok {
		_ = out.Close()
		return
	}
	c.Admit()
	limit := time.AfterFunc(life, func() { _ = c.Conn.Close(); _ = api.Close() })
	defer limit.Stop()
	stop := context.AfterFunc(ctx, func() { _ = c.Conn.Close(); _ = api.Close() })
	defer stop()
	tunnel.Splice(c.Conn, api, life)
}
