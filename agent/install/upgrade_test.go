package install_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stile-dev/stile/agent/config"
	"github.com/stile-dev/stile/agent/install"
	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/fault"
)

// A program that was replaced goes on running, and with it the fault that an upgrade was to repair. The agent is this test here.
func TestAnAgentIsRestartedForANewProgramUnlessItHasUsers(t *testing.T) {
	dir := serving(t, status.Status{ID: "agt_1", Tunnels: 1})
	if err := install.Await(t.Context(), dir, 1<<40, new(bytes.Buffer)); err != nil { // until it answers
		t.Fatal(err)
	}
	same, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		program, dir string
		users        int
		restart      bool
		says         string
	}{
		"the same":                    {same, dir, 0, false, ""},
		"another":                     {"/bin/sh", dir, 0, true, "restarting"},
		"another, but it has users":   {"/bin/sh", dir, 1, false, "systemctl restart stile-agent"},
		"one that isn't there":        {"/nonexistent", dir, 0, false, ""},
		"another, and nobody answers": {"/bin/sh", t.TempDir(), 0, false, ""},
	} {
		var out bytes.Buffer
		got := install.Plan{Program: c.program}.Renews(t.Context(), c.dir, c.users, &out)
		if got != c.restart || (c.says == "") != (out.Len() == 0) || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: %v, %s", name, got, out.String())
		}
	}
}

// The unit that an installation without the package wrote would go on starting its own program.
func TestThePackagesProgramIsNotInstalledBehindAnotherUnit(t *testing.T) {
	const program = "/usr/bin/stile-agent"
	p := install.Plan{Settings: minimal(), File: config.File, Program: program}
	unit := filepath.Join(t.TempDir(), "stile-agent.service")
	if err := p.Shadowed(unit); err != nil {
		t.Errorf("no such unit: %v", err)
	}
	for starts, taken := range map[string]bool{program: false, "/usr/local/bin/stile-agent": true, program + "-2": true} {
		text := strings.ReplaceAll(install.Unit, "ExecStart="+program+" ", "ExecStart="+starts+" ")
		if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := p.Shadowed(unit)
		if (err != nil) != taken || taken && (!fault.Is(err, fault.Conflict) || !strings.Contains(fault.From(err).Hint, "rm "+unit)) {
			t.Errorf("it starts %s: %v", starts, err)
		}
	}
	if err := p.Shadowed(filepath.Dir(unit)); err == nil {
		t.Error("what can't be read is taken for harmless")
	}
}
