package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// InnerConfig is how a client speaks to the agent of a target, inside what a proxy splices.
type InnerConfig struct {
	Certificate *tls.Certificate  // the user's X.509 certificate and its TLS key
	Trust       document.Trust    // whose host-x509 keys the agent's certificate must come from
	Target      identity.Target   // target that the agent's certificate must allow it to serve
	Agents      []string          // ids that serve the target, according to the API; empty accepts any whose certificate does
	Use         map[string]string // how the target is used, by the kind's uses
	TraceID     string            // the client's own, for logs
	Now         func() time.Time  // nil is time.Now
}

// Inner finishes a second TLS handshake with the target's agent over conn, such as [DialConnect]'s, and has the use admitted.
// Only these two can read what then passes. It owns conn from here on. Refusals are faults, the agent's own too;
// the context bounds all of it.
func Inner(ctx context.Context, conn net.Conn, c InnerConfig) (*tls.Conn, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	inner := tls.Client(conn, clientTLS([]string{names.ALPNTarget}, c.Certificate, c.verify))
	err := inner.HandshakeContext(ctx)
	if err == nil {
		err = frame.Write(inner, &frame.Use{Use: c.Use, TraceId: c.TraceID})
	}
	if err == nil {
		err = frame.ReadAnswer(inner)
	}
	if err == nil {
		return inner, nil
	}
	_ = conn.Close()
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return nil, err
	}
	return nil, fault.Newf(fault.Unreachable, "try again; if it keeps happening, ask your administrator to check the agent's log",
		"the connection to %s broke", c.Target).Because(err)
}

// verify accepts an agent that may serve the target, and only a listed one when some are listed.
func (c InnerConfig) verify(s tls.ConnectionState) error {
	host, err := PeerHost(s, c.Trust, identity.KindAgent, c.Now())
	if err == nil && (!host.Serves(c.Target) || len(c.Agents) > 0 && !slices.Contains(c.Agents, host.ID)) {
		err = fault.Newf(fault.Unauthenticated, "", "agent %s doesn't serve it", host.ID)
	}
	if err != nil {
		return fault.Newf(fault.Unauthenticated, "log in again if the cluster's keys were rotated; otherwise something else is answering in its place",
			"what answers for %s could not prove that it serves it: %v", c.Target, err).Because(err)
	}
	return nil
}

// AcceptInner finishes the agent's side of [Inner] and returns which user is on the other. Whether the user may do what
// Use says is for the caller to decide, who then answers with frame.WriteOpen or frame.WriteRefusal.
func AcceptInner(ctx context.Context, conn net.Conn, certificate func() *tls.Certificate, state document.State, now time.Time) (*tls.Conn, identity.User, *x509.Certificate, error) {
	inner := tls.Server(conn, ServerTLS(certificate, names.ALPNTarget))
	if err := inner.HandshakeContext(ctx); err != nil {
		return nil, identity.User{}, nil, fmt.Errorf("finishing the inner TLS: %w", err)
	}
	if p := inner.ConnectionState().NegotiatedProtocol; p != names.ALPNTarget {
		return nil, identity.User{}, nil, fmt.Errorf("finishing the inner TLS: the client speaks %q", p)
	}
	user, cert, err := PeerUser(inner.ConnectionState(), state.Trust, now)
	return inner, user, cert, err
}
