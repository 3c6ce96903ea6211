package integration_test

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// online tells whether a node is shown as online; "" is yes.
func (p *person) online(t *testing.T, node string, want bool) func() string {
	return func() string {
		r := p.run(t, nil, "ls", "--format", "json")
		var nodes []struct {
			Name   string
			Online bool
		}
		if err := json.Unmarshal([]byte(r.out), &nodes); err != nil {
			return fmt.Sprintf("ls ended with %d: %s", r.status, r.err)
		}
		for _, n := range nodes {
			if n.Name == node {
				if n.Online == want {
					return ""
				}
				return fmt.Sprintf("%s is online: %v", node, n.Online)
			}
		}
		return node + " is not listed"
	}
}

// offlineWithin is how long a dead agent may be shown as online.
const offlineWithin = 10 * time.Second

func TestAKilledAgentIsShownOfflineWithinTenSeconds(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	a := shared.agent(t, enrol{name: "node-killed"})
	eventually(t, 30*time.Second, p.online(t, "node-killed", true))
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, offlineWithin, p.online(t, "node-killed", false))
	p.run(t, nil, "ssh", "node-killed", "--", "true").refused(t, 255, "node-killed")

	shared.agent(t, enrol{name: "node-killed", state: a.state})
	eventually(t, 30*time.Second, p.online(t, "node-killed", true))
}

func TestAKilledAgentComesBackByItself(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	eventually(t, 30*time.Second, p.online(t, "node-1", true))
	shared.killed(t, "node-1")
	p.works(t, "node-1")
	eventually(t, 30*time.Second, p.online(t, "node-1", true))
}

// killed kills a process, and waits until another one has taken its place.
func (s *system) killed(t *testing.T, name string) {
	t.Helper()
	before := s.pid(t, name)
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() string {
		if s.pid(t, name) == before {
			return "nobody started " + name + " again"
		}
		return ""
	})
}

func TestAStoppedAgentIsShownOfflineAndComesBackByItself(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	eventually(t, 30*time.Second, p.online(t, "node-1", true))
	agent := shared.pid(t, "node-1")
	if err := syscall.Kill(agent, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(agent, syscall.SIGCONT) })
	eventually(t, offlineWithin, p.online(t, "node-1", false))
	p.run(t, nil, "ssh", "-o", "ConnectTimeout=5", "node-1", "--", "true").refused(t, 255, "node-1")
	if err := syscall.Kill(agent, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, p.online(t, "node-1", true))
	if r := p.run(t, nil, "ssh", "node-1", "--", "true"); r.status != 0 {
		t.Errorf("ssh ended with %d: %s", r.status, r.err)
	}
}
