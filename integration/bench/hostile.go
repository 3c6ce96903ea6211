package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/integration/proc"
	"github.com/stile-dev/stile/pkg/names"
)

// attacks are what hostile peers do to the proxy's port and, with a user's certificate, to the agent's SSH server: the
// incidents S13 and S16 of docs/security.md. None may succeed; what an attack meets is up to those attacked.
func (s *system) attacks() map[string]func(context.Context) {
	return map[string]func(context.Context){
		"half-open":  s.halfOpen,
		"protocols":  s.protocols,
		"no name":    s.nameless,
		"bad banner": func(ctx context.Context) { s.raw(ctx, []byte("SSH-2.0-x\r\n\xff\xff\xff\xff"), 1<<20) },
		"half KEX":   func(ctx context.Context) { s.raw(ctx, []byte("SSH-2.0-x\r\n"), 0) },
		"guesses":    s.guesses,
		"channels":   s.channels,
		"requests":   s.requests,
		"unread":     s.unread,
	}
}

// besiege lets every attack run in a loop of its own, and gives how much agent and proxy grew by after the first
// quarter, which fills what is there to be filled.
func besiege(ctx context.Context, s *system, w ways, long time.Duration) ([]row, error) {
	var stop atomic.Bool
	var wait sync.WaitGroup
	var done atomic.Int64
	defer wait.Wait()
	defer stop.Store(true)
	for _, attack := range s.attacks() {
		wait.Go(func() {
			for !stop.Load() {
				one, cancel := context.WithTimeout(ctx, 10*time.Second)
				attack(one)
				cancel()
				done.Add(1)
			}
		})
	}
	if err := sleep(ctx, long/4); err != nil {
		return nil, err
	}
	before, err := heldBy(w.stile)
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, long-long/4); err != nil {
		return nil, err
	}
	after, err := heldBy(w.stile)
	if err != nil {
		return nil, fmt.Errorf("it did not survive: %w", err)
	}
	stop.Store(true)
	wait.Wait()
	if err := sleep(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	end, err := heldBy(w.stile)
	if err != nil {
		return nil, err
	}
	if _, err := connect(ctx, w.stile); err != nil {
		return nil, fmt.Errorf("after the hostile run nobody gets in: %w", err)
	}
	what := fmt.Sprintf("hostile peers for %s (%d): ", long, done.Load())
	return []row{
		{what: what + "agent grew by", unit: "MiB", stile: sample{after.agent - before.agent}, budget: 64},
		{what: what + "proxy grew by", unit: "MiB", stile: sample{after.proxy - before.proxy}, budget: 64},
		{what: "agent's open files after that", unit: "", stile: sample{float64(end.agentFiles)}},
		{what: "proxy's open files after that", unit: "", stile: sample{float64(end.proxyFiles)}},
	}, nil
}

// held is the resident memory, in MiB, and the open files of agent and proxy.
type held struct {
	agent, proxy           float64
	agentFiles, proxyFiles int
}

func heldBy(w *way) (held, error) {
	var h held
	for pid, to := range map[int]struct {
		memory *float64
		files  *int
	}{w.pid: {&h.agent, &h.agentFiles}, w.aside: {&h.proxy, &h.proxyFiles}} {
		m, err := proc.MemoryOf(pid)
		if err != nil {
			return h, err
		}
		*to.memory = m.Resident
		if *to.files, err = proc.FilesOf(pid); err != nil {
			return h, err
		}
	}
	return h, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// halfOpen begins a ClientHello and goes.
func (s *system) halfOpen(ctx context.Context) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.user.Proxies[0])
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"))
	_ = sleep(ctx, 20*time.Millisecond)
}

// protocols asks for what is not spoken, and tunnels without a certificate.
func (s *system) protocols(ctx context.Context) {
	for _, protocol := range []string{"junk/1", names.ALPNPeer, names.ALPNTunnel, names.ALPNAPI, "h2"} {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}}
		conn, err := d.DialContext(ctx, "tcp", s.user.Proxies[0])
		if err != nil {
			continue
		}
		_, _ = conn.Write(bytes.Repeat([]byte{0xff}, 4<<10))
		_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = io.CopyN(io.Discard, conn, 1<<10)
		_ = conn.Close()
	}
}

// nameless connects without a certificate and sends frames that are none.
func (s *system) nameless(ctx context.Context) {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{names.ALPNConnect}}}
	if conn, err := d.DialContext(ctx, "tcp", s.user.Proxies[0]); err == nil {
		_, _ = conn.Write([]byte{0, 0xff, 0xff, 0xff})
		_ = conn.Close()
	}
}

// raw sends bytes where SSH begins, then junk, and goes.
func (s *system) raw(ctx context.Context, begin []byte, junk int) {
	conn, err := s.connect(ctx, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = conn.Write(begin)
	_, _ = conn.Read(make([]byte, 512))
	if junk > 0 {
		_, _ = conn.Write(make([]byte, junk))
	}
}

// guesses offers keys that nobody knows.
func (s *system) guesses(ctx context.Context) {
	conn, err := s.connect(ctx, nil)
	if err != nil {
		return
	}
	config := s.config()
	config.Auth = []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		var out []ssh.Signer
		for range 12 {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return nil, err
			}
			signer, err := ssh.NewSignerFromKey(key)
			if err != nil {
				return nil, err
			}
			out = append(out, signer)
		}
		return out, nil
	})}
	if c, err := handshake(conn, config); err == nil {
		_ = c.Close()
	}
}

// channels opens what is refused, hundreds of times, and leaves without a word.
func (s *system) channels(ctx context.Context) {
	c, err := s.dial(ctx, nil)
	if err != nil {
		return
	}
	defer c.Close()
	kinds := []string{"direct-tcpip", "x11", "auth-agent@openssh.com", "no-such"}
	for i := range 400 {
		if channel, _, err := c.OpenChannel(kinds[i%len(kinds)], bytes.Repeat([]byte("x"), 4000)); err == nil {
			_ = channel.Close()
		}
	}
}

// requests sends junk as requests of connection and session, and sessions up to the cap.
func (s *system) requests(ctx context.Context) {
	c, err := s.dial(ctx, nil)
	if err != nil {
		return
	}
	defer c.Close()
	kinds := []string{"env", "pty-req", "window-change", "signal", "exec", "subsystem", "x11-req", "auth-agent-req@openssh.com", "junk"}
	for i := range 80 {
		_, _, _ = c.SendRequest("tcpip-forward", i%2 == 0, []byte{0xff, 0xff, 0xff, 0xff})
		channel, requests, err := c.OpenChannel("session", nil)
		if err != nil {
			continue
		}
		go ssh.DiscardRequests(requests)
		for n := range 20 {
			_, _ = channel.SendRequest(kinds[n%len(kinds)], n%2 == 0, []byte{0xff, 0xff, 0xff, 0xff, byte(n)})
		}
	}
}

// unread has a command write more than anybody reads, and goes.
func (s *system) unread(ctx context.Context) {
	c, err := s.dial(ctx, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for range 4 {
		channel, requests, err := c.OpenChannel("session", nil)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		_, _ = channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"exec head -c 8388608 /dev/zero"}))
	}
	_ = sleep(ctx, 50*time.Millisecond)
}
