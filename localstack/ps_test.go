package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/process"
)

// listed is what ps lists as JSON.
func listed(t *testing.T, p place) (list []running) {
	t.Helper()
	var out bytes.Buffer
	if err := ps(p, "json", &out); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &list); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	return list
}

// sleepers is a state directory in which processes of these names are recorded. All run but the dead one.
func sleepers(t *testing.T, names ...string) place {
	t.Helper()
	p, err := newPlace(t.TempDir(), "")
	if err == nil {
		err = p.create()
	}
	o := &ports{path: filepath.Join(p.run(), "ports.json"), AWS: 1, API: 2, Proxy: 3, Tasks: map[string]int{"stile-proxy-0": 4, "stile-proxy-1": 5}}
	if err == nil {
		err = o.save()
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		r, wait, err := process.Start(process.Spec{Name: name, Path: program, Args: []string{"1000"}, Log: p.logOf(name)}, p.run())
		if err != nil {
			t.Fatal(err)
		}
		kill := func() {
			if self, err := os.FindProcess(r.PID); err == nil {
				_ = self.Kill()
			}
			_ = wait()
		}
		if name == "dead" {
			kill()
			continue
		}
		t.Cleanup(kill)
	}
	return p
}

func TestPsListsWhatRunsWithItsAddresses(t *testing.T) {
	p := sleepers(t, "node-10", "node-2", "node-1", "dead", "balancer", "stile-proxy-1", "stile-proxy-0", "localstack")
	addresses := []struct{ name, addr string }{
		{"localstack", "127.0.0.1:1"},
		{"balancer", "127.0.0.1:3"},
		{"stile-proxy-0", "127.0.0.1:4"},
		{"stile-proxy-1", "127.0.0.1:5"},
		{"node-1", ""},
		{"node-2", ""},
		{"node-10", ""},
	}
	var want []running
	var table strings.Builder
	for _, a := range addresses {
		pid := pidOf(t, p, a.name)
		want = append(want, running{a.name, pid, a.addr})
		addr := a.addr
		if addr == "" {
			addr = "-"
		}
		table.WriteString(a.name + " " + strconv.Itoa(pid) + " " + addr + "\n")
	}
	if diff := cmp.Diff(want, listed(t, p)); diff != "" {
		t.Error(diff)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"ps", "-state", p.state}, &out); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(out.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " ")+"\n")
	}
	if diff := cmp.Diff("NAME PID ADDR\n"+table.String(), strings.Join(rows, "")); diff != "" {
		t.Error(diff)
	}
}

func TestPsOfNothingIsAnEmptyArrayOrSaysSo(t *testing.T) {
	state := filepath.Join(t.TempDir(), "none")
	for format, want := range map[string]string{"json": "[]\n", "table": "nothing in " + state + " is running; start it with make up (STILE_STATE names the directory)\n"} {
		var out bytes.Buffer
		if err := run(t.Context(), []string{"ps", "-state", state, "--format", format}, &out); err != nil || out.String() != want {
			t.Errorf("%s: %v, %q", format, err, out.String())
		}
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("%v: ps made the state directory", err)
	}
	if err := run(t.Context(), []string{"ps", "-state", state, "--format", "yaml"}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "--format table or --format json") {
		t.Errorf("error %v", err)
	}
}
