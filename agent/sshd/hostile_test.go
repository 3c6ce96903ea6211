package sshd_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/agent/spool"
	"github.com/stile-dev/stile/agent/sshd"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// TestSec_S01_ForgedAuthority: a certificate whose signature key is itself a certificate that embeds the
// authority's key (CVE-2025-49825), one and two levels deep.
func TestSec_S01_ForgedAuthority(t *testing.T) {
	b := newBench(t)
	own := b.user()
	ca, err := ssh.NewPublicKey(b.cluster.Keys[names.KeyUserSSH].Public())
	if err != nil {
		t.Fatal(err)
	}
	embed := func(by ssh.PublicKey) *ssh.Certificate {
		return &ssh.Certificate{
			Key: ca, CertType: ssh.UserCert, ValidPrincipals: []string{b.me}, ValidBefore: ssh.CertTimeInfinity,
			SignatureKey: by, Signature: &ssh.Signature{Format: ssh.KeyAlgoECDSA256, Blob: []byte{1}},
		}
	}
	one := embed(ca)
	for name, authority := range map[string]ssh.PublicKey{"one level": one, "two levels": embed(one)} {
		t.Run(name, func(t *testing.T) {
			forged := *own.SSHCert
			forged.SignatureKey = authority
			key, err := ssh.NewSignerFromSigner(own.SSHKey)
			if err != nil {
				t.Fatal(err)
			}
			s, err := ssh.NewCertSigner(&forged, key)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := b.try(b.me, s); err == nil {
				t.Error("let in")
			}
		})
	}
}

// TestSec_S02_IdentityIsTheProvenKey: a client offers the victim's certificate, which the server accepts to be
// proven, can't prove it, and logs in with its own on the same connection (CVE-2024-45337). Session and audit
// are its own. OpenSSH goes on after an agent refused to sign; x/crypto's client doesn't.
func TestSec_S02_IdentityIsTheProvenKey(t *testing.T) {
	b := newBench(t)
	victim := b.cluster.User(tunneltest.User{Identity: identity.User{Name: "victim", UID: "usr_ffffffffffffffff"}, Logins: []string{b.me}})
	attacker := b.cluster.User(tunneltest.User{Identity: identity.User{Name: "mallory"}, Logins: []string{b.me}})
	keys := &thief{Agent: agent.NewKeyring(), victim: victim.SSHCert}
	if err := keys.Add(agent.AddedKey{PrivateKey: attacker.SSHKey, Certificate: attacker.SSHCert}); err != nil {
		t.Fatal(err)
	}
	out, errs := openSSH(t, b, keys, "echo $STILE_USER")
	if out != "mallory\n" || !keys.asked.Load() {
		t.Errorf("the session is %q's; the victim's key was asked for: %v\n%s", out, keys.asked.Load(), errs)
	}
	until(t, "the end in the journal", func() bool { return len(b.journal.of(audit.SessionEnd)) == 1 })
	if e := b.journal.of(audit.SessionStart)[0]; e.Actor != "user/mallory" || e.Data["certificate"] != attacker.SSHCert.KeyId {
		t.Errorf("recorded as %+v", e)
	}
	if _, _, err := b.try(b.me, mixed{signer(t, attacker), victim.SSHCert}); err == nil {
		t.Error("a signature of another key was taken")
	}
}

// thief is an ssh-agent that also lists a victim's certificate, whose key it lacks.
type thief struct {
	agent.Agent
	victim *ssh.Certificate
	asked  atomic.Bool
}

func (a *thief) List() ([]*agent.Key, error) {
	own, err := a.Agent.List()
	stolen := &agent.Key{Format: a.victim.Type(), Blob: a.victim.Marshal(), Comment: "victim"}
	return append([]*agent.Key{stolen}, own...), err
}

func (a *thief) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	if bytes.Equal(key.Marshal(), a.victim.Marshal()) {
		a.asked.Store(true)
		return nil, errors.New("not mine")
	}
	return a.Agent.Sign(key, data)
}

