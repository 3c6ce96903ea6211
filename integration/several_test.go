package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/integration/stand"
)

// How many of each run in the system of this file.
const (
	severalProxies = "3"
	severalAgents  = 5
)

// restored is how long after a proxy's death a new session to some node may be refused. None should be: the balancer
// passes a dead proxy by, and the client asks another one when the first has no tunnel to the node.
const restored = 10 * time.Second

// several starts a system of its own with several of each.
func several(t *testing.T) *system {
	t.Helper()
	return apart(t, "-proxies", severalProxies, "-agents", fmt.Sprint(severalAgents))
}

// apart starts a system for one test. It is stopped and removed when the test ends.
func apart(t *testing.T, args ...string) *system {
	t.Helper()
	s, err := newSystem(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.begin(t, args...)
	return s
}

// begin starts a system that ends with the test.
func (s *system) begin(t *testing.T, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Logs())
		}
		if err := s.down(); err != nil {
			t.Error(err)
		}
		if left := s.ps(t); len(left) != 0 {
			t.Errorf("after down there still run %v", left)
		}
	})
	out, err := s.Localstack(t.Context(), "up", args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// ps returns what runs.
func (s *system) ps(t *testing.T) []stand.Process {
	t.Helper()
	list, err := s.PS(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// pidNow returns the id of a process, 0 if it doesn't run.
func (s *system) pidNow(t *testing.T, name string) int {
	t.Helper()
	list := s.ps(t)
	if i := slices.IndexFunc(list, func(p stand.Process) bool { return p.Name == name }); i >= 0 {
		return list[i].PID
	}
	return 0
}

// nodes returns the names of all nodes.
func nodes() (names []string) {
	for n := range severalAgents {
		names = append(names, fmt.Sprintf("node-%d", n+1))
	}
	return names
}

// twoTunnels returns "" when every agent has two tunnels, or which one has not.
func (s *system) twoTunnels(t *testing.T) string {
	t.Helper()
	for _, node := range nodes() {
		if n, err := s.Tunnels(t.Context(), filepath.Join(s.AgentHome(node), "state")); err != nil || n < 2 {
			return fmt.Sprintf("%s has %d tunnels, not two: %v", node, n, err)
		}
	}
	return ""
}

// round runs a command on every node and returns the refusals.
func (p *person) round(t *testing.T) (refusals []result) {
	t.Helper()
	for _, node := range nodes() {
		r := p.run(t, nil, "ssh", node, "--", "echo", "hi")
		if r.status != 0 {
			refusals = append(refusals, r)
		} else if r.out != "hi\n" {
			t.Errorf("%s said %q", node, r.out)
		}
	}
	return refusals
}

// echo is a session that stays open and gives back what is typed into it.
type echo struct {
	node string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	err  bytes.Buffer
}

// open opens one and checks that it answers.
func (p *person) open(t *testing.T, node string) *echo {
	t.Helper()
	e := &echo{node: node, cmd: p.Command(t.Context(), "stile", "ssh", node, "--", "cat")}
	e.cmd.Stderr = &e.err
	in, err1 := e.cmd.StdinPipe()
	out, err2 := e.cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	e.in, e.out = in, bufio.NewScanner(out)
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !e.repeats("before") {
		t.Fatalf("the session to %s does not answer: %v %s", node, e.cmd.Wait(), e.err.String())
	}
	return e
}

// repeats types a word and reports whether it came back.
func (e *echo) repeats(word string) bool {
	_, _ = fmt.Fprintln(e.in, word) // that it fails shows in what comes back
	return e.out.Scan() && e.out.Text() == word
}

// end closes the input, waits, and returns how the session ended.
func (e *echo) end() result {
	_ = e.in.Close()
	_ = e.cmd.Wait()
	return result{e.cmd.ProcessState.ExitCode(), "", e.err.String()}
}

func TestSeveralProxiesAndAgentsGoOnWhenAProxyIsKilled(t *testing.T) {
	s := several(t)
	var names []string
	for _, p := range s.ps(t) {
		names = append(names, p.Name)
		if listens := p.Addr != ""; listens == strings.HasPrefix(p.Name, "node-") {
			t.Errorf("%s listens on %q", p.Name, p.Addr)
		}
	}
	want := append([]string{"localstack", "balancer", "stile-proxy-0", "stile-proxy-1", "stile-proxy-2"}, nodes()...)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Fatal(diff)
	}
	p := s.person(t, engineer).login(t)
	eventually(t, 30*time.Second, func() string { return s.twoTunnels(t) })
	if refusals := p.round(t); len(refusals) != 0 {
		t.Fatalf("with everything up: %v", refusals)
	}
	var open []*echo
	for _, node := range nodes() {
		open = append(open, p.open(t, node))
	}

	victim := s.pidNow(t, "stile-proxy-0")
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	var refusals []result
	for range 3 {
		refusals = append(refusals, p.round(t)...)
	}
	for _, r := range refusals { // who meets one must at least be told what to do
		r.refused(t, 255)
	}
	t.Logf("%d of %d new sessions were refused in the %s after the kill", len(refusals), 3*severalAgents, time.Since(killed).Round(time.Millisecond))
	eventually(t, restored-time.Since(killed), func() string {
		if refusals := p.round(t); len(refusals) != 0 {
			return refusals[0].err
		}
		return ""
	})

	// What passed the killed proxy ended with words; what passed another goes on.
	lost := 0
	for _, o := range open {
		if o.repeats("after") {
			if r := o.end(); r.status != 0 {
				t.Errorf("the session to %s ended with %d: %s", o.node, r.status, r.err)
			}
			continue
		}
		lost++
		o.end().refused(t, 255, "the connection to the node was lost")
	}
	t.Logf("%d of %d open sessions passed the killed proxy and ended", lost, len(open))

	eventually(t, 10*time.Second, func() string {
		if pid := s.pidNow(t, "stile-proxy-0"); pid == 0 || pid == victim {
			return "nobody started the killed proxy again"
		}
		return ""
	})
	eventually(t, 30*time.Second, func() string { return s.twoTunnels(t) })

	out, err := s.up()
	if err != nil || !strings.HasPrefix(out, "stile is already up\n") {
		t.Errorf("a plain up does not keep what runs: %v\n%s", err, out)
	}
	s.leaves(t, "stile-proxy-1")
}

// leaves stops a proxy as ECS does, and checks that it takes its lease away: until that has run out, people would be sent to
// it in vain.
func (s *system) leaves(t *testing.T, name string) {
	t.Helper()
	before, err := s.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.pidNow(t, name), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() string {
		now, err := s.Leases(t.Context())
		if err != nil {
			return err.Error()
		}
		for _, id := range before {
			if !slices.Contains(now, id) {
				return ""
			}
		}
		return fmt.Sprintf("of the leases %v none is gone: %v", before, now)
	})
}
