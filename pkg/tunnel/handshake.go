package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
)

// handshake dials and finishes TLS, and turns what can go wrong into faults.
func handshake(ctx context.Context, dial DialFunc, addr string, config *tls.Config) (*tls.Conn, error) {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	began := time.Now()
	raw, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, undialled(ctx, addr, began, err).Because(err)
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, unshaken(ctx, addr, began, err).Because(err)
	}
	return conn, nil
}

// undialled says why there is no connection.
func undialled(ctx context.Context, addr string, began time.Time, err error) *fault.Fault {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return cancelled(addr)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fault.Newf(fault.Unreachable, "try again; if it keeps happening, ask an administrator whether the cluster's proxies are running",
			"proxy %s does not answer: nothing listens there", addr)
	case late(ctx, err):
		return fault.Newf(fault.Unreachable, "check the network between here and the proxy",
			"proxy %s does not answer: no connection within %s", addr, waited(began))
	}
	return fault.Newf(fault.Unreachable, "check the network between here and the proxy", "proxy %s does not answer", addr)
}

// unshaken says why a connection did not become a secure one. A balancer may have accepted it for a proxy that hangs.
func unshaken(ctx context.Context, addr string, began time.Time, err error) *fault.Fault {
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return fault.Newf(fault.Unauthenticated,
			"log in or join again if the cluster's keys were rotated; otherwise something else is answering at that address",
			"proxy %s could not prove that it belongs to the cluster: %s", addr, f.Message)
	}
	alert, _ := errors.AsType[*net.OpError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return cancelled(addr)
	case late(ctx, err):
		return silent(addr, began)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fault.Newf(fault.Unreachable,
			"try again in a minute: it may be stopping, or have too many connections from this address that are not secure yet; if it keeps happening, look at the proxy's log",
			"proxy %s ended the connection before it was secure", addr)
	case plain:
		return fault.Newf(fault.Unreachable, "check the address: something other than a proxy is answering there", "what answers at %s does not speak TLS", addr)
	case alert != nil && alert.Op == "remote error": // how crypto/tls reports an alert
		return fault.Newf(fault.Unreachable, "try again; if it keeps happening, look at the proxy's log",
			"proxy %s refused a secure connection: %s", addr, alert.Err)
	}
	return fault.Newf(fault.Unreachable, "try again; if it keeps happening, something between here and the proxy breaks TLS",
		"no secure connection to proxy %s", addr)
}

// late reports whether time was up, the context's or that of the network.
func late(ctx context.Context, err error) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}

func silent(addr string, began time.Time) *fault.Fault {
	return fault.Newf(fault.Unreachable, "try again; if it keeps happening, ask an administrator whether the proxy hangs: its port accepts connections",
		"proxy %s did not answer within %s", addr, waited(began))
}

func cancelled(addr string) *fault.Fault {
	return fault.Newf(fault.Unreachable, "try again", "connecting to proxy %s was cancelled", addr)
}

func waited(since time.Time) time.Duration {
	return max(time.Since(since).Round(time.Second), time.Second) // the same each time, so that it is logged once
}
