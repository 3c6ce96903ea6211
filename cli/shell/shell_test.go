package shell_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/cli/shell"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// place is a proxy and, behind it, a node: what a client meets on the wire.
type place struct {
	cluster *tunneltest.Cluster
	edge    tunneltest.Credential // what the proxy shows
	host    ssh.Signer            // what the node shows
	refuse  error                 // the proxy's refusal, if any
	refuses int                   // how often it refuses; 0 is always
	banner  string
	full    string // why the node opens no session; "" opens each
	handle  func(ch ssh.Channel, command string) uint32
	asked   chan *frame.ConnectRequest
	served  atomic.Int32
}

func newPlace(t *testing.T) *place {
	t.Helper()
	c := tunneltest.New(t)
	p := &place{cluster: c, asked: make(chan *frame.ConnectRequest, 64)}
	_, p.edge = c.Proxy()
	_, node := c.Agent(nil, "node-1")
	var err error
	if p.host, err = node.Signer(); err != nil {
		t.Fatal(err)
	}
	p.handle = func(ch ssh.Channel, command string) uint32 {
		_, _ = io.Copy(ch, ch)
		_, _ = io.WriteString(ch.Stderr(), "ran "+command)
		return 7
	}
	return p
}

// signalled is what handle gives when the command has no exit status.
const signalled = 1 << 20

// listen serves the place and gives its address.
func (p *place) listen(t *testing.T) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", tunnel.ServerTLS(func() *tls.Certificate { return p.edge.TLS }, names.ALPNConnect))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	return l.Addr().String()
}

func (p *place) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var req frame.ConnectRequest
	if frame.Read(conn, &req) != nil {
		return
	}
	p.asked <- &req
	if n := p.served.Add(1); p.refuse != nil && (p.refuses == 0 || int(n) <= p.refuses) {
		_ = frame.WriteRefusal(conn, p.refuse)
		return
	}
	if frame.WriteOpen(conn) != nil {
		return
	}
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			cert, _ := key.(*ssh.Certificate)
			_, err := certs.VerifySSHUser(cert, p.cluster.Holder().Trust().CA(names.KeyUserSSH),
				certs.SSHUse{Login: c.User(), Source: netip.MustParseAddr("127.0.0.1"), Now: time.Now()})
			return nil, err
		},
		BannerCallback: func(ssh.ConnMetadata) string { return p.banner },
	}
	config.AddHostKey(p.host)
	_, chans, reqs, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	for nc := range chans {
		if p.full != "" {
			_ = nc.Reject(ssh.ResourceShortage, p.full)
			continue
		}
		ch, in, err := nc.Accept()
		if err != nil {
			return
		}
		go p.session(ch, in)
	}
}

func (p *place) session(ch ssh.Channel, in <-chan *ssh.Request) {
	for r := range in {
		_ = r.Reply(r.Type == "exec" || r.Type == "shell" || r.Type == "pty-req", nil)
		if r.Type != "exec" {
			continue
		}
		var command struct{ Text string }
		_ = ssh.Unmarshal(r.Payload, &command)
		go func() {
			status := p.handle(ch, command.Text)
			if status != signalled {
				_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ N uint32 }{status}))
			}
			_ = ch.Close()
		}()
	}
}

// config is ada's, who may be ada on the nodes.
func (p *place) config(proxies ...string) shell.Config {
	u := p.cluster.User(tunneltest.User{})
	return shell.Config{
		Node: "node-1", Login: "ada", SSHKey: u.SSHKey, SSHCertificate: u.SSHCert.Marshal(),
		TLSKey: tlsKey(u), TLSCertificate: u.TLS.Certificate[0],
		Trust: p.cluster.Holder().Trust(), Proxies: proxies, Timeout: 10 * time.Second,
	}
}

func dial(t *testing.T, c shell.Config) (*ssh.Client, error) {
	t.Helper()
	client, err := shell.Dial(t.Context(), c)
	if err == nil {
		t.Cleanup(func() { _ = client.Close() })
	}
	return client, err
}

func TestACommandGetsItsStreamsAndGivesItsStatus(t *testing.T) {
	p := newPlace(t)
	client, err := dial(t, p.config(p.listen(t)))
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	status, err := shell.Run(context.Background(), client, shell.Request{
		Command: "the command", In: strings.NewReader("a\x00b\xff"), Out: &out, Err: &errs,
	})
	if err != nil || status != 7 || out.String() != "a\x00b\xff" || errs.String() != "ran the command" {
		t.Errorf("got %d, %v, %q, %q", status, err, out.String(), errs.String())
	}
	if req := <-p.asked; req.GetTarget().GetName() != "node-1" || req.GetTarget().GetKind() != "node" || req.GetTraceId() == "" {
		t.Errorf("asked for %v", req)
	}
}

