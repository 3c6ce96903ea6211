package integration_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// refusals are what the agent of a state directory says it was refused for.
func (s *system) refusals(t *testing.T, dir string) (said string, tunnels int) {
	t.Helper()
	out, _ := exec.CommandContext(t.Context(), filepath.Join(s.Root, "bin/stile-agent"), "status", "--state", dir).Output() // ends with 6 without a tunnel
	var status struct {
		Tunnels  int
		Refusals []struct{ Reason, Hint string }
	}
	if err := json.Unmarshal(out, &status); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	for _, r := range status.Refusals {
		said += r.Reason + " (" + r.Hint + ")\n"
	}
	return said, status.Tunnels
}

// TestSec_S66_ACopiedStateDirectoryTakesNoNodeOver: an agent and one that was started from a copy of its state directory are both
// turned away, say why, and leave an event; nobody's session lands on the one or the other. Both are removed together.
func TestSec_S66_ACopiedStateDirectoryTakesNoNodeOver(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	p := shared.person(t, engineer).login(t)
	own := shared.agent(t, enrol{name: "node-copied"})
	eventually(t, 30*time.Second, p.online(t, "node-copied", true))
	dir := t.TempDir()
	for _, name := range []string{"ssh.key", "tls.key", "credential.json"} {
		b, err := os.ReadFile(filepath.Join(own.state, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "documents"), os.DirFS(filepath.Join(own.state, "documents"))); err != nil {
		t.Fatal(err)
	}
	theirs := shared.agent(t, enrol{name: "node-copied", state: dir})
	for _, a := range []*agent{own, theirs} {
		eventually(t, time.Minute, func() string {
			if said, tunnels := shared.refusals(t, a.state); tunnels > 0 || !strings.Contains(said, "in use by two agents at once") {
				return "an agent says " + said
			}
			return ""
		})
		a.logs(t, "in use by two agents at once")
	}
	eventually(t, 30*time.Second, p.online(t, "node-copied", false))
	if r := p.run(t, nil, "ssh", "node-copied", "--", "true"); r.status == 0 {
		t.Error("a session came to one of them")
	}
	eventually(t, 30*time.Second, func() string {
		if len(shared.recorded(t, func(e audit.Event) bool {
			return e.Type == audit.AgentCopied && e.Data["first_source"] != e.Data["second_source"]
		})) == 0 {
			return "no event tells of it"
		}
		return ""
	})
	boss.must(t, "rm", "node/node-copied")
	for _, a := range []*agent{own, theirs} {
		_ = a.cmd.Process.Kill()
		<-a.ended
	}
	shared.agent(t, enrol{name: "node-copied"})
	eventually(t, 30*time.Second, p.online(t, "node-copied", true))
	boss.must(t, "rm", "node/node-copied")
}

// node is an agent that joins and renews by the API.
type node struct {
	*person
	name string
}

// held is a credential with its keys.
type held struct {
	by         *attempt
	credential wire.HostCredential
}

// renew goes on from a credential, or joins where there is none.
func (n node) renew(t *testing.T, was *held) (*held, error) {
	t.Helper()
	a, r := n.join(t, n.name, nil)
	if was != nil {
		was.by.renews(t, &r, was.credential)
	}
	c, err := a.api.JoinIAM(t.Context(), r)
	return &held{a, c}, err
}

func (n node) next(t *testing.T, was *held) *held {
	t.Helper()
	now, err := n.renew(t, was)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// TestSec_S66_ASupersededCertificateQuarantinesItsAgent, and one whose answer was lost renews again.
func TestSec_S66_ASupersededCertificateQuarantinesItsAgent(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	p := node{shared.person(t, "env.node"), "node-superseded"}
	first := p.next(t, nil)
	p.next(t, first) // and its answer is lost
	second := p.next(t, first)
	third := p.next(t, second)
	if first.credential.ID != third.credential.ID {
		t.Errorf("%s became %s", first.credential.ID, third.credential.ID)
	}
	_, err := p.renew(t, first)
	refusedAs(t, err, fault.Quarantined)
	_, err = p.renew(t, third)
	refusedAs(t, err, fault.Quarantined)
	if all := shared.recorded(t, func(e audit.Event) bool {
		return e.Type == audit.AgentCopied && e.Actor == "agent/"+first.credential.ID
	}); len(all) != 1 || all[0].Data["shown"] != first.credential.CertificateID || all[0].Data["in_force"] != third.credential.CertificateID {
		t.Errorf("recorded is %+v", all)
	}
	boss.must(t, "rm", "node/node-superseded")
	_, err = p.renew(t, third)
	refusedAs(t, err, fault.Unauthenticated, fault.Denied)
	p.next(t, nil)
	boss.must(t, "rm", "node/node-superseded")
}
