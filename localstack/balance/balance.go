// Package balance is the network load balancer: TCP pass-through from public ports to healthy targets, with
// version 2 of the PROXY protocol in front where the target group asks for it.
//
// It must not know what it carries, and runs as its own process, so that connections outlive the local
// AWS. Its entry point is [Run].
package balance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Listener is one public port and where its connections go.
type Listener struct {
	Listen        string   `json:"listen"`         // host:port
	Targets       []string `json:"targets"`        // host:port each
	ProxyProtocol bool     `json:"proxy_protocol"` // send a version 2 header first
}

// Layout is the balancer's configuration file.
type Layout struct {
	Listeners []Listener `json:"listeners"`
	Late      Late       `json:"late"`
}

// Late is how long the balancer goes on as before when its targets change: a new target gets no connection before
// Register has passed, and one that is gone still gets its share until Deregister has.
type Late struct {
	Register   time.Duration `json:"register_ns"`
	Deregister time.Duration `json:"deregister_ns"`
}

// Write replaces the configuration file; a running balancer sees it at its next look.
func (l Layout) Write(path string) error {
	raw, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the balancer's configuration: %w", err)
	}
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		return fmt.Errorf("writing the balancer's configuration: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing the balancer's configuration: %w", err)
	}
	return nil
}

func parse(raw []byte) (Layout, error) {
	var l Layout
	if err := json.Unmarshal(raw, &l); err != nil {
		return Layout{}, fmt.Errorf("reading the balancer's configuration: %w", err)
	}
	return l, nil
}

// Reread is how often the configuration file is looked at.
const Reread = 300 * time.Millisecond

const (
	probe     = time.Second // between health checks of a target
	dialLimit = 3 * time.Second
)

// Run serves the configuration file until ctx ends, following its changes: new ports are opened, left ones
// closed; a change never cuts existing connections.
func Run(ctx context.Context, path string, log *slog.Logger) error {
	ports := map[string]*port{}
	defer func() {
		for _, p := range ports {
			p.close()
		}
	}()
	tick := time.NewTicker(Reread)
	defer tick.Stop()
	var seen []byte
	for {
		// The bytes are compared, because two writes may fall into one tick of the file system's clock.
		raw, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading the balancer's configuration: %w", err)
		}
		if first := seen == nil; first || !bytes.Equal(raw, seen) {
			seen = raw
			layout, err := parse(raw)
			if err == nil {
				err = apply(ports, layout, first, log)
			}
			if err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// apply opens and closes ports, and changes their targets. What the balancer finds when it starts was registered with the
// one before.
func apply(ports map[string]*port, layout Layout, first bool, log *slog.Logger) error {
	wanted := map[string]bool{}
	for _, l := range layout.Listeners {
		wanted[l.Listen] = true
		p := ports[l.Listen]
		if p == nil {
			listener, err := net.Listen("tcp", l.Listen)
			if err != nil {
				return fmt.Errorf("opening the balancer's port: %w", err)
			}
			p = newPort(listener.(*net.TCPListener), log)
			ports[l.Listen] = p
			log.Info("Opened a port", "listen", l.Listen)
		}
		late := layout.Late
		if first {
			late = Late{}
		}
		p.set(l, late)
	}
	for listen, p := range ports {
		if !wanted[listen] {
			p.close()
			delete(ports, listen)
			log.Info("Closed a port", "listen", listen)
		}
	}
	return nil
}

// port is one open listener. Its targets are replaced as a whole.
type port struct {
	listener *net.TCPListener
	log      *slog.Logger
	next     atomic.Uint32
	cancel   context.CancelFunc
	ctx      context.Context // of the port's own goroutines

	mu      sync.Mutex
	config  Listener
	members members
	healthy map[string]bool
}

func newPort(listener *net.TCPListener, log *slog.Logger) *port {
	ctx, cancel := context.WithCancel(context.Background())
	p := &port{listener: listener, log: log, ctx: ctx, cancel: cancel, members: members{}, healthy: map[string]bool{}}
	go p.accept()
	go p.check()
	return p
}

func (p *port) close() {
	p.cancel()
	_ = p.listener.Close()
}

func (p *port) set(l Listener, late Late) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config = l
	p.members.change(l.Targets, late, time.Now())
}

func (p *port) accept() {
	for {
		client, err := p.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.log.Error("A connection could not be accepted", "cause", err)
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		go p.serve(client)
	}
}

// serve carries one connection to the first target that takes it.
func (p *port) serve(client *net.TCPConn) {
	defer func() { _ = client.Close() }()
	targets, header := p.route(client)
	for _, target := range targets {
		upstream, err := net.DialTimeout("tcp", target, dialLimit)
		if err != nil {
			p.mark(target, false)
			continue
		}
		defer func() { _ = upstream.Close() }()
		if _, err := upstream.Write(header); err != nil {
			return
		}
		splice(client, upstream.(*net.TCPConn))
		return
	}
	_ = client.SetLinger(0) // a reset, as a balancer without targets gives
}

// route lists the targets in the order in which to try them: round robin over the healthy ones, and, as an
// NLB does, over all of them if none is healthy. Whoever is sent to a target that is gone has no other.
func (p *port) route(client *net.TCPConn) (targets []string, header []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var spare []string
	here, gone := p.members.serving(time.Now())
	for _, target := range here {
		if p.healthy[target] {
			targets = append(targets, target)
		} else {
			spare = append(spare, target)
		}
	}
	if n := len(targets) + len(gone); n > 0 {
		first := int(p.next.Add(1) % uint32(n))
		if first >= len(targets) {
			targets, spare = gone[first-len(targets):][:1], nil
		} else {
			targets = slices.Concat(targets[first:], targets[:first])
		}
	}
	if p.config.ProxyProtocol {
		header = ProxyHeader(addrPort(client.RemoteAddr()), addrPort(client.LocalAddr()))
	}
	return append(targets, spare...), header
}

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// splice copies both ways until both sides have ended. The end of one direction is passed on as a half
// close; io.Copy between two TCP connections stays inside the kernel where splice(2) exists.
func splice(a, b *net.TCPConn) {
	var both sync.WaitGroup
	one := func(dst, src *net.TCPConn) {
		if _, err := io.Copy(dst, src); err != nil {
			_ = dst.Close()
			_ = src.Close()
			return
		}
		_ = dst.CloseWrite()
	}
	both.Go(func() { one(a, b) })
	both.Go(func() { one(b, a) })
	both.Wait()
}

// check connects to every target again and again; one that doesn't accept the connection gets none.
func (p *port) check() {
	tick := time.NewTicker(probe)
	defer tick.Stop()
	for {
		p.mu.Lock()
		targets, withHeader := p.config.Targets, p.config.ProxyProtocol
		p.mu.Unlock()
		for _, target := range targets {
			conn, err := net.DialTimeout("tcp", target, probe)
			if err == nil {
				if withHeader {
					_, err = conn.Write(LocalHeader())
				}
				_ = conn.Close()
			}
			p.mark(target, err == nil)
		}
		select {
		case <-p.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *port) mark(target string, healthy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was, known := p.healthy[target]; was != healthy || !known {
		p.log.Info("A target's health changed", "target", target, "healthy", healthy)
	}
	p.healthy[target] = healthy
}
