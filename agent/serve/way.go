package serve

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// way leads to the API through a proxy's port. Each call has its own connection, whose voucher it shows, so that the API
// counts the call by this machine's address and not by the proxy's, which anybody can use.
type way struct {
	proxy string
	to    *http.Transport // to the API, over what dialled returns
}

type dialledKey struct{}

func newWay(proxy string, t *http.Transport) *way {
	t.Proxy, t.DisableKeepAlives = nil, true
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dialled(ctx, proxy) }
	return &way{proxy, t}
}

// RoundTrip makes one call.
func (w *way) RoundTrip(r *http.Request) (*http.Response, error) {
	c, voucher, err := tunnel.DialAPI(r.Context(), nil, w.proxy)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	var first atomic.Pointer[net.Conn]
	first.Store(&c)
	defer func() {
		if unused := first.Swap(nil); unused != nil {
			_ = (*unused).Close()
		}
	}()
	r = r.Clone(context.WithValue(r.Context(), dialledKey{}, &first))
	r.Header.Del(names.HeaderVia)
	if voucher != "" {
		r.Header.Set(names.HeaderVia, voucher)
	}
	return w.to.RoundTrip(r)
}

// CloseIdleConnections is for http.Client's.
func (w *way) CloseIdleConnections() { w.to.CloseIdleConnections() }

// dialled returns the call's connection, and another one if it is asked again.
func dialled(ctx context.Context, proxy string) (net.Conn, error) {
	if first, ok := ctx.Value(dialledKey{}).(*atomic.Pointer[net.Conn]); ok {
		if c := first.Swap(nil); c != nil {
			return *c, nil
		}
	}
	c, _, err := tunnel.DialAPI(ctx, nil, proxy)
	return c, err
}
