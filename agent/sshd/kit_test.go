package sshd_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os/user"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/agent/cgroup"
	"github.com/stile-dev/stile/agent/decide"
	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/agent/sshd"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal keeps events in memory.
type journal struct {
	mu     sync.Mutex
	events []audit.Event
	full   error // of Room
	broken error // of Record
}

func (j *journal) Room() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full
}

func (j *journal) Scarce() bool { return false }

func (j *journal) Note(e audit.Event) error { return j.Record(e) }

func (j *journal) Record(e audit.Event) error {
	e.Cluster, e.Source = "c", "agent/a"
	if err := e.Validate(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	j.events = append(j.events, e)
	return nil
}

func (j *journal) of(kind audit.Type) []audit.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(j.events), func(e audit.Event) bool { return e.Type != kind })
}

// bench is a server on loopback and the cluster that it belongs to.
type bench struct {
	t        testing.TB
	cluster  *tunneltest.Cluster
	holder   *document.Holder
	server   *sshd.Server
	sessions *session.Register
	journal  *journal
	addr     string
	me       string
	source   atomic.Pointer[netip.AddrPort] // the hint that connections come with
}

func newBench(t testing.TB, changes ...func(*sshd.Config)) *bench {
	t.Helper()
	kept := &journal{}
	b := newBenchOn(t, kept, changes...)
	b.journal = kept
	return b
}

// newBenchOn makes a bench whose sessions are journaled elsewhere than in its own journal.
func newBenchOn(t testing.TB, kept session.Journal, changes ...func(*sshd.Config)) *bench {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, cluster: tunneltest.New(t), me: me.Username}
	source := netip.MustParseAddrPort("192.0.2.7:5555")
	b.source.Store(&source)
	node, credential := b.cluster.Agent(nil, "web-1")
	b.holder = b.cluster.Holder()
	self := func() identity.Host { return node }
	records, _ := kept.(session.Records) // a journal that keeps recordings too
	b.sessions = session.New(session.Config{
		Gate: decide.New(decide.Config{Documents: b.holder, Host: self}), Journal: kept, Records: records, Host: self, Cages: cages{},
	})
	config := sshd.Config{HostKey: credential.Signer, Documents: b.holder, Sessions: b.sessions}
	for _, change := range changes {
		change(&config)
	}
	b.server = sshd.New(config)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = l.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				b.server.Serve(t.Context(), c, session.Hint{Target: identity.Target{Kind: "node", Name: "web-1"}, Source: *b.source.Load()})
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return b
}

// cages hold sessions as the agent's do on a machine that has no cgroup for it.
type cages struct{}

func (cages) New(name string) (session.Cage, error) { return cgroup.NewKin(name) }

// user is somebody who may log in as whoever runs the test.
func (b *bench) user() tunneltest.Credential {
	return b.cluster.User(tunneltest.User{Logins: []string{b.me}})
}

func signer(t testing.TB, c tunneltest.Credential) ssh.Signer {
	t.Helper()
	s, err := c.Signer()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// try logs in with these signers and gives what the server said before.
func (b *bench) try(login string, signers ...ssh.Signer) (*ssh.Client, string, error) {
	var banner bytes.Buffer
	c, err := ssh.Dial("tcp", b.addr, &ssh.ClientConfig{
		User: login, Auth: []ssh.AuthMethod{ssh.PublicKeys(signers...)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		HostKeyAlgorithms: []string{ssh.CertAlgoECDSA256v01},
		BannerCallback:    func(s string) error { banner.WriteString(s); return nil },
	})
	if err == nil {
		b.t.Cleanup(func() { _ = c.Close() })
	}
	return c, banner.String(), err
}

func (b *bench) login() *ssh.Client {
	b.t.Helper()
	c, banner, err := b.try(b.me, signer(b.t, b.user()))
	if err != nil {
		b.t.Fatalf("%v; banner %q", err, banner)
	}
	return c
}

func open(t testing.TB, c *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// run runs a command and gives what it wrote and how it ended.
func run(t testing.TB, c *ssh.Client, command string) (stdout, stderr string, status int) {
	t.Helper()
	s := open(t, c)
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr = &out, &errs
	err := s.Run(command)
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		return out.String(), errs.String(), exit.ExitStatus()
	}
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out.String(), errs.String(), 0
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
