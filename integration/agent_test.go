package integration_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// agent is a stile-agent that a test runs itself, with the demo's AWS role, so that nobody restarts it.
type agent struct {
	cmd   *exec.Cmd
	state string
	ended chan struct{}
	mu    sync.Mutex
	log   bytes.Buffer
}

func (a *agent) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.Write(b)
}

func (a *agent) said() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.String()
}

// enrol is what an agent's configuration says beyond where the API is.
type enrol struct {
	name   string
	token  string            // demo-nodes by default
	labels map[string]string //
	state  string            // a new directory by default
	extra  string            // more lines of YAML
	person string            // whose AWS credentials: env.node by default
	alone  bool              // it finds the Region itself
}

// agent starts one; it is killed when the test is over.
func (s *system) agent(t *testing.T, e enrol) *agent {
	t.Helper()
	return s.agentOf(t, "stile-agent", e)
}

// agentOf starts a program as an agent.
func (s *system) agentOf(t *testing.T, program string, e enrol) *agent {
	t.Helper()
	if e.token == "" {
		e.token = "demo-nodes"
	}
	if e.state == "" {
		e.state = t.TempDir()
	}
	if e.person == "" {
		e.person = "env.node"
	}
	p := s.person(t, e.person)
	var config strings.Builder
	fmt.Fprintf(&config, "api: %s\ntoken: %s\nname: %q\nstate: %s\n", p.Env["STILE_API"], e.token, e.name, e.state)
	if !e.alone {
		fmt.Fprintf(&config, "region: %s\n", p.Env["AWS_REGION"])
	}
	if !strings.Contains(e.extra, "method:") {
		config.WriteString("method: iam\n")
	}
	if len(e.labels) > 0 {
		config.WriteString("labels:\n")
		for k, v := range e.labels {
			fmt.Fprintf(&config, "  %s: %q\n", k, v)
		}
	}
	config.WriteString(e.extra)
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &agent{state: e.state, ended: make(chan struct{})}
	a.cmd = p.Command(t.Context(), program, "run", "--config", path)
	a.begin(t)
	return a
}

// begin starts what the agent's command is.
func (a *agent) begin(t *testing.T) {
	t.Helper()
	a.cmd.Cancel = nil
	a.cmd.Stdout, a.cmd.Stderr = a, a
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = a.cmd.Wait()
		close(a.ended)
	}()
	t.Cleanup(func() {
		_ = a.cmd.Process.Signal(syscall.SIGCONT)
		_ = a.cmd.Process.Kill()
		<-a.ended
		if t.Failed() {
			t.Logf("the agent said:\n%s", a.said())
		}
	})
}

// logs waits until the agent's log holds a word.
func (a *agent) logs(t *testing.T, word string) {
	t.Helper()
	eventually(t, 30*time.Second, func() string {
		if strings.Contains(a.said(), word) {
			return ""
		}
		return "the agent did not say " + word
	})
}
