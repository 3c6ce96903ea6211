package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stile-dev/stile/pkg/names"
)

// Silent peers: so many addresses of loopback hold so many connections each, and the honest ones' handshakes are compared
// with those of a quiet port.
const (
	silentAddresses = 64
	silentEach      = 32
	honest          = 400
)

// hushed compares the honest handshakes at the proxy's port beside silent peers with those without. The first figure is
// how long the slowest of a hundred takes in quiet, the second how many times that it takes beside the silent.
func hushed(ctx context.Context, s *system) ([]row, error) {
	quiet, err := s.handshakes(ctx)
	if err != nil {
		return nil, err
	}
	hush, stop := context.WithCancel(ctx)
	var silent sync.WaitGroup
	defer silent.Wait()
	defer stop()
	var held atomic.Int64
	for n := range silentAddresses {
		for kind := range silentEach {
			silent.Go(func() { s.silent(hush, n, kind, &held) })
		}
	}
	for held.Load() < silentAddresses*silentEach {
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
	beside, err := s.handshakes(ctx)
	if err != nil {
		return nil, fmt.Errorf("beside silent peers: %w", err)
	}
	what := fmt.Sprintf("the same beside %d silent connections of %d addresses", held.Load(), silentAddresses)
	return []row{
		{what: "handshake at the proxy, p99", unit: "ms", stile: sample{quiet.quantile(0.99)}},
		{what: what, unit: "times", stile: sample{beside.quantile(0.99) / quiet.quantile(0.99)}, budget: 3},
	}, nil
}

// handshakes measures honest ones, one after another, for a minute at most.
func (s *system) handshakes(ctx context.Context) (sample, error) {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{names.ALPNConnect}}}
	var took sample
	for n := range honest + honest/10 {
		began := time.Now()
		conn, err := d.DialContext(ctx, "tcp", s.user.Proxies[0])
		if err != nil {
			return nil, fmt.Errorf("handshake %d at the proxy: %w", n, err)
		}
		if n >= honest/10 { // the first warm up
			took = append(took, ms(time.Since(began)))
		}
		_ = conn.Close()
	}
	return took, nil
}

// silent keeps a connection from one of the addresses, and another when the proxy closes it, until the context ends.
// Those of a fourth each say nothing, begin a ClientHello, send one that is whole, or finish the handshake for the API.
func (s *system) silent(ctx context.Context, n, kind int, held *atomic.Int64) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n))}, Timeout: 10 * time.Second}
	first := true
	for ctx.Err() == nil {
		conn, err := from.DialContext(ctx, "tcp", s.user.Proxies[0])
		if err != nil {
			_ = sleep(ctx, 100*time.Millisecond)
			continue
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		if first {
			first = false
			held.Add(1)
		}
		s.hush(ctx, conn, kind%4)
		_, _ = io.Copy(io.Discard, conn)
		stop()
		_ = conn.Close()
	}
}

func (s *system) hush(ctx context.Context, conn net.Conn, kind int) {
	hello := &hello{Conn: conn}
	c := tls.Client(hello, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{names.ALPNAPI}})
	switch kind {
	case 0: // says nothing
	case 1, 2:
		hello.only = true
		_ = c.HandshakeContext(ctx)
		b := hello.said.Bytes()
		_, _ = conn.Write(b[:len(b)*kind/2])
	case 3:
		_ = c.HandshakeContext(ctx)
	}
}

// hello is a connection that may keep what it should send, and then ends.
type hello struct {
	net.Conn
	only bool
	said bytes.Buffer
}

func (h *hello) Write(p []byte) (int, error) {
	if h.only {
		return h.said.Write(p)
	}
	return h.Conn.Write(p)
}

func (h *hello) Read(p []byte) (int, error) {
	if h.only {
		return 0, io.EOF
	}
	return h.Conn.Read(p)
}
