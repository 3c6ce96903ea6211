package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// kill is how a mutant died; the zero value is that it didn't.
type kill struct {
	name  string // the top-level test that failed, or "a panic", "a test that hangs"
	alone bool   // name is a test that fails when it runs alone
}

// hunt builds the tests of the mutant's package and says which one fails. The killer is tried alone first; when it
// passes, is gone, or is "", all of them are tried. A test that fails among the others has to fail again, so that one
// that merely met a busy machine kills nothing. While tests run, running is locked.
func (m Mutant) hunt(ctx context.Context, killer string, running sync.Locker) (kill, error) {
	text, err := os.ReadFile(m.File)
	if err != nil {
		return kill{}, err
	}
	broken, err := m.Broken(string(text))
	if err != nil {
		return kill{}, err
	}
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return kill{}, err
	}
	defer os.RemoveAll(dir)
	file, err := filepath.Abs(m.File)
	if err != nil {
		return kill{}, err
	}
	copied, overlay := filepath.Join(dir, filepath.Base(m.File)), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {file: copied}})
	if err = errors.Join(err, os.WriteFile(copied, []byte(broken), 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return kill{}, err
	}
	tests, err := build(ctx, m.dir(), dir, "-overlay="+overlay)
	if err != nil {
		return kill{}, err
	}
	running.Lock()
	defer running.Unlock()
	if killer != "" && tests.alone(ctx, killer) == dies {
		return kill{killer, true}, nil
	}
	return tests.all(ctx, killer)
}

// binary is a package's tests, built.
type binary struct {
	path  string
	dir   string        // the package, where tests expect to run
	limit time.Duration // how long they may run
}

// build builds a package's tests into a folder.
func build(ctx context.Context, dir, into string, flags ...string) (binary, error) {
	path := filepath.Join(into, "mutant.test")
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", path}, append(flags, "./"+dir)...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go then ends its compilers and takes its folder away
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return binary{}, fmt.Errorf("it does not compile: %w\n%s", err, out)
	}
	if _, err := os.Stat(path); err != nil {
		return binary{}, fmt.Errorf("there are no tests to build: %w", err)
	}
	return binary{path, dir, limit}, nil
}

// The time that the tests of a package have, and what they get to say where they hang.
const limit, grace = 2 * time.Minute, 30 * time.Second

// run runs the tests, until the first fails, and returns what they print.
func (b binary) run(ctx context.Context, flags ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit+grace)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.path, append([]string{"-test.paniconexit0", "-test.failfast", "-test.timeout=" + b.limit.String()}, flags...)...)
	cmd.Dir = b.dir
	cmd.WaitDelay = grace // for processes that tests left behind, which hold the output open
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		out.WriteString("\n" + timedOut)
	}
	return out.String(), err
}

const timedOut = "panic: test timed out"

type outcome int

const (
	unknown outcome = iota // it isn't there, or something else than the test failed
	passes
	dies
)

// alone runs one top-level test, and says what it did. Only the line with its own name says that it failed.
func (b binary) alone(ctx context.Context, test string) outcome {
	out, err := b.run(ctx, "-test.v", "-test.run=^"+regexp.QuoteMeta(test)+"$")
	says := func(what string) bool { return strings.Contains("\n"+out, "\n--- "+what+": "+test+" (") }
	switch {
	case err != nil && says("FAIL"):
		return dies
	case err == nil && says("PASS"):
		return passes
	}
	return unknown
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: ([^\s/]+)`)

// all runs all tests. The one that was tried alone already is not tried so again.
func (b binary) all(ctx context.Context, tried string) (kill, error) {
	found, err := b.first(ctx)
	if err != nil || !found.alone {
		return found, err
	}
	if found.name != tried && b.alone(ctx, found.name) == dies {
		return found, nil
	}
	again, err := b.first(ctx) // it may need others before it
	if err == nil && again == (kill{}) {
		err = fmt.Errorf("%s failed once, and neither alone nor when all were repeated: nobody can rely on it", found.name)
	}
	return kill{name: again.name}, err
}

// first runs all tests and says what fails first; alone means that it is a test.
func (b binary) first(ctx context.Context) (kill, error) {
	out, err := b.run(ctx)
	if err == nil {
		return kill{}, nil
	}
	if found := failed.FindStringSubmatch(out); found != nil {
		return kill{found[1], true}, nil
	}
	if strings.Contains(out, timedOut) {
		return kill{name: "a test that hangs"}, nil
	}
	if strings.Contains(out, "panic: ") || strings.Contains(out, "fatal error: ") {
		return kill{name: "a panic"}, nil
	}
	return kill{}, fmt.Errorf("the tests can't run: %w\n%s", err, out)
}