// openSSH runs a command with OpenSSH's client and an ssh-agent.
func openSSH(t *testing.T, b *bench, keys agent.Agent, command string) (stdout, stderr string) {
	t.Helper()
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal("no ssh; install it with: apt-get install openssh-client")
	}
	dir, err := os.MkdirTemp("", "stile") // short: the path of a socket has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { _ = agent.ServeAgent(keys, c); _ = c.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	host, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentityFile=none",
		"-o", "PreferredAuthentications=publickey", "-o", "BatchMode=yes", "-o", "IdentityAgent="+filepath.Join(dir, "a"), "-p", port, "-l", b.me, host, command)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String()
}

// mixed offers one key and proves another: the certificate of a victim, the signature of an attacker.
type mixed struct {
	ssh.Signer
	offered ssh.PublicKey
}

func (m mixed) PublicKey() ssh.PublicKey { return m.offered }

func (m mixed) SignWithAlgorithm(r io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	return m.Signer.(ssh.AlgorithmSigner).SignWithAlgorithm(r, data, algorithm)
}

// TestSec_S03_SourceAddress: a certificate that is pinned to an address is held against the hint, and refused
// without one.
func TestSec_S03_SourceAddress(t *testing.T) {
	b := newBench(t)
	pinned := func(source string) ssh.Signer {
		return signer(t, b.cluster.User(tunneltest.User{Identity: identity.User{SourceAddress: source}, Logins: []string{b.me}}))
	}
	if _, _, err := b.try(b.me, pinned("192.0.2.7")); err != nil {
		t.Errorf("from its address: %v", err)
	}
	if _, banner, err := b.try(b.me, pinned("198.51.100.1")); err == nil || !strings.Contains(banner, "pinned") {
		t.Errorf("from another: %v, %q", err, banner)
	}
	b.source.Store(&netip.AddrPort{})
	if _, _, err := b.try(b.me, pinned("192.0.2.7")); err == nil {
		t.Error("let in without an address")
	}
}

// TestSec_S04_NoSecondWayIn: the only method is a certificate, and nothing succeeds partially.
func TestSec_S04_NoSecondWayIn(t *testing.T) {
	b := newBench(t)
	plain, err := ssh.NewSignerFromSigner(b.user().SSHKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, method := range map[string]ssh.AuthMethod{
		"a plain key": ssh.PublicKeys(plain),
		"a password":  ssh.Password("secret"),
		"a dialogue": ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) {
			return nil, nil
		}),
	} {
		c, err := ssh.Dial("tcp", b.addr, &ssh.ClientConfig{User: b.me, Auth: []ssh.AuthMethod{method}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		if err == nil {
			_ = c.Close()
			t.Errorf("%s was taken", name)
		}
	}
}

// TestARefusedLoginThatTheCertificateDoesNotNameIsAnEvent: who proved the key gets a decision that can be explained;
// who only offers somebody's certificate has nothing written.
func TestARefusedLoginThatTheCertificateDoesNotNameIsAnEvent(t *testing.T) {
	b := newBench(t)
	own := b.user()
	_, banner, err := b.try("nobody", signer(t, own))
	if err == nil || !strings.Contains(banner, `not for "nobody"`) || !strings.Contains(banner, "(dec_") {
		t.Errorf("%v, %q", err, banner)
	}
	denied := b.journal.of(audit.SessionDenied)
	if len(denied) != 1 || !strings.HasPrefix(denied[0].DecisionID, "dec_") || !strings.Contains(banner, denied[0].DecisionID) ||
		denied[0].Data["login"] != "nobody" || denied[0].Actor != "user/ada" || denied[0].Data["certificate"] != own.SSHCert.KeyId {
		t.Errorf("events %+v", denied)
	}
	pinned := b.cluster.User(tunneltest.User{Identity: identity.User{SourceAddress: "198.51.100.1"}, Logins: []string{b.me}})
	if _, _, err := b.try(b.me, signer(t, pinned)); err == nil {
		t.Error("let in from another address")
	}
	if denied = b.journal.of(audit.SessionDenied); len(denied) != 2 || denied[1].DecisionID == "" {
		t.Errorf("events after a pinned one %+v", denied)
	}
	if _, _, err := b.try("nobody", mixed{signer(t, b.user()), own.SSHCert}); err == nil {
		t.Error("a signature of another key was taken")
	}
	if n := len(b.journal.of(audit.SessionDenied)); n != 2 {
		t.Errorf("%d events after one who only offered", n)
	}
}

// TestSec_S05_S06_PrincipalsAreComparedWhole: lists inside a principal, prefixes, and no principals at all.
func TestSec_S05_S06_PrincipalsAreComparedWhole(t *testing.T) {
	b := newBench(t)
	for name, principals := range map[string][]string{
		"a list in one": {"nobody," + b.me}, "a prefix": {b.me + "x"}, "a wildcard": {"*"}, "none": {}, "another": {"nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			c := b.user()
			cert := *c.SSHCert
			cert.ValidPrincipals = principals
			if err := certstest.SignSSH(&cert, b.cluster.Keys[names.KeyUserSSH]); err != nil {
				t.Fatal(err)
			}
			c.SSHCert = &cert
			if _, _, err := b.try(b.me, signer(t, c)); err == nil {
				t.Error("let in")
			}
		})
	}
}

