package serve

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// exit leads to an address as a proxy does, and vouches for each connection by its number.
func exit(t *testing.T, to string, protocols ...string) (addr string, all *sync.WaitGroup) {
	t.Helper()
	_, credential := tunneltest.New(t).Proxy()
	l, err := tls.Listen("tcp", "127.0.0.1:0", tunnel.ServerTLS(func() *tls.Certificate { return credential.TLS }, protocols...))
	if err != nil {
		t.Fatal(err)
	}
	all = new(sync.WaitGroup)
	var number atomic.Int32
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				c := raw.(*tls.Conn)
				defer c.Close()
				api, err := net.Dial("tcp", to)
				if err != nil || c.Handshake() != nil {
					return
				}
				defer api.Close()
				if c.ConnectionState().NegotiatedProtocol == names.ALPNAPI {
					_ = tunnel.SendVoucher(c, fmt.Sprint("voucher ", number.Add(1)))
				}
				tunnel.Splice(c, api.(*net.TCPConn), time.Minute)
			})
		}
	}()
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l.Addr().String(), all
}

// TestSec_S68_EachCallShowsTheVoucherOfItsConnection, whatever the caller's own headers say, and none where the proxy has
// none.
func TestSec_S68_EachCallShowsTheVoucherOfItsConnection(t *testing.T) {
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Join(r.Header.Values(names.HeaderVia), ", "))
	}))
	defer api.Close()
	for protocol, want := range map[string][]string{
		names.ALPNAPI: {"voucher 1", "voucher 2"}, names.ALPNAPI1: {"", ""},
	} {
		addr, all := exit(t, api.Listener.Addr().String(), protocol)
		w := newWay(addr, api.Client().Transport.(*http.Transport).Clone())
		for _, voucher := range want {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.URL, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(names.HeaderVia, "mine")
			res, err := (&http.Client{Transport: w, Timeout: 20 * time.Second}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if string(got) != voucher {
				t.Errorf("%s: the API was shown %q, want %q", protocol, got, voucher)
			}
		}
		all.Wait() // no connection stays open
	}
}

func TestACallThatIsGivenUpLeavesNoConnection(t *testing.T) {
	api := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer api.Close()
	addr, all := exit(t, api.Listener.Addr().String(), names.ALPNAPI)
	w := newWay(addr, api.Client().Transport.(*http.Transport).Clone())
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if res, err := w.RoundTrip(req); err == nil {
		_ = res.Body.Close()
		t.Error("a call that was given up was answered")
	}
	all.Wait()
}
