package integration_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// replaceLimit bounds a deployment of a test. It is no measure.
const replaceLimit = 3 * time.Minute

// changeProxies puts another program in the place of the proxies', which the next deployment replaces them all with.
func (s *system) changeProxies(t *testing.T, program []byte) {
	t.Helper()
	path := filepath.Join(s.Root, "bin", "stile-proxy")
	err := os.WriteFile(path+".new", program, 0o755)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *system) program(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.Root, "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// log is what a part of the system has said, "" if there is no such part.
func (s *system) log(name string) string {
	raw, _ := os.ReadFile(filepath.Join(s.State, "log", name+".log"))
	return string(raw)
}

// ups deploys the system meanwhile.
func (s *system) ups() <-chan error {
	done := make(chan error, 1)
	go func() { _, err := s.up(); done <- err }()
	return done
}

// traffic is what people do while proxies are replaced: they hold sessions open, and open new ones.
type traffic struct {
	person *person
	open   []*echo
	rounds int
}

func (s *system) traffic(t *testing.T) *traffic {
	t.Helper()
	p := s.person(t, engineer).login(t)
	eventually(t, 30*time.Second, func() string { return s.twoTunnels(t) })
	f := &traffic{person: p}
	for _, node := range nodes() {
		f.open = append(f.open, p.open(t, node))
	}
	return f
}

// round has each open session give back what is typed, and opens one more to each node.
func (f *traffic) round(t *testing.T) {
	t.Helper()
	f.rounds++
	for _, refused := range f.person.round(t) {
		t.Errorf("round %d: a new session ended with %d: %s", f.rounds, refused.status, refused.err)
	}
	for _, o := range f.open {
		if !o.repeats(fmt.Sprintf("round %d", f.rounds)) {
			t.Fatalf("round %d: the session to %s was lost: %s", f.rounds, o.node, o.end().err)
		}
	}
}

// end ends the open sessions.
func (f *traffic) end(t *testing.T) {
	t.Helper()
	for _, o := range f.open {
		if r := o.end(); r.status != 0 {
			t.Errorf("the session to %s ended with %d: %s", o.node, r.status, r.err)
		}
	}
}

// alone says how often an agent that had a tunnel had none, as its log tells.
func (s *system) alone(t *testing.T, node string) (times int) {
	t.Helper()
	tunnels, all := 0, 0
	for line := range strings.SplitSeq(s.log(node), "\n") {
		switch {
		case strings.Contains(line, `"Tunnel up"`):
			tunnels, all = tunnels+1, all+1
		case strings.Contains(line, `"Tunnel ended"`):
			if tunnels--; tunnels == 0 {
				times++
			}
		}
	}
	if all < 4 { // two to the old proxies and two to the new ones
		t.Errorf("the log of %s tells of %d tunnels only", node, all)
	}
	return times
}

// The balancer is late as on AWS, fifteen times faster: 12 s with the new proxies, 8 s with the old ones, which is longer than
// agents take to be handed over.
func TestADeploymentThatReplacesTheProxiesLosesNoSession(t *testing.T) {
	t.Setenv("STILE_LATE", "15")
	s := apart(t, "-proxies", "2", "-agents", fmt.Sprint(severalAgents))
	f := s.traffic(t)
	s.changeProxies(t, append(s.program(t, "stile-proxy"), 0))
	old, done, limit := []string{"stile-proxy-0", "stile-proxy-1"}, s.ups(), time.Now().Add(replaceLimit)
	for after := 0; after < 3; { // rounds when the old proxies take nobody any more, and wait for their sessions
		f.round(t)
		if !slices.ContainsFunc(old, func(name string) bool { return !strings.Contains(s.log(name), "Proxy takes nobody any more") }) {
			after++
		}
		if time.Now().After(limit) {
			t.Fatal("the old proxies were never told to end")
		}
	}
	t.Logf("%d new sessions to each node", f.rounds)
	f.end(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, name := range old {
		if s.pidNow(t, name) != 0 {
			t.Errorf("%s still runs", name)
		}
	}
	eventually(t, 30*time.Second, func() string { return s.twoTunnels(t) })
	for _, node := range nodes() {
		if times := s.alone(t, node); times != 0 {
			t.Errorf("%s was without a tunnel %d times", node, times)
		}
	}
}

func TestADeploymentWhoseProxiesDoNotStayUpLeavesTheOldOnes(t *testing.T) {
	t.Setenv("STILE_LATE", "60")
	s := apart(t, "-proxies", "2", "-agents", fmt.Sprint(severalAgents))
	f := s.traffic(t)
	before := s.proxyIDs(t)
	good := s.program(t, "stile-proxy")
	s.changeProxies(t, s.program(t, "stile")) // it says how it is used, and ends
	var err error
	for done, over := s.ups(), false; !over; {
		select {
		case err = <-done:
			over = true
		default:
			f.round(t)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "circuit breaker") || !strings.Contains(err.Error(), "stile-proxy-2.log") {
		t.Fatalf("the deployment: %v", err)
	}
	f.round(t)
	if after := s.proxyIDs(t); !maps.Equal(before, after) || len(after) != 2 {
		t.Errorf("there ran %v, now %v", before, after)
	}
	s.changeProxies(t, good)
	if out, err := s.up(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f.round(t)
	if after := s.proxyIDs(t); !maps.Equal(before, after) {
		t.Errorf("deployed as before, %v run in the place of %v", after, before)
	}
	f.end(t)
}

// proxyIDs returns the process id of each proxy by name.
func (s *system) proxyIDs(t *testing.T) map[string]int {
	t.Helper()
	ids := map[string]int{}
	for _, p := range s.ps(t) {
		if strings.HasPrefix(p.Name, "stile-proxy-") {
			ids[p.Name] = p.PID
		}
	}
	return ids
}
