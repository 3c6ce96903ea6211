package tunnel

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// DialFunc opens a TCP connection; nil is a net.Dialer's.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// DialConfig is how an agent reaches a proxy.
type DialConfig struct {
	Addr        string           // host:port
	Certificate *tls.Certificate // the agent's X.509 certificate and its TLS key
	Trust       document.Trust   // whose host-x509 keys the proxy's certificate must come from
	Now         func() time.Time // nil is time.Now
	Dial        DialFunc
	Pays        []*Account // what the windows of the session's streams count towards
}

// Dial opens a session to a proxy over mutual TLS and returns which proxy answered. The context bounds the
// handshake, not the session. Errors are faults.
func Dial(ctx context.Context, c DialConfig) (Session, identity.Host, error) {
	var proxy identity.Host
	verify := verifyProxy(c.Trust, c.Now, func(h identity.Host) { proxy = h })
	conn, err := handshake(ctx, c.Dial, c.Addr, clientTLS([]string{names.ALPNTunnel}, c.Certificate, verify))
	if err != nil {
		return nil, proxy, err
	}
	s, err := NewSession(conn, SessionConfig{Role: Dialled, Pays: c.Pays})
	if err != nil {
		_ = conn.Close()
		return nil, proxy, err
	}
	return s, proxy, nil
}

// DialAPI opens the agent's single way out: bytes that a proxy at addr hands on to the API of its cluster. With it comes
// what the proxy says of where the call came from, to be shown to the API, which can tell whether it is true; "" if the
// proxy says nothing. The outer TLS proves nothing and need not: whoever dials speaks TLS to the API inside and verifies that.
func DialAPI(ctx context.Context, dial DialFunc, addr string) (c net.Conn, voucher string, err error) {
	protocols := []string{names.ALPNAPI, names.ALPNAPI1}
	conn, err := handshake(ctx, dial, addr, clientTLS(protocols, nil, func(tls.ConnectionState) error { return nil }))
	if err != nil {
		return nil, "", err
	}
	if conn.ConnectionState().NegotiatedProtocol == names.ALPNAPI1 {
		return conn, "", nil
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
	defer stop()
	began := time.Now()
	if voucher, err = readVoucher(conn); err != nil {
		_ = conn.Close()
		if late(ctx, err) {
			return nil, "", silent(addr, began).Because(err)
		}
		return nil, "", fault.Newf(fault.Unreachable, "try again; if it keeps happening, look at the proxy's log", "proxy %s does not lead to the API", addr).Because(err)
	}
	return conn, voucher, nil
}

func verifyProxy(trust document.Trust, now func() time.Time, report asProxy) func(tls.ConnectionState) error {
	if now == nil {
		now = time.Now
	}
	return func(s tls.ConnectionState) error {
		h, err := PeerHost(s, trust, identity.KindProxy, now())
		if err != nil {
			return fmt.Errorf("verifying proxy: %w", err)
		}
		report(h)
		return nil
	}
}
