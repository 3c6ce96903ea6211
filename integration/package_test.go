package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// manager stands in for systemctl. It notes what it is asked for, and ends the agent when it is to restart it, as systemd
// does with KillMode=process.
const manager = `#!/bin/sh
echo "$*" >>/systemctl.log
case $1 in
  restart) kill -9 "$(cat /agent.pid)" ;;
esac
`

func (m machine) asked(t *testing.T) string {
	t.Helper()
	text := m.read(t, "/systemctl.log")
	m.write(t, "/systemctl.log", "", 0o644)
	return text
}

// installed returns a machine with the package of the agent installed, which has no service manager.
func installed(t *testing.T, deb string) machine {
	t.Helper()
	m := newMachine(t, "dpkg", "dpkg-deb", "dpkg-split", "dpkg-query", "tar", "rm", "diff", "cat", "ldconfig", "start-stop-daemon")
	m.add(t, deb, "/tmp/agent.deb")
	if out := m.must(t, nil, "/usr/bin/dpkg", "-i", "/tmp/agent.deb"); !strings.Contains(out, "Setting up stile-agent") {
		t.Fatal(out)
	}
	return m
}

// execStart is the command that the installed unit starts.
func (m machine) execStart(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(m.read(t, "/usr/lib/systemd/system/stile-agent.service")) {
		if command, ok := strings.CutPrefix(line, "ExecStart="); ok {
			return strings.TrimSpace(command)
		}
	}
	t.Fatal("the unit starts nothing")
	return ""
}

func TestAnInstalledPackageStartedAsItsUnitSaysJoinsAndAnUpgradeEndsNoSession(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can install a package in a root directory of its own; scripts/packages tests what is in it")
		return
	}
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	m := installed(t, only(t, filepath.Join(packages(t), "stile-agent_*.deb")))
	m.write(t, "/etc/stile/agent.yaml", fmt.Sprintf("api: %s\ntoken: demo-nodes\nname: node-packaged\n", p.Env["STILE_API"]), 0o600)
	a := m.start(t, m.instance(t, shared.person(t, "env.node")), m.execStart(t))
	eventually(t, 30*time.Second, p.online(t, "node-packaged", true))
	t.Cleanup(func() { boss.must(t, "rm", "node/node-packaged") })

	m.write(t, "/usr/bin/systemctl", manager, 0o755)
	m.mkdir(t, "/run/systemd/system")
	m.write(t, "/agent.pid", fmt.Sprint(a.cmd.Process.Pid), 0o644)
	r := p.run(t, nil, "ssh", "node-packaged", "--", "dpkg -i /tmp/agent.deb && echo still here")
	if r.status != 0 || !strings.Contains(r.out, "still here") || !strings.Contains(r.out, "the old version goes on") {
		t.Errorf("an upgrade in a session: %d\n%s%s", r.status, r.out, r.err)
	}
	if asked := m.asked(t); strings.Contains(asked, "start ") || !strings.Contains(asked, "daemon-reload") {
		t.Errorf("systemd was asked for:\n%s", asked)
	}
	eventually(t, 30*time.Second, func() string {
		if m.command(t.Context(), nil, "/usr/bin/stile-agent", "status", "--idle").Run() == nil {
			return ""
		}
		return "the session is still counted"
	})
	m.must(t, nil, "/usr/bin/dpkg", "-i", "/tmp/agent.deb")
	if asked := m.asked(t); !strings.Contains(asked, "restart stile-agent.service") {
		t.Errorf("without users, systemd was asked for:\n%s", asked)
	}
	select {
	case <-a.ended:
	case <-t.Context().Done():
	}
}

func TestAnAgentOutlivesAHangupAndHandsNoneOfItOn(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	boss := shared.person(t, admin).login(t)
	program := filepath.Join(t.TempDir(), "agent")
	// As nohup does.
	if err := os.WriteFile(program, []byte("#!/bin/sh\ntrap '' HUP\nexec stile-agent \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	a := shared.agentOf(t, program, enrol{name: "node-hangup"})
	eventually(t, 30*time.Second, p.online(t, "node-hangup", true))
	t.Cleanup(func() { boss.must(t, "rm", "node/node-hangup") })
	const question = `kill -HUP "$PPID"; sed -n 's/^SigIgn:.*\(.\)$/\1/p' /proc/self/status`
	// The session's own shell is started by the agent, which is its parent.
	r := p.run(t, nil, "ssh", "node-hangup", "--", question)
	if r.status != 0 || strings.TrimSpace(r.out) != "0" {
		t.Errorf("a session ignores signals: %d %s%s", r.status, r.out, r.err)
	}
	if r := p.run(t, nil, "ssh", "node-hangup", "--", "true"); r.status != 0 {
		t.Errorf("after a hangup: %s", r.err)
	}
	select {
	case <-a.ended:
		t.Error("a hangup ended the agent")
	default:
	}
}
