package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// turn is a connection whose handshake takes turns with those of others, so that a crowd is served one after another
// instead of all too late. It holds a turn only while it computes: from when the whole ClientHello has been read, and
// not while it waits for the other side to send or to take something. So silence holds up nobody, at whatever point.
type turn struct {
	net.Conn
	ctx context.Context
	own chan struct{} // the source's turns
	all chan struct{} // everybody's

	begun, held bool // only the handshake touches them
}

// handshake finishes TLS on the connection.
func (e *Edge) handshake(ctx context.Context, t *turn) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.config.Limits.Time)
	defer cancel()
	t.ctx, t.all = ctx, e.turns
	c := tls.Server(t, e.tls)
	err := c.HandshakeContext(ctx)
	t.yield()
	t.begun = false
	if err != nil {
		return nil, fmt.Errorf("finishing TLS: %w", err)
	}
	return c, nil
}

// paced has each handshake begin its turns once its ClientHello was read.
func paced(c *tls.Config) *tls.Config {
	paced := c.Clone()
	paced.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if t, ok := hello.Conn.(*turn); ok {
			t.begun = true
			if err := t.take(); err != nil {
				return nil, err
			}
		}
		if c.GetConfigForClient != nil {
			return c.GetConfigForClient(hello)
		}
		return nil, nil
	}
	return paced
}

// take waits for a turn: first among those of the same source, so that one source's crowd waits for itself.
func (t *turn) take() error {
	select {
	case t.own <- struct{}{}:
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
	select {
	case t.all <- struct{}{}:
	case <-t.ctx.Done():
		<-t.own
		return t.ctx.Err()
	}
	t.held = true
	return nil
}

func (t *turn) yield() {
	if t.held {
		t.held = false
		<-t.all
		<-t.own
	}
}

// Read yields while it waits.
func (t *turn) Read(p []byte) (int, error) {
	if !t.begun {
		return t.Conn.Read(p)
	}
	t.yield()
	n, err := t.Conn.Read(p)
	if err == nil {
		err = t.take()
	}
	return n, err
}

// Write yields while it waits: a peer may take nothing.
func (t *turn) Write(p []byte) (int, error) {
	if !t.begun {
		return t.Conn.Write(p)
	}
	t.yield()
	n, err := t.Conn.Write(p)
	if err == nil {
		err = t.take()
	}
	return n, err
}
