package conformance_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// made runs make with the project's Makefile in a directory of its own.
func made(t *testing.T, dir string, arguments ...string) (string, error) {
	t.Helper()
	raw, err := os.ReadFile("../../Makefile")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "Makefile"), raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "make", append([]string{"-C", dir}, arguments...)...)
	for _, v := range os.Environ() { // a make that runs this test has settings of its own
		if !strings.HasPrefix(v, "MAKE") && !strings.HasPrefix(v, "MFLAGS=") && !strings.HasPrefix(v, "STILE_STATE=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("make is missing: install the package make")
	}
	return string(out), err
}

func TestSwitchesOfMakeAreOnWithOneOrTrue(t *testing.T) {
	for value, want := range map[string]string{"": "false", "0": "false", "false": "false", "1": "true", "true": "true"} {
		out, err := made(t, t.TempDir(), "-n", "conformance", "ENDPOINT=aws", "CLEAN="+value, "NLB="+value)
		if err != nil || !strings.Contains(out, "-clean="+want+" -nlb="+want) {
			t.Errorf("%q: %v: %s", value, err, out)
		}
	}
	for _, name := range []string{"CLEAN", "NLB"} {
		out, err := made(t, t.TempDir(), "-n", "conformance", "ENDPOINT=aws", name+"=yes")
		if err == nil || !strings.Contains(out, "say "+name+"=1") {
			t.Errorf("%s=yes: %v: %s", name, err, out)
		}
	}
}

func TestMakeCleanRemovesTheStateDirectoryAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	file := func(path string) {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	stands := func(path string) bool {
		_, err := os.Stat(filepath.Join(dir, path))
		return err == nil
	}
	file("my state/run/lock")
	file("my/thesis")
	file("state/poem")
	file("home/run/other")
	if out, err := made(t, dir, "clean", "STILE_STATE=my state"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if stands("my state") || !stands("my/thesis") || !stands("state/poem") {
		t.Error("it removed something else than the state directory")
	}
	out, err := made(t, dir, "clean", "STILE_STATE=home")
	if err == nil || !strings.Contains(out, "no state directory") || !stands("home/run/other") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := made(t, dir, "clean", "STILE_STATE=nowhere"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
