package integration_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/rate"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// stranger asks for challenges through a proxy from an address of its own, by connections that it keeps.
type stranger struct {
	http.RoundTripper
	voucher string // what it shows, "" for nothing
}

func (s stranger) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.voucher != "" {
		r = r.Clone(r.Context())
		r.Header.Set(names.HeaderVia, s.voucher)
	}
	return s.RoundTripper.RoundTrip(r)
}

// strange makes a client of such a stranger.
func (p *person) strange(t *testing.T, proxy, address, voucher string) *client.Client {
	t.Helper()
	transport := p.api(t).http.Transport.(*http.Transport)
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, _, err := tunnel.DialAPI(ctx, fromAddress(address), proxy)
		return c, err
	}
	c, err := client.New(client.Config{URL: p.Env["STILE_API"], HTTP: &http.Client{Transport: stranger{transport, voucher}, Timeout: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func fromAddress(a string) tunnel.DialFunc {
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(a)}}).DialContext
}

// TestSec_S68_AStrangerWhoFloodsThroughAProxyKeepsNobodyElseOut: strangers come through the proxy as fast as they can, one
// with the proxy's word for its address and one without, until both are refused and while they go on. An agent that has no
// other way than that proxy joins all the same.
func TestSec_S68_AStrangerWhoFloodsThroughAProxyKeepsNobodyElseOut(t *testing.T) {
	s := apart(t)
	p := s.person(t, engineer).login(t)
	credential, err := p.Credential()
	if err != nil {
		t.Fatal(err)
	}
	proxy := credential.Proxies[0]
	outer, voucher, err := tunnel.DialAPI(t.Context(), fromAddress("127.0.0.66"), proxy)
	if err != nil || voucher == "" {
		t.Fatalf("voucher %q, %v", voucher, err)
	}
	_ = outer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	defer flood.Wait()
	defer cancel()
	// Each is as fast as leaves the route room for others: what is faster keeps everybody out, as docs/security.md says.
	const pace = time.Second / 22
	var refused sync.WaitGroup
	for name, shown := range map[string]string{"a voucher": voucher, "nothing": ""} {
		api := p.strange(t, proxy, "127.0.0.66", shown)
		refused.Add(1)
		first := sync.OnceFunc(refused.Done)
		flood.Go(func() {
			defer first()
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for range 20 * rate.Burst { // far more than the test needs: its end is the context's
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				_, err := api.JoinChallenge(ctx, strings.Repeat("k", 43))
				if ctx.Err() != nil {
					return
				}
				if f := fault.From(err); err != nil && strings.Contains(f.Message, "from this address") {
					first()
				} else if err != nil {
					t.Errorf("a stranger who shows %s is told %v", name, err)
					return
				}
			}
			t.Errorf("a stranger who shows %s is never refused", name)
		})
	}
	refused.Wait()
	s.agent(t, enrol{name: "node-behind", extra: "proxy: " + proxy + "\n"})
	eventually(t, 30*time.Second, p.online(t, "node-behind", true))
}