// TestSec_S07_UnknownCriticalOption is refused; an unknown extension is not.
func TestSec_S07_UnknownCriticalOption(t *testing.T) {
	b := newBench(t)
	with := func(change func(*ssh.Certificate)) ssh.Signer {
		c := b.user()
		cert := *c.SSHCert
		change(&cert)
		if err := certstest.SignSSH(&cert, b.cluster.Keys[names.KeyUserSSH]); err != nil {
			t.Fatal(err)
		}
		c.SSHCert = &cert
		return signer(t, c)
	}
	if _, _, err := b.try(b.me, with(func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "true"} })); err == nil {
		t.Error("an unknown critical option was let in")
	}
	if _, _, err := b.try(b.me, with(func(c *ssh.Certificate) { c.Extensions["x@example.com"] = "" })); err != nil {
		t.Errorf("an unknown extension: %v", err)
	}
}

func TestCertificatesThatDoNotHoldAreRefused(t *testing.T) {
	b := newBench(t)
	foreign := tunneltest.New(t)
	for name, c := range map[string]tunneltest.Credential{
		"another cluster's": foreign.User(tunneltest.User{Logins: []string{b.me}}),
		"an expired one":    b.cluster.User(tunneltest.User{Logins: []string{b.me}, TTL: -10 * time.Second}),
		"from the future":   b.cluster.User(tunneltest.User{Logins: []string{b.me}, Identity: identity.User{Versions: identity.Versions{Policy: identity.Version{Epoch: 9}}}}),
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := b.try(b.me, signer(t, c)); err == nil {
				t.Error("let in")
			}
		})
	}
	_, host := b.cluster.Agent(nil, b.me)
	if _, _, err := b.try(b.me, signer(t, host)); err == nil {
		t.Error("a host certificate was let in as a user's")
	}
}

func TestADenyInARoleWins(t *testing.T) {
	b := newBench(t)
	b.cluster.SetRoles(resource.Role{Metadata: resource.Metadata{Name: "no-me"}, Spec: resource.RoleSpec{Deny: resource.RoleBlock{Logins: []string{b.me}}}})
	b.cluster.Lock()
	if err := b.holder.Accept(b.cluster.Documents()...); err != nil {
		t.Fatal(err)
	}
	c := b.cluster.User(tunneltest.User{Logins: []string{b.me}, Identity: identity.User{
		Roles: []string{"access", "no-me"}, Traits: map[string][]string{"logins": {b.me}},
	}})
	_, banner, err := b.try(b.me, signer(t, c))
	if err == nil || !strings.Contains(banner, "role no-me") || !strings.Contains(banner, "(dec_") {
		t.Errorf("%v, %q", err, banner)
	}
	denied := b.journal.of(audit.SessionDenied)
	if len(denied) == 0 || !strings.Contains(denied[0].Data["trace"], `"role":"access"`) {
		t.Errorf("events %+v", denied)
	}
}

