package integration_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stile-dev/stile/integration/clean"
	"github.com/stile-dev/stile/integration/stand"
)

// repository is where the tests run from.
const repository = ".."

// system is one whole system, of copies that a test may change.
type system struct{ *stand.System }

// shared is the system that most tests use. Whoever stops a part of it brings it back.
var shared *system

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(start(m))
}

// start gives the tests a directory of their own, and the user a clean home where it can: what somebody's login shell
// reads at its start is not ours to wait for.
func start(m *testing.M) int {
	dir := clean.Dir()
	if dir == "" {
		made, err := os.MkdirTemp("", "stile-integration-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		dir = made
	}
	ran, status, err := clean.Run(dir)
	if ran {
		_ = os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "note:", err)
	}
	if ran {
		return status
	}
	return run(m, dir)
}

func run(m *testing.M, dir string) int {
	var err error
	shared, err = newSystem(dir)
	if err == nil {
		stopWhenTold(shared, dir)
	}
	if err == nil {
		_, err = shared.up()
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	if code != 0 && shared != nil {
		fmt.Fprint(os.Stderr, shared.Logs())
	}
	if shared != nil {
		if err := shared.down(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if code == 0 && whole() {
		code = shared.idle()
	}
	if clean.Dir() != "" {
		return code // who started this process removes the directory
	}
	if err := os.RemoveAll(dir); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// stopWhenTold stops the system that all tests share when they are interrupted. One that a test started for itself stays.
func stopWhenTold(s *system, dir string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		fmt.Fprintln(os.Stderr, "ended by the signal:", <-signals)
		if err := s.down(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		_ = os.RemoveAll(dir) // what is left is among the system's temporary files
		os.Exit(1)
	}()
}

// newSystem copies what a system is made of below dir, and adds those whom only tests need: the reader, a node of the
// demo's role, and somebody whom no rule lets in.
func newSystem(dir string) (*system, error) {
	s, err := stand.Copy(context.Background(), repository, dir)
	if err != nil {
		return nil, err
	}
	stranger := stand.Guest{Env: "env.stranger", Role: "Stranger", Session: "stranger"}
	if err := errors.Join(s.AdmitReader(), s.Admit(stranger), admitMeddler(s), withdraw(s)); err != nil {
		return nil, err
	}
	return &system{s}, nil
}

func (s *system) up() (string, error) { return s.Localstack(context.Background(), "up") }

func (s *system) down() error {
	_, err := s.Localstack(context.Background(), "down")
	return errors.Join(err, s.remember())
}

// pid is the process id of a part of the system.
func (s *system) pid(t *testing.T, name string) int {
	t.Helper()
	pid, err := s.PID(name)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// eventually waits until the condition gives "" and fails with its last words after the deadline.
func eventually(t *testing.T, within time.Duration, condition func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last := condition()
	for last != "" {
		select {
		case <-ctx.Done():
			t.Fatalf("still after %s: %s", within, last)
		case <-tick.C:
			last = condition()
		}
	}
}
