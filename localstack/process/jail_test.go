package process_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stile-dev/stile/localstack/process"
)

// jailed is a program that says what it sees.
const jailed = `package main

import (
	"fmt"
	"os"
)

func main() {
	dir, _ := os.Getwd()
	entries, _ := os.ReadDir("/")
	fmt.Println("wd", dir, "uid", os.Getuid(), "gid", os.Getgid())
	for _, e := range entries {
		fmt.Println("entry", e.Name())
	}
	_, err := os.Stat("../../../../etc/passwd")
	fmt.Println("outside", err)
	fmt.Println("write", os.WriteFile("/new", nil, 0o600))
}
`

// run builds the program into an empty directory, runs it there, and returns its output.
func run(t *testing.T, jail func(root string) *process.Jail) string {
	t.Helper()
	source, root := t.TempDir(), t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, "main.go"), []byte(jailed), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(root, "program"), filepath.Join(source, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	log := filepath.Join(t.TempDir(), "log")
	_, wait, err := process.Start(process.Spec{Name: "jailed", Path: "/program", Log: log, Jail: jail(root)}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
	said, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return string(said)
}

func TestSec_S80_AConfinedProgramSeesItsDirectoryAlone(t *testing.T) {
	said := run(t, func(root string) *process.Jail {
		j := &process.Jail{Root: root, UID: 65532, GID: 65532}
		if err := j.Possible(); err != nil {
			t.Fatalf("%v: run the tests as root, or allow user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0)", err)
		}
		return j
	})
	for _, want := range []string{"wd / uid 65532 gid 65532\n", "outside stat ../../../../etc/passwd: no such file or directory\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("it said %q, want %q", said, want)
		}
	}
	if strings.Count(said, "entry ") != 1 {
		t.Errorf("it sees %q", said)
	}
	if os.Geteuid() == 0 && !strings.Contains(said, "write open /new: permission denied") {
		t.Errorf("it writes to a root that isn't its own: %q", said)
	}
}

func TestSec_S80_NothingIsConfinedAsRoot(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "program"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, j := range []process.Jail{{Root: root, GID: 1}, {Root: root, UID: 1}} {
		_, _, err := process.Start(process.Spec{Name: "x", Path: "/program", Log: filepath.Join(t.TempDir(), "log"), Jail: &j}, t.TempDir())
		if err == nil || !strings.Contains(err.Error(), "must not run as root") || j.Possible() == nil {
			t.Errorf("%+v: %v", j, err)
		}
	}
}
