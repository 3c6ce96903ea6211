package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// ConnectConfig is how a client reaches a target through a proxy.
type ConnectConfig struct {
	Addrs       []string         // host:port of proxies, tried in order until one answers
	Certificate *tls.Certificate // the user's X.509 certificate and its TLS key
	Trust       document.Trust   // whose host-x509 keys the proxy's certificate must come from
	Target      identity.Target  // its name may be an agent's id
	TraceID     string           // the client's own, for logs
	Now         func() time.Time // nil is time.Now
	Dial        DialFunc
}

// Connecting. A proxy that is about to end resets whoever a late balancer sends to it, and the next attempt reaches another.
const (
	rounds     = 4                     // over all addresses
	roundPause = 50 * time.Millisecond // after the first, and twice as long after each further one
	tryLimit   = 5 * time.Second       // for one attempt, so that one who hangs leaves time for another
)

// DialConnect returns a connection to the target that a proxy splices to the target's agent. It returns after
// the TLS handshake; one that comes to nothing is attempted again, a few times within the context's time. The request
// goes out together with the first Write (or alone at the first Read), and
// its answer is read by the first Read: a refusal is the *fault.Fault that Read returns, so nothing costs a
// round trip by itself. Many proxies may be behind one address, and one of them may lack the target's
// tunnel: when it refuses, another is asked. The connection has CloseWrite. What runs inside must
// authenticate the target itself: for SSH by certs.VerifySSHHost.
func DialConnect(ctx context.Context, c ConnectConfig) (net.Conn, error) {
	request, err := frame.Append(nil, &frame.ConnectRequest{
		Version: frame.Protocol, Target: &frame.Target{Kind: c.Target.Kind, Name: c.Target.Name}, TraceId: c.TraceID,
	})
	if err != nil {
		return nil, fault.New(fault.BadInput, "the target's name is too long", "use a name that stile ls shows").Because(err)
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	return newConnected(conn, request, c.dial), nil
}

// dial returns a connection to the first proxy that answers. Nothing but the handshake was sent over those that failed.
func (c ConnectConfig) dial(ctx context.Context) (*tls.Conn, error) {
	if len(c.Addrs) == 0 {
		return nil, fault.New(fault.Unreachable, "no proxy is known", "ask your administrator whether the cluster's proxies are running")
	}
	for n := 0; ; n++ {
		conn, again, err := c.round(ctx)
		if err == nil {
			return conn, nil
		}
		if !again || n == rounds-1 || !wait(ctx, roundPause<<n) {
			return nil, err
		}
	}
}

// round tries each address once. What could not be reached may be another time; what proved to be something else is not
// asked again.
func (c ConnectConfig) round(ctx context.Context) (conn *tls.Conn, again bool, err error) {
	config := clientTLS([]string{names.ALPNConnect}, c.Certificate, verifyProxy(c.Trust, c.Now, func(identity.Host) {}))
	for _, addr := range c.Addrs {
		if conn, err = c.try(ctx, addr, config); err == nil || ctx.Err() != nil {
			return conn, false, err
		}
		again = again || fault.Is(err, fault.Unreachable)
	}
	return nil, again, err
}

func (c ConnectConfig) try(ctx context.Context, addr string, config *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	return handshake(ctx, c.Dial, addr, config)
}

// wait reports whether the context still lasts after d.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// answered leaves refusals alone and says what a broken connection means to the user.
func answered(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return fault.New(fault.Unreachable, "the proxy closed the connection without an answer",
			"try again; log in again if it keeps happening").Because(err)
	}
	return fault.New(fault.Unreachable, "the connection to the proxy broke", "try again").Because(err)
}