func TestALockEndsSessionsAndKeepsNewOnesOut(t *testing.T) {
	b := newBench(t)
	for _, target := range []string{"user ada", "login " + b.me, "target node/web-1"} {
		kind, value, _ := strings.Cut(target, " ")
		t.Run(kind, func(t *testing.T) {
			s := open(t, b.login())
			in, _ := s.StdinPipe()
			defer in.Close()
			if err := s.Start("cat"); err != nil {
				t.Fatal(err)
			}
			b.cluster.Lock(document.Lock{ID: identity.NewID("lck", rand.Reader, time.Now()), Target: kind, Value: value})
			if err := b.holder.Accept(b.cluster.Documents()...); err != nil {
				t.Fatal(err)
			}
			b.sessions.Recheck()
			if err := s.Wait(); err == nil {
				t.Error("the command ended well")
			}
			if _, banner, err := b.try(b.me, signer(t, b.user())); err == nil || !strings.Contains(banner, "locked") {
				t.Errorf("a new one: %v, %q", err, banner)
			}
			b.cluster.Lock()
			if err := b.holder.Accept(b.cluster.Documents()...); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestSec_S12_NothingForTerrapinToCut: of ciphers only AES-GCM is offered, whether or not the client speaks
// strict key exchange (CVE-2023-48795).
func TestSec_S12_NothingForTerrapinToCut(t *testing.T) {
	b := newBench(t)
	for _, cipher := range []string{ssh.CipherChaCha20Poly1305, ssh.CipherAES128CTR, ssh.CipherAES256CTR} {
		c, err := ssh.Dial("tcp", b.addr, &ssh.ClientConfig{
			Config: ssh.Config{Ciphers: []string{cipher}}, User: b.me,
			Auth: []ssh.AuthMethod{ssh.PublicKeys(signer(t, b.user()))}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		})
		if err == nil {
			_ = c.Close()
			t.Errorf("%s was negotiated", cipher)
		}
	}
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "SSH-2.0-probe\r\n")
	offer := make([]byte, 4096)
	seen := 0
	for seen < len(offer) && !bytes.Contains(offer[:seen], []byte("kex-strict-s-v00@openssh.com")) {
		n, err := conn.Read(offer[seen:])
		if err != nil {
			t.Fatalf("no strict key exchange in %q", offer[:seen])
		}
		seen += n
	}
}

// TestSec_S13_AHostilePeerGainsNothing: rejected channels, unsolicited replies, floods of requests, sizes out of
// this world; goroutines and memory are back where they were.
func TestSec_S13_AHostilePeerGainsNothing(t *testing.T) {
	b := newBench(t)
	warm := b.login()
	run(t, warm, "true")
	_ = warm.Close()
	until(t, "the first connection gone", func() bool { return b.sessions.Users() == 0 })
	before, heap := runtime.NumGoroutine(), inUse()
	for range 5 {
		c := b.login()
		for i := range 200 {
			if ch, _, err := c.OpenChannel([]string{"direct-tcpip", "x11", "auth-agent@openssh.com", "no-such"}[i%4], bytes.Repeat([]byte("x"), 1000)); err == nil {
				_ = ch.Close()
				t.Fatal("a channel was opened")
			}
			if ok, _, _ := c.SendRequest([]string{"tcpip-forward", "streamlocal-forward@openssh.com", "junk"}[i%3], true, nil); ok {
				t.Fatal("a global request was granted")
			}
		}
		ch, requests, err := c.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(requests)
		for i := range 500 {
			kind := []string{"env", "pty-req", "window-change", "signal", "exec", "subsystem", "x11-req", "auth-agent-req@openssh.com", "junk"}[i%9]
			if ok, _ := ch.SendRequest(kind, i%2 == 0, []byte{0xff, 0xff, 0xff, 0xff, byte(i)}); ok {
				t.Fatalf("%s with junk was granted", kind)
			}
		}
		_ = c.Close()
	}
	until(t, "the connections gone", func() bool { return b.sessions.Users() == 0 })
	until(t, "the goroutines gone", func() bool { return runtime.NumGoroutine() <= before+2 })
	if grown := inUse() - heap; grown > 16<<20 {
		t.Errorf("%d MiB stay", grown>>20)
	}
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

func TestSec_S13_SessionsOnAConnectionAreCapped(t *testing.T) {
	b := newBench(t)
	c := b.login()
	open := 0
	for range 100 {
		ch, requests, err := c.OpenChannel("session", nil)
		if err != nil {
			if refusal, ok := errors.AsType[*ssh.OpenChannelError](err); !ok || refusal.Reason != ssh.ResourceShortage {
				t.Fatalf("refused with %v", err)
			}
			break
		}
		defer ch.Close()
		go ssh.DiscardRequests(requests)
		open++
	}
	if open != 64 {
		t.Errorf("%d sessions were opened", open)
	}
}

func TestSec_S13_ASilentClientIsCutOff(t *testing.T) {
	b := newBench(t, func(c *sshd.Config) { c.AuthTime = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("still open: %v", err)
	}
}

func TestSec_S13_GuessingEndsSoon(t *testing.T) {
	b := newBench(t)
	var guesses []ssh.Signer
	for range 12 {
		guesses = append(guesses, signer(t, tunneltest.New(t).User(tunneltest.User{Logins: []string{b.me}})))
	}
	if _, _, err := b.try(b.me, append(guesses, signer(t, b.user()))...); err == nil {
		t.Error("let in at the 13th try")
	}
}

// TestSec_S48_OnlySessionsAreServed tests each kind of channel and request that is a capability of its own.
func TestSec_S48_OnlySessionsAreServed(t *testing.T) {
	c := newBench(t).login()
	for _, kind := range []string{"direct-tcpip", "direct-streamlocal@openssh.com", "tun@openssh.com", "x11", "forwarded-tcpip", "auth-agent@openssh.com"} {
		_, _, err := c.OpenChannel(kind, nil)
		refusal, ok := errors.AsType[*ssh.OpenChannelError](err)
		if !ok || refusal.Reason != ssh.Prohibited || !strings.Contains(refusal.Message, "not allowed") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	s := open(t, c)
	for _, request := range []struct {
		name    string
		payload any
	}{
		{"subsystem", struct{ Name string }{"sftp"}},
		{"subsystem", struct{ Name string }{"netconf"}},
		{"auth-agent-req@openssh.com", struct{ Flag bool }{}},
		{"x11-req", struct {
			Single         bool
			Protocol, Auth string
			Screen         uint32
		}{}},
	} {
		if ok, err := s.SendRequest(request.name, true, ssh.Marshal(request.payload)); ok || err != nil {
			t.Errorf("%s: granted %v, %v", request.name, ok, err)
		}
	}
	if out, _, _ := run(t, c, "echo still"); out != "still\n" {
		t.Errorf("the session after that: %q", out)
	}
}

func TestTerminalRequestsOfAnyShapeAreSurvived(t *testing.T) {
	c := newBench(t).login()
	for i, modes := range []string{"", "\x00", "\x35", "\x35\x00\x00\x00", "\xff\xff", strings.Repeat("\x35\x00\x00\x00\x01", 300)} {
		s := open(t, c)
		ok, err := s.SendRequest("pty-req", true, ssh.Marshal(struct {
			Term                         string
			Columns, Rows, Width, Height uint32
			Modes                        string
		}{"xterm", 1 << 31, 0, 0, 0, modes}))
		if want := slices.Contains([]int{0, 1, 4}, i); err != nil || ok != want {
			t.Errorf("modes %q: granted %v, %v", modes, ok, err)
		}
	}
	for _, term := range []string{"../../etc", "a b", "x\x1b[2J", strings.Repeat("x", 65), "x\x00"} {
		s := open(t, c)
		if err := s.RequestPty(term, 1, 1, nil); err == nil {
			t.Errorf("TERM %q was taken", term)
		}
	}
}

// TestSec_S65_AFloodOfDeniedLoginsLeavesOthersTheirSessions: a user who may do nothing logs in on one connection after
// another, with several certificates on each. The spool is a real one, to which no proxy is connected.
func TestSec_S65_AFloodOfDeniedLoginsLeavesOthersTheirSessions(t *testing.T) {
	const limit = 128 << 10
	kept, err := spool.Open(spool.Config{
		Dir: t.TempDir(), Limit: limit, Epoch: "e1", Stamp: func() spool.Stamp { return spool.Stamp{Cluster: "c", Source: "agent/a"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	b := newBenchOn(t, kept)
	var offers []ssh.Signer
	for range 3 {
		offers = append(offers, signer(t, b.cluster.User(tunneltest.User{
			Identity: identity.User{Name: "mallory", UID: "usr_ffffffffffffffff"}, Logins: []string{"nobody"},
		})))
	}
	const connections = 150
	for range connections {
		if _, _, err := b.try(b.me, offers...); err == nil {
			t.Fatal("let in")
		}
	}
	if out, _, status := run(t, b.login(), "echo on"); out != "on\n" || status != 0 {
		t.Fatalf("another user's session: %q, %d", out, status)
	}
	until(t, "the end of the session", func() bool { return len(events(t, kept, audit.SessionEnd)) == 1 })
	b.sessions.Close()
	if starts := events(t, kept, audit.SessionStart); len(starts) != 1 || starts[0].Actor == "user/mallory" {
		t.Errorf("begun: %+v", starts)
	}
	denied, counted := events(t, kept, audit.SessionDenied), events(t, kept, audit.SessionDenialsCounted)
	left := fmt.Sprint(connections - len(denied))
	if len(denied) > 15 || len(counted) != 1 || counted[0].Reason != left+" refusals of user mallory were not written one by one" {
		t.Errorf("%d denials in the spool, and counted: %+v", len(denied), counted)
	}
	lines, _, err := kept.Next(1 << 20)
	size := 0
	for _, l := range lines {
		size += len(l)
	}
	if err != nil || size > limit/2 {
		t.Errorf("the spool holds %d bytes, %v", size, err)
	}
}

// events are those of a type in a spool.
func events(t *testing.T, s *spool.Spool, kind audit.Type) (out []audit.Event) {
	t.Helper()
	lines, _, err := s.Next(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		var e audit.Event
		if err := json.Unmarshal(l, &e); err != nil {
			t.Fatal(err)
		}
		if e.Type == kind {
			out = append(out, e)
		}
	}
	return out
}

// TestSec_S67_RefusedConnectionsOfAnAddressAreOneLineAMinute: a flood of refusals fills no log.
func TestSec_S67_RefusedConnectionsOfAnAddressAreOneLineAMinute(t *testing.T) {
	var log lines
	b := newBench(t, func(c *sshd.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	stranger := signer(t, tunneltest.New(t).User(tunneltest.User{Logins: []string{b.me}}))
	for range 30 {
		if _, _, err := b.try(b.me, stranger); err == nil {
			t.Fatal("let in")
		}
	}
	other := netip.MustParseAddrPort("198.51.100.7:5555")
	b.source.Store(&other)
	if _, _, err := b.try(b.me, stranger); err == nil {
		t.Fatal("let in")
	}
	until(t, "the other address's line", func() bool { return strings.Contains(log.String(), "198.51.100.7") })
	if n := strings.Count(log.String(), "192.0.2.7"); n < 1 || n > 2 { // the test may take more than a minute
		t.Errorf("%d lines about one address:\n%s", n, log.String())
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }

func (l *lines) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// TestSec_S67_NoVariableHoldsALineBreak: what prints or reads an environment by lines would take it for two.
func TestSec_S67_NoVariableHoldsALineBreak(t *testing.T) {
	s := open(t, newBench(t).login())
	for _, value := range []string{"a\nLD_PRELOAD=x", "a\rb", "a\x00b", "\x1b[2J", "a\u0085b"} {
		if err := s.Setenv("LC_NAME", value); err == nil {
			t.Errorf("%q is taken", value)
		}
	}
	if err := s.Setenv("LC_NAME", "de_DE.UTF-8"); err != nil {
		t.Error(err)
	}
	if out, err := s.Output("echo $LC_NAME"); err != nil || string(out) != "de_DE.UTF-8\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// mark sets the login user of a thread that ends at once, not of the first one.
func mark(user string) error {
	marked := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			marked <- mark(user)
			runtime.UnlockOSThread()
			return
		}
		marked <- os.WriteFile("/proc/thread-self/loginuid", []byte(user), 0)
	}()
	return <-marked
}

// TestSec_S67_ARootAgentsSessionsHaveTheirLoginUser: as far as the kernel lets a thread of this process set it; otherwise
// and for other agents it is the agent's own.
func TestSec_S67_ARootAgentsSessionsHaveTheirLoginUser(t *testing.T) {
	own, err := os.ReadFile("/proc/self/loginuid")
	if err != nil {
		own = nil // a kernel without auditing
	}
	want, me := string(own), strconv.Itoa(os.Getuid())
	if os.Geteuid() == 0 {
		if mark(me) == nil {
			want = me
		}
	}
	b := newBench(t)
	for range 3 {
		out, _, _ := run(t, b.login(), "cat /proc/self/loginuid")
		if out != want {
			t.Errorf("the login user is %q, want %q", out, want)
		}
	}
	if now, _ := os.ReadFile("/proc/self/loginuid"); string(now) != string(own) {
		t.Errorf("the agent's own has become %q", now)
	}
}
