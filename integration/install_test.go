package integration_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// notes is a systemctl that only notes what it is asked for; the test starts the agent as the unit says.
const notes = "#!/bin/sh\necho \"$*\" >>/systemctl.log\n"

// bare returns a machine that has nothing of ours, but systemd, as far as a program can tell.
func bare(t *testing.T, programs ...string) machine {
	t.Helper()
	m := newMachine(t, programs...)
	m.write(t, "/usr/bin/systemctl", notes, 0o755)
	m.write(t, "/systemctl.log", "", 0o644)
	m.mkdir(t, "/run/systemd/system")
	m.mkdir(t, "/usr/local/bin")
	return m
}

// installing runs a command that installs, and does what systemd would do when it is asked to restart the agent.
func (m machine) installing(t *testing.T, env map[string]string, cmd *exec.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	eventually(t, time.Minute, func() string {
		select {
		case <-ended:
			return ""
		default:
		}
		if strings.Contains(m.read(t, "/systemctl.log"), "restart") {
			return ""
		}
		return "systemd is not asked to start the agent"
	})
	if strings.Contains(m.asked(t), "restart stile-agent.service") {
		unit := m.read(t, "/etc/systemd/system/stile-agent.service")
		_, line, _ := strings.Cut(unit, "ExecStart=")
		line, _, _ = strings.Cut(line, "\n")
		m.start(t, env, line)
	}
	<-ended
	return out.String()
}

func TestAnInstalledAgentHasJoinedOrTheInstallationFails(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can install an agent; agent/install tests what needs no root")
		return
	}
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	agent := filepath.Join(p.Path, "stile-agent")
	const program = "/usr/local/bin/stile-agent"
	args := []string{"install", "--api", p.Env["STILE_API"], "--token", "demo-nodes", "--name", "node-installed", "--label", "role=it's \"a\" $role"}

	m := bare(t)
	m.add(t, agent, program)
	env := m.instance(t, shared.person(t, "env.node"))
	first := m.command(t.Context(), env, program, args...)
	if out := m.installing(t, env, first); first.ProcessState.ExitCode() != 0 || !strings.Contains(out, "has joined as agt_") {
		t.Fatalf("%v\n%s", first.ProcessState, out)
	}
	eventually(t, 30*time.Second, p.online(t, "node-installed", true))
	t.Cleanup(func() { boss.must(t, "rm", "node/node-installed") })
	if out := p.must(t, "ls", "--format", "json"); !strings.Contains(out, `it's \"a\" $role`) {
		t.Errorf("the label is another: %s", out)
	}
	if out := m.must(t, env, program, args...); !strings.Contains(out, "runs with this configuration already") || m.asked(t) != "" {
		t.Errorf("again: %s", out)
	}
	before := m.read(t, "/etc/stile/agent.yaml")
	other := m.command(t.Context(), env, program, append(args, "--region", "eu-central-1")...)
	out, _ := other.CombinedOutput()
	if other.ProcessState.ExitCode() != 7 || !strings.Contains(string(out), "--force") || m.read(t, "/etc/stile/agent.yaml") != before {
		t.Errorf("another configuration: %v\n%s", other.ProcessState, out)
	}

	stranger := bare(t)
	stranger.add(t, agent, program)
	env = stranger.instance(t, shared.person(t, "env.stranger"))
	refused := stranger.command(t.Context(), env, program, append(args, "--wait", "15s")...)
	if out := stranger.installing(t, env, refused); refused.ProcessState.ExitCode() != 4 || !strings.Contains(out, "can't join") || !strings.Contains(out, "hint:") {
		t.Errorf("a role that no token names: %v\n%s", refused.ProcessState, out)
	}
}
