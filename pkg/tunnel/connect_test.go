package tunnel_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// A balancer that is late sends some to a proxy that is about to end, or has ended.
func TestWhoIsResetBeforeTheConnectionIsSecureTriesAgainAndSendsTheRequestOnce(t *testing.T) {
	c := tunneltest.New(t)
	_, proxy := c.Proxy()
	addr, asked := proxies(t, proxy, func(conn net.Conn, _ *frame.ConnectRequest) error {
		if err := frame.WriteOpen(conn); err != nil {
			return err
		}
		_, err := io.CopyN(conn, conn, 5)
		return err
	})
	dials := 0
	conn, err := tunnel.DialConnect(t.Context(), tunnel.ConnectConfig{
		Addrs: []string{addr}, Certificate: c.User(tunneltest.User{}).TLS, Trust: c.Holder().Trust(), Target: orders,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials++; dials < 4 {
				return resets(ctx, network, addr)
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var back [5]byte
	if _, err := io.ReadFull(conn, back[:]); err != nil || string(back[:]) != "hello" || asked.Load() != 1 {
		t.Errorf("%q after %d requests: %v", back, asked.Load(), err)
	}
}

func TestConnectingIsBounded(t *testing.T) {
	hangs := piped(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for name, test := range map[string]struct {
		dial  tunnel.DialFunc
		limit time.Duration
		addrs []string
		code  fault.Code
		dials int64
	}{
		"all are reset":         {resets, time.Minute, []string{"a:1"}, fault.Unreachable, 4},
		"each of two is":        {resets, time.Minute, []string{"a:1", "b:1"}, fault.Unreachable, 8},
		"all hang":              {hangs, 12 * time.Second, []string{"a:1"}, fault.Unreachable, 3},
		"the time is up":        {hangs, time.Second, []string{"a:1", "b:1"}, fault.Unreachable, 1},
		"there is no address":   {resets, time.Minute, nil, fault.Unreachable, 0},
		"nobody waits any more": {resets, time.Millisecond, []string{"a:1"}, fault.Unreachable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := tunneltest.New(t)
			user, trust := c.User(tunneltest.User{}).TLS, c.Holder().Trust()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.limit)
				defer cancel()
				var dials atomic.Int64
				_, err := tunnel.DialConnect(ctx, tunnel.ConnectConfig{
					Addrs: test.addrs, Certificate: user, Trust: trust, Target: orders,
					Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
						dials.Add(1)
						return test.dial(ctx, network, addr)
					},
				})
				if !fault.Is(err, test.code) || dials.Load() != test.dials {
					t.Errorf("%d attempts: %v", dials.Load(), err)
				}
			})
		})
	}
}

func TestAnImpostorIsAskedOnce(t *testing.T) {
	evil, c := proxyCertificate(t), tunneltest.New(t)
	answers := piped(func(c net.Conn) {
		_ = tls.Server(c, tunnel.ServerTLS(func() *tls.Certificate { return evil }, names.ALPNConnect)).Handshake()
		_ = c.Close()
	})
	dials := 0
	_, err := tunnel.DialConnect(t.Context(), tunnel.ConnectConfig{
		Addrs: []string{"p:443"}, Certificate: c.User(tunneltest.User{}).TLS, Trust: c.Holder().Trust(), Target: orders,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return answers(ctx, network, addr)
		},
	})
	if !fault.Is(err, fault.Unauthenticated) || dials != 1 {
		t.Errorf("%d attempts: %v", dials, err)
	}
}