func TestASignalsStatusIsAsShellsSayIt(t *testing.T) {
	for name, want := range map[string]int{"KILL": 137, "USR1": 138, "BUS@stile.dev": 135, "ended@stile.dev": 255, "other@example.com": 128} {
		p := newPlace(t)
		p.handle = func(ch ssh.Channel, _ string) uint32 {
			_, _ = ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Name      string
				Core      bool
				Text, Tag string
			}{name, false, "", ""}))
			return signalled
		}
		client, err := dial(t, p.config(p.listen(t)))
		if err != nil {
			t.Fatal(err)
		}
		status, err := shell.Run(context.Background(), client, shell.Request{Command: "x", In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
		if err != nil || status != want {
			t.Errorf("%s: got %d, %v", name, status, err)
		}
	}
}

func TestANodeThatOpensNoSessionIsNotALostConnection(t *testing.T) {
	p := newPlace(t)
	p.full = "stile: too many sessions on one connection"
	client, err := dial(t, p.config(p.listen(t)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = shell.Run(context.Background(), client, shell.Request{Command: "x", In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	if f := fault.From(err); f.Code != fault.Denied || f.Message != "the node refused a session: too many sessions on one connection" || f.Hint == "" {
		t.Errorf("got %v: %v", f.Code, err)
	}
}

// full takes some bytes and then none.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	n := min(len(p), f.left)
	f.left -= n
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func TestOutputThatCannotBeWrittenEndsTheSessionWithItsCause(t *testing.T) {
	for name, streams := range map[string]struct{ out, err io.Writer }{
		"output":       {&full{10}, io.Discard},
		"error output": {io.Discard, &full{10}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.handle = func(ch ssh.Channel, _ string) uint32 {
				for err := error(nil); err == nil; { // more than any window holds: it ends when the client hangs up
					_, err = ch.Write(make([]byte, 32<<10))
					_, _ = ch.Stderr().Write(make([]byte, 1<<10))
				}
				return 0
			}
			client, err := dial(t, p.config(p.listen(t)))
			if err != nil {
				t.Fatal(err)
			}
			_, err = shell.Run(t.Context(), client, shell.Request{Command: "x", In: strings.NewReader(""), Out: streams.out, Err: streams.err})
			if f := fault.From(err); f == nil || !errors.Is(err, syscall.ENOSPC) || f.Message != "the command's "+name+" can't be written on this machine: no space left on device" || f.Hint == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestALostConnectionIsNoStatus(t *testing.T) {
	p := newPlace(t)
	var client *ssh.Client
	p.handle = func(ssh.Channel, string) uint32 {
		_ = client.Close()
		return 0
	}
	client, err := dial(t, p.config(p.listen(t)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = shell.Run(context.Background(), client, shell.Request{Command: "x", In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	if !fault.Is(err, fault.Unreachable) {
		t.Errorf("got %v", err)
	}
}

func TestTheProxysRefusalIsTold(t *testing.T) {
	p := newPlace(t)
	p.refuse = fault.New(fault.Denied, "your roles do not reach node-1", "ask for one that does")
	_, err := dial(t, p.config(p.listen(t)))
	if f := fault.From(err); f.Code != fault.Denied || f.Message != "your roles do not reach node-1" || f.Hint != "ask for one that does" {
		t.Errorf("got %v %q %q", f.Code, f.Message, f.Hint)
	}
}

func TestSec_S01_OnlyTheClustersCertificateForThisNodeIsTakenForIt(t *testing.T) {
	for name, show := range map[string]func(*testing.T, *place) ssh.Signer{
		"another node's certificate": func(t *testing.T, p *place) ssh.Signer {
			_, other := p.cluster.Agent(nil, "node-2")
			return signer(t, other)
		},
		"another cluster's certificate for the name": func(t *testing.T, _ *place) ssh.Signer {
			_, other := tunneltest.New(t).Agent(nil, "node-1")
			return signer(t, other)
		},
		"a user's certificate": func(t *testing.T, p *place) ssh.Signer {
			return signer(t, p.cluster.User(tunneltest.User{Logins: []string{"node-1"}}))
		},
		"a bare key": func(t *testing.T, _ *place) ssh.Signer {
			s, err := ssh.NewSignerFromSigner(tunneltest.Key(t))
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"a certificate signed by a certificate that embeds the authority's key": signedByCertificate,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.host = show(t, p)
			if _, err := dial(t, p.config(p.listen(t))); err == nil {
				t.Error("it was taken for node-1")
			}
		})
	}
}

func TestSec_S17_OnlyAProxysCertificateIsTakenForAProxy(t *testing.T) {
	for name, show := range map[string]func(*place) tunneltest.Credential{
		"an agent's": func(p *place) tunneltest.Credential { _, a := p.cluster.Agent(nil, "node-1"); return a },
		"a user's":   func(p *place) tunneltest.Credential { return p.cluster.User(tunneltest.User{}) },
		"another cluster's proxy's": func(*place) tunneltest.Credential {
			_, x := tunneltest.New(t).Proxy()
			return x
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.edge = show(p)
			_, err := dial(t, p.config(p.listen(t)))
			if err == nil {
				t.Fatal("it was taken for a proxy")
			}
			select {
			case req := <-p.asked:
				t.Errorf("it was told what is wanted: %v", req)
			default:
			}
		})
	}
}
