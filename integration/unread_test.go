package integration_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/integration/proc"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger/reader"
)

// lid is a connection whose reader goes away while the connection stays, as behind the closed lid of a laptop.
type lid struct {
	net.Conn
	shut chan struct{}
}

func (l *lid) Read(b []byte) (int, error) {
	select {
	case <-l.shut:
		select {} // nobody is there
	default:
	}
	return l.Conn.Read(b)
}

// flood is many sessions on one connection, each of which writes more than anybody reads.
type flood struct {
	size int // bytes that each would write; it names their processes
	lid  *lid
	ssh  *ssh.Client
}

// connection opens an SSH connection to a node, by which several sessions can be had, through what wrap makes of it.
func (p *person) connection(t *testing.T, node string, wrap func(net.Conn) net.Conn) *ssh.Client {
	t.Helper()
	credential, err := p.Credential()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := credential.Connect(t.Context(), node, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(wrap(conn), node, &ssh.ClientConfig{
		User: credential.Login, Auth: []ssh.AuthMethod{ssh.PublicKeys(credential.SSH)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return ssh.NewClient(c, channels, requests)
}

// flooded opens the sessions, whose channels are not read, and, if the lid is shut, neither is the connection. It
// returns when nothing moves any more.
func (p *person) flooded(t *testing.T, node string, sessions, size int, shut bool) *flood {
	t.Helper()
	f := &flood{size: size}
	f.ssh = p.connection(t, node, func(conn net.Conn) net.Conn {
		f.lid = &lid{conn, make(chan struct{})}
		return f.lid
	})
	for range sessions {
		channel, requests, err := f.ssh.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(requests)
		if ok, err := channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{fmt.Sprintf("exec head -c %d /dev/zero", size)})); err != nil || !ok {
			t.Fatalf("exec: %t, %v", ok, err)
		}
	}
	if shut {
		close(f.lid.shut)
	}
	last, still := "", 0
	eventually(t, time.Minute, func() string {
		now := f.written()
		if len(f.processes()) == sessions && now == last {
			still++
		} else {
			still = 0
		}
		last = now
		if still < 5 {
			return "the sessions still write: " + now
		}
		return ""
	})
	return f
}

// processes are those of the sessions.
func (f *flood) processes() (pids []int) {
	for _, pid := range proc.All() {
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.HasPrefix(string(line), fmt.Sprintf("head\x00-c\x00%d\x00", f.size)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// written says how much each of them wrote.
func (f *flood) written() string {
	var all strings.Builder
	for _, pid := range f.processes() {
		text, _ := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "io"))
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "wchar: "); ok {
				all.WriteString(strings.TrimSpace(rest) + " ")
			}
		}
	}
	return all.String()
}

// A closed lid, or a client that hangs, must not hold up what an agent owes to everybody else.
func TestSec_S57_AConnectionThatNobodyReadsHoldsUpNothing(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	ended := func() (n int) {
		for _, e := range shared.ledger(t).Entries {
			if e.Event.Type == audit.SessionEnd && e.Standing == reader.Proven {
				n++
			}
		}
		return n
	}
	for name, k := range map[string]struct {
		sessions int
		shut     bool
	}{
		"a connection with 40 sessions":      {40, true},
		"the channels of 64 sessions on one": {64, false},
	} {
		t.Run(name, func(t *testing.T) {
			boss.create(t, record("alice", "auditor"))
			p := shared.person(t, engineer).login(t)
			f := p.flooded(t, "node-1", k.sessions, 62_914_560+k.sessions, k.shut)
			before, began := ended(), time.Now()
			boss.must(t, "rm", "user/alice")
			var once sync.Once
			eventually(t, cutWithin, func() string {
				if n := len(f.processes()); n > 0 {
					return fmt.Sprintf("%d processes of a revoked user live", n)
				}
				once.Do(func() { t.Logf("gone after %s", time.Since(began)) })
				return ""
			})
			p.login(t)
			p.must(t, "ssh", "node-1", "--", "true") // the agent took newer documents
			eventually(t, time.Minute, func() string {
				if n := ended() - before; n < k.sessions { // the spool goes on: these are of the connection that still stands
					return fmt.Sprintf("the ledger has the end of %d sessions of %d", n, k.sessions)
				}
				return ""
			})
		})
	}
}

// A proxy may not pay for what its clients do not read: each connection here has far more on its way than its sockets take.
func TestSec_S60_ConnectionsThatNobodyReadsHoldLittleOfAProxy(t *testing.T) {
	const connections, sessions, each = 10, 40, 62_914_560
	p := shared.person(t, engineer).login(t)
	p.must(t, "ssh", "node-1", "--", "true")
	pid := shared.pid(t, "stile-proxy-0")
	before, err := proc.MemoryOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	var floods []*flood
	for i := range connections {
		floods = append(floods, p.flooded(t, "node-1", sessions, each+1000+i, true))
	}
	held, err := proc.MemoryOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the proxy grew by %.0f MiB", held.Anonymous-before.Anonymous)
	if held.Anonymous-before.Anonymous > 96 {
		t.Errorf("the proxy went from %.0f to %.0f MiB", before.Anonymous, held.Anonymous)
	}
	for _, f := range floods {
		_ = f.lid.Close()
	}
	eventually(t, time.Minute, func() string {
		for _, f := range floods {
			if n := len(f.processes()); n > 0 {
				return fmt.Sprintf("%d processes of a client that is gone live", n)
			}
		}
		return ""
	})
	p.must(t, "ssh", "node-1", "--", "true")
}
