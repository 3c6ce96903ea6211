package passthrough_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
	"github.com/stile-dev/stile/proxy/edge"
	"github.com/stile-dev/stile/proxy/passthrough"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newExit is a proxy's port that leads to addr.
func newExit(t *testing.T, addr string) string {
	t.Helper()
	return serve(t, passthrough.New(passthrough.Config{Addr: addr, Vouch: nobody}))
}

func serve(t *testing.T, h *passthrough.Handler) string {
	t.Helper()
	_, credential := tunneltest.New(t).Proxy()
	e := edge.New(edge.Config{
		TLS:      tunnel.ServerTLS(func() *tls.Certificate { return credential.TLS }, names.ALPNAPI, names.ALPNAPI1),
		Handlers: map[string]edge.Handler{names.ALPNAPI: h.Serve, names.ALPNAPI1: h.Serve},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() { defer close(served); _ = e.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); _ = l.Close(); <-served; e.Wait() })
	return l.Addr().String()
}

// TestSec_S30_TheExitLeadsToTheAPIAlone: whatever host a caller names, in TLS, in HTTP or as a proxy request, its
// bytes arrive at the API, whose certificate the caller verifies end to end.
func TestSec_S30_TheExitLeadsToTheAPIAlone(t *testing.T) {
	var metadata atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { metadata.Add(1) }))
	defer other.Close()
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "the API")
	}))
	api.Config.ErrorLog = log.New(io.Discard, "", 0) // what is tried here, it would complain about
	api.StartTLS()
	defer api.Close()
	port := newExit(t, api.Listener.Addr().String())
	transport := api.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, _, err := tunnel.DialAPI(ctx, nil, port)
		return c, err
	}
	defer transport.CloseIdleConnections()
	get := &http.Client{Transport: transport}
	for _, url := range []string{"https://example.com/", "https://127.0.0.1:1/"} { // the test certificate is for both
		res, err := get.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(body) != "the API" {
			t.Errorf("%s answered %q", url, body)
		}
	}
	if res, err := get.Get("https://169.254.169.254/latest/meta-data/"); err == nil {
		_ = res.Body.Close()
		t.Error("the API's certificate was taken for another host's")
	}
	for _, line := range []string{
		"CONNECT " + other.Listener.Addr().String() + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET " + other.URL + " HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
		"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", // SOCKS
	} {
		c, _, err := tunnel.DialAPI(t.Context(), nil, port)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, line)
		answer, _ := io.ReadAll(c)
		_ = c.Close()
		if strings.Contains(string(answer), "200") {
			t.Errorf("%q answered %q", line, answer)
		}
	}
	if metadata.Load() != 0 {
		t.Error("another host was reached")
	}
}

func TestAnAPIThatIsAwayEndsTheConnection(t *testing.T) {
	c, _, err := tunnel.DialAPI(t.Context(), nil, newExit(t, "127.0.0.1:1"))
	if !fault.Is(err, fault.Unreachable) {
		t.Errorf("%v", err)
	}
	if err == nil {
		_ = c.Close()
	}
}
