package sshd_test

import (
	"bytes"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// BenchmarkHostile is the long run of security case S13, in one process so that goroutines can be counted: peers that
// leave in the middle, guess, open what is refused and send junk, for as long as -benchtime says. It reports what of
// memory and goroutines stays.
func BenchmarkHostile(b *testing.B) {
	x := newBench(b)
	good := signer(b, x.user())
	bad := signer(b, tunneltest.New(b).User(tunneltest.User{Logins: []string{x.me}}))
	idle := func() { until(b, "the connections gone", func() bool { return x.sessions.Users() == 0 }) }
	round := func() {
		leaveInTheMiddle(b, x.addr)
		if c, err := dial(x, bad); err == nil {
			_ = c.Close()
			b.Fatal("a stranger was let in")
		}
		c, err := dial(x, good)
		if err != nil {
			b.Fatal(err)
		}
		misbehave(b, c)
		_ = c.Close()
	}
	round()
	idle()
	goroutines, heap := runtime.NumGoroutine(), inUse()
	for b.Loop() {
		round()
	}
	idle()
	until(b, "the goroutines gone", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines-more")
	b.ReportMetric(float64(inUse()-heap)/(1<<20), "MiB-more")
}

// dial logs in and leaves closing to the caller, so that the benchmark itself holds nothing of what it opened.
func dial(x *bench, with ssh.Signer) (*ssh.Client, error) {
	return ssh.Dial("tcp", x.addr, &ssh.ClientConfig{
		User: x.me, Auth: []ssh.AuthMethod{ssh.PublicKeys(with)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		HostKeyAlgorithms: []string{ssh.CertAlgoECDSA256v01},
	})
}

// leaveInTheMiddle sends a version and half a packet.
func leaveInTheMiddle(b *testing.B, addr string) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("SSH-2.0-x\r\n\x00\x00\x7f\xff"))
}

// misbehave asks for what is refused and sends requests that mean nothing.
func misbehave(b *testing.B, c *ssh.Client) {
	for i := range 20 {
		kind := []string{"direct-tcpip", "x11", "auth-agent@openssh.com", "no-such"}[i%4]
		if _, _, err := c.OpenChannel(kind, bytes.Repeat([]byte("x"), 1000)); err == nil {
			b.Fatalf("a channel of type %s was opened", kind)
		}
		_, _, _ = c.SendRequest("tcpip-forward", i%2 == 0, nil)
	}
	channel, requests, err := c.OpenChannel("session", nil)
	if err != nil {
		b.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	for i := range 40 {
		kind := []string{"env", "pty-req", "window-change", "signal", "exec", "subsystem", "junk"}[i%7]
		if ok, _ := channel.SendRequest(kind, i%2 == 0, []byte{0xff, 0xff, 0xff, 0xff, byte(i)}); ok {
			b.Fatalf("%s with junk was granted", kind)
		}
	}
}
