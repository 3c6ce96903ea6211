package passthrough_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/proxy/passthrough"
)

// from dials from one of the addresses that Linux has on loopback.
func from(address string) func(context.Context, string, string) (net.Conn, error) {
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext
}

// TestSec_S64_AFewAddressesCannotTakeTheWholeExit: some addresses open as many silent connections to the API as they can;
// another one's call passes all the same, and so does a call of one that holds fewer than it may.
func TestSec_S64_AFewAddressesCannotTakeTheWholeExit(t *testing.T) {
	const each, all = 4, 10
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the API") }))
	defer api.Close()
	h := passthrough.New(passthrough.Config{Addr: api.Listener.Addr().String(), Vouch: nobody})
	h.Bound(each, all)
	port := serve(t, h)
	call := func(address string) error {
		transport := api.Client().Transport.(*http.Transport).Clone()
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, _, err := tunnel.DialAPI(ctx, from(address), port)
			return c, err
		}
		defer transport.CloseIdleConnections()
		res, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get(api.URL)
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	hold := func(address string) {
		if c, _, err := tunnel.DialAPI(t.Context(), from(address), port); err == nil { // else it has as many as it may
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	for _, address := range []string{"127.0.0.11", "127.0.0.12", "127.0.0.13"} {
		for range each + 2 {
			hold(address)
		}
	}
	// A connection beyond an address's own is closed, so its call fails, however many places others have left.
	deadline := time.Now().Add(20 * time.Second)
	for call("127.0.0.13") == nil {
		if time.Now().After(deadline) {
			t.Fatal("an address has more places than it may")
		}
	}
	for _, address := range []string{"127.0.0.14", "127.0.0.15", "127.0.0.14"} {
		if err := call(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
