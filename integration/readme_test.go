package integration_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// session gives the commands of README.md's first console block, as they stand.
func session(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "```console\n")
	block, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("README.md has no console block")
	}
	var commands []string
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "$ "); ok {
			commands = append(commands, command)
		}
	}
	if len(commands) < 5 || len(commands) > 10 {
		t.Fatalf("the session has %d lines", len(commands))
	}
	return commands
}

// A newcomer types README.md's session, word for word, in a fresh clone with an empty home. The address that
// is cloned from leads to this repository, and the ports are free ones, so that nothing else is disturbed.
func TestTheReadmesSessionWorksInAFreshClone(t *testing.T) {
	dir := t.TempDir()
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "USER=" + userName(), "TERM=dumb", "STILE_PORTS=auto",
		"GOCACHE=" + goEnv(t, "GOCACHE"), "GOMODCACHE=" + goEnv(t, "GOMODCACHE"), "GOPROXY=" + goEnv(t, "GOPROXY"), "GOFLAGS=" + goEnv(t, "GOFLAGS"),
		"GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=url.file://" + source + ".insteadOf", "GIT_CONFIG_VALUE_0=https://github.com/stile-dev/stile",
		"GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*",
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	t.Cleanup(func() {
		down := exec.Command("make", "-C", filepath.Join(dir, "stile"), "--no-print-directory", "down")
		down.Env = env
		if out, err := down.CombinedOutput(); err != nil {
			t.Errorf("make down: %v\n%s", err, out)
		}
	})
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, command := range session(t) {
		script.WriteString("echo '$ " + strings.ReplaceAll(command, "'", `'\''`) + "'\n" + command + "\n")
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Env, cmd.Dir = env, dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"Logged in as ", "node-1  node  ", "\nHELLO\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in what the session printed:\n%s", want, out.String())
		}
	}

	eventually(t, 5*time.Second, func() string {
		ls := exec.CommandContext(ctx, "bash", "-c", ". .stile/env && stile ls")
		ls.Env, ls.Dir = env, filepath.Join(dir, "stile")
		out, err := ls.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "node-1  node  online") {
			return string(out)
		}
		return ""
	})

	t.Run("make demo shows it with its output", func(t *testing.T) {
		demo := exec.CommandContext(ctx, "make", "--no-print-directory", "demo")
		demo.Env, demo.Dir = env, filepath.Join(dir, "stile")
		out, err := demo.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "$ stile ls\n") || !strings.Contains(string(out), "\nHELLO\n") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("make up again changes nothing and says ten lines at most", func(t *testing.T) {
		up := exec.CommandContext(ctx, "make", "--no-print-directory", "up")
		up.Env, up.Dir = env, filepath.Join(dir, "stile")
		out, err := up.CombinedOutput()
		if err != nil || bytes.Count(out, []byte("\n")) > 10 {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
