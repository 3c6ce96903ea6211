package install_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/agent/config"
	"github.com/stile-dev/stile/agent/install"
	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/fault"
)

func minimal() []install.Setting {
	return []install.Setting{{Key: "api", Value: "https://api.example/prod"}, {Key: "token", Value: "web"}, {Key: "name", Value: "web-1"}}
}

// Whatever is written is read as exactly that: no value becomes a key, another value or another type.
func TestSec_S88_AConfigurationSaysWhatItWasToSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"yes", "~", "1e3", "0x1f", "a: b", "'", "\"\n  x: y", "- a", "# no", "|", "!!binary", "\x00", "\u2028", " a ", "*a", "&a", "true", "null", "${HOME}", "\r\n"}))
		key, value, target := texts.Draw(t, "key"), texts.Draw(t, "value"), texts.Draw(t, "target")
		text, err := install.Write(append(minimal(), install.Setting{Key: "targets", Value: []string{target, "node/b"}}, install.Setting{Key: "labels", Value: map[string]string{key: value}}))
		if err != nil {
			if fault.From(err).Code != fault.BadInput {
				t.Fatal(err)
			}
			return
		}
		c, err := config.Parse([]byte(text))
		if err != nil && c.API == "" {
			return // refused as a whole
		}
		if c.API != "https://api.example/prod" || c.Token != "web" || len(c.Targets) != 2 || c.Targets[0] != target || len(c.Labels) != 1 || c.Labels[key] != value {
			t.Fatalf("%q is %+v", text, c)
		}
	})
}

func TestDryRunPrintsBothFiles(t *testing.T) {
	for _, c := range []struct{ file, program string }{{config.File, "/bin/sh"}, {"/etc/stile/second.yaml", "/bin/sh"}} {
		program, err := filepath.EvalSymlinks(c.program)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := (install.Plan{Settings: minimal(), File: c.file, Program: program}).Show(&out); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"# " + c.file + "\napi: https://api.example/prod\ntoken: web\nname: web-1\n", "ExecStart=" + program + " run --config " + c.file + "\n", "ConditionPathExists=" + c.file + "\n"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, out.String())
			}
		}
	}
}

func TestWhatTheAgentWouldRefuseIsNotInstalled(t *testing.T) {
	p := install.Plan{Settings: []install.Setting{{Key: "api", Value: "http://api.example"}}, File: config.File, Program: "/usr/bin/env"}
	if err := p.Show(new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "https") || !strings.Contains(err.Error(), "token") {
		t.Errorf("error %v", err)
	}
}

func TestSec_S88_RootRunsNoProgramThatOthersCanReplace(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "stile-agent")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	// The test's directory is below /tmp, where everybody may make files.
	p := install.Plan{Settings: minimal(), File: config.File, Program: program}
	if err := p.Show(new(bytes.Buffer)); fault.From(err).Code != fault.Denied || !strings.Contains(err.Error(), "replace") {
		t.Errorf("error %v", err)
	}
	for _, path := range []string{"/usr/bin/../bin/env", "bin/env", "/usr/bin/%h", "/usr/bin/a b", "/usr/bin/a\nExecStartPre=/bin/sh"} {
		p := install.Plan{Settings: minimal(), File: config.File, Program: path}
		q := install.Plan{Settings: minimal(), File: path, Program: "/usr/bin/env"}
		for _, p := range []install.Plan{p, q} {
			if err := p.Show(new(bytes.Buffer)); fault.From(err).Code != fault.BadInput {
				t.Errorf("%+v: %v", p, err)
			}
		}
	}
}

// serving is an agent that says this about itself.
func serving(t *testing.T, s status.Status) string {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- status.Serve(ctx, dir, func() status.Status { return s }) }()
	t.Cleanup(func() { cancel(); <-ended })
	return dir
}

func TestAnInstallationEndsAsTheAgentDoes(t *testing.T) {
	refused := func(in time.Duration) status.Status {
		return status.Status{Refusals: []status.Refusal{{Code: string(fault.Denied), Reason: "another account", Hint: "ask for a token", RetryAt: time.Now().Add(in)}}}
	}
	for name, c := range map[string]struct {
		status status.Status
		limit  time.Duration
		code   fault.Code
		says   string
	}{
		"joined":                      {status.Status{ID: "agt_1", Tunnels: 1}, time.Hour, "", "joined as agt_1"},
		"refused until after the end": {refused(2 * time.Hour), time.Hour, fault.Denied, "another account"},
		"refused at the end":          {refused(time.Millisecond), time.Second, fault.Denied, "another account"},
		"silent about it":             {status.Status{}, time.Second, fault.Unreachable, "not joined yet"},
	} {
		var out bytes.Buffer
		err := install.Await(t.Context(), serving(t, c.status), c.limit, &out)
		if c.code == "" && (err != nil || !strings.Contains(out.String(), c.says)) {
			t.Errorf("%s: %v, %s", name, err, out.String())
		}
		if c.code != "" && (fault.From(err).Code != c.code || !strings.Contains(err.Error(), c.says) || fault.From(err).Hint == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// After a restart an agent doesn't answer at first.
	dir, ctx := t.TempDir(), t.Context()
	asked := make(chan struct{})
	go func() {
		time.AfterFunc(300*time.Millisecond, func() { close(asked) })
		<-asked
		_ = status.Serve(ctx, dir, func() status.Status { return status.Status{} })
	}()
	if err := install.Await(ctx, dir, 2*time.Second, new(bytes.Buffer)); !strings.Contains(err.Error(), "not joined yet") {
		t.Errorf("late to answer: %v", err)
	}
	if err := install.Await(t.Context(), t.TempDir(), time.Second, new(bytes.Buffer)); cmp.Diff(fault.From(err).Code, fault.Unreachable) != "" {
		t.Errorf("nobody there: %v", err)
	}
}
