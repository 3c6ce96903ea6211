package tunnel_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// piped dials what one end of a pipe does.
func piped(proxy func(net.Conn)) tunnel.DialFunc {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go proxy(theirs)
		return ours, nil
	}
}

// resetting fails as a socket does whose other side sends a reset.
type resetting struct{ net.Conn }

func (resetting) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
}

// A person who reads that a proxy did not answer looks elsewhere than one who reads that TLS is broken.
func TestWhatKeepsAConnectionFromBecomingSecureIsToldApart(t *testing.T) {
	refuse := func(err error) tunnel.DialFunc {
		return func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: err}
		}
	}
	proxy := proxyCertificate(t)
	hung := func(c net.Conn) {
		s := tls.Server(c, tunnel.ServerTLS(func() *tls.Certificate { return proxy }, names.ALPNAPI))
		_ = s.Handshake()
		_, _ = io.Copy(io.Discard, s)
	}
	for name, c := range map[string]struct {
		dial       tunnel.DialFunc
		says, hint string
	}{
		"it hangs":                   {piped(func(net.Conn) {}), "proxy p:443 did not answer within 15s", "whether the proxy hangs"},
		"it hangs half-way":          {piped(func(c net.Conn) { _, _ = c.Read(make([]byte, 100)) }), "did not answer within 15s", "whether the proxy hangs"},
		"it hangs once it is secure": {piped(hung), "did not answer within 15s", "whether the proxy hangs"},
		"it closes":                  {piped(func(c net.Conn) { _, _ = c.Read(make([]byte, 16<<10)); _ = c.Close() }), "ended the connection before it was secure", "too many connections from this address"},
		"it resets":                  {resets, "ended the connection before it was secure", "too many connections from this address"},
		"it speaks no TLS":           {piped(func(c net.Conn) { go io.Copy(io.Discard, c); _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request") }), "does not speak TLS", "check the address"},
		"it has not joined": {piped(func(c net.Conn) {
			_ = tls.Server(c, tunnel.ServerTLS(func() *tls.Certificate { return nil })).Handshake()
		}), "refused a secure connection: tls: ", "look at the proxy's log"},
		"nothing listens":    {refuse(syscall.ECONNREFUSED), "nothing listens there", "whether the cluster's proxies are running"},
		"no packet arrives":  {refuse(syscall.ETIMEDOUT), "no connection within", "check the network"},
		"no name is known":   {refuse(errors.New("no such host")), "proxy p:443 does not answer", "check the network"},
		"the dial takes all": {func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }, "no connection within 15s", "check the network"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				defer cancel()
				_, _, err := tunnel.DialAPI(ctx, c.dial, "p:443")
				f := fault.From(err)
				if f == nil || f.Code != fault.Unreachable || !strings.Contains(f.Message, c.says) || !strings.Contains(f.Hint, c.hint) || f.Unwrap() == nil {
					t.Errorf("got %+v: %v", f, errors.Unwrap(f))
				}
			})
		})
	}
}

func resets(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	return resetting{ours}, nil
}

func TestWhoGivesUpIsNotToldOfTheProxy(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err := tunnel.DialAPI(ctx, piped(func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); cancel() }), "p:443")
	if f := fault.From(err); f == nil || !strings.Contains(f.Message, "was cancelled") {
		t.Errorf("got %v", err)
	}
}
