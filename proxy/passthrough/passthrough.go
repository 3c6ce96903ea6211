// Package passthrough serves ALPN stile-api/2: it splices a connection to the API of the cluster and to nothing else, so that
// an agent needs only one way out. Whoever connects proves nothing to the proxy and gains nothing from it: the bytes are TLS
// to the API, which asks for its own proof. Before them comes a voucher of where the caller came from, for the API to count
// it by. stile-api/1, of the first release, is the same without the voucher.
//
// The other side has no say in where it leads. Its entry point is [Handler.Serve].
package passthrough

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/stile-dev/stile/pkg/names"
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

// Config is where a handler leads. Addr and Vouch are required.
type Config struct {
	Addr  string                           // host:port of the API
	Vouch func(netip.Addr) (string, error) // signs for the API where a caller came from
	Log   *slog.Logger                     // nil discards
}

// Handler leads to one address.
type Handler struct {
	config Config
	places *edge.Places
	lines  ration.Lines // of the log, by address
}

// New makes a handler.
func New(c Config) *Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{config: c, places: edge.NewPlaces(each, all), lines: ration.NewLines()}
}

// logs returns the log for what went wrong with a connection, which discards when its address had its line.
func (h *Handler) logs(c *edge.Conn) *slog.Logger {
	between, ok := h.lines.Take(c.Source.Addr(), time.Now())
	if !ok {
		return slog.New(slog.DiscardHandler)
	}
	return h.config.Log.With("source", c.Source.String(), "not_logged_before", between)
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
	out, err := new(net.Dialer).DialContext(dialing, "tcp", h.config.Addr)
	if err != nil {
		h.logs(c).WarnContext(ctx, "API not reached", "addr", h.config.Addr, "error", err)
		return
	}
	api, ok := out.(*net.TCPConn)
	if !ok {
		_ = out.Close()
		return
	}
	if c.ConnectionState().NegotiatedProtocol == names.ALPNAPI {
		if err := h.vouch(c); err != nil {
			h.logs(c).WarnContext(ctx, "Connection to the API refused", "error", err)
			_ = out.Close()
			return
		}
	}
	c.Admit()
	limit := time.AfterFunc(life, func() { _ = c.Conn.Close(); _ = api.Close() })
	defer limit.Stop()
	stop := context.AfterFunc(ctx, func() { _ = c.Conn.Close(); _ = api.Close() })
	defer stop()
	tunnel.Splice(c.Conn, api, life)
}

// vouch tells the caller what it may show to the API of where it came from. The time that the edge gives strangers bounds it.
func (h *Handler) vouch(c *edge.Conn) error {
	voucher, err := h.config.Vouch(c.Source.Addr())
	if err != nil {
		return err
	}
	return tunnel.SendVoucher(c, voucher)
}
