package process_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/process"
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never came: %s", what)
		case <-tick.C:
		}
	}
}

// place is a directory of records, whose processes end with the test.
func place(t *testing.T) string {
	t.Helper()
	run := t.TempDir()
	t.Cleanup(func() {
		for _, r := range process.List(run) {
			r.StopTimeout = time.Nanosecond
			if err := r.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	return run
}

func sleeper(t *testing.T, script string) process.Spec {
	t.Helper()
	return process.Spec{Name: "sleeper", Path: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log"), StopTimeout: 2 * time.Second, Env: []string{"PATH=/usr/bin:/bin"}}
}

func supervisor(t *testing.T, run string) *process.Supervisor {
	t.Helper()
	s := process.NewSupervisor(run, slog.New(slog.DiscardHandler))
	t.Cleanup(s.Release)
	return s
}

func pid(t *testing.T, run string) int {
	t.Helper()
	r, ok := process.Load(run, "sleeper")
	if !ok {
		t.Fatal("no record")
	}
	return r.PID
}

func TestAProcessIsRestartedWhenItEnds(t *testing.T) {
	run := place(t)
	s := supervisor(t, run)
	if err := s.Ensure(t.Context(), sleeper(t, "exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	first := pid(t, run)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another process", func() bool {
		r, ok := process.Load(run, "sleeper")
		return ok && r.PID != first && r.Alive()
	})
	if n := s.Ended("sleeper"); n != 1 {
		t.Errorf("it ended %d times", n)
	}
	if err := s.Stop(t.Context(), "sleeper"); err != nil {
		t.Fatal(err)
	}
	if n := s.Ended("sleeper"); n != 1 {
		t.Errorf("with being stopped it ended %d times by itself", n)
	}
	if err := s.Ensure(t.Context(), sleeper(t, "exec sleep 1000")); err != nil || s.Ended("sleeper") != 0 {
		t.Errorf("a new one ended %d times: %v", s.Ended("sleeper"), err)
	}
}

func TestAProcessOutlivesItsSupervisorAndIsAdopted(t *testing.T) {
	run := place(t)
	spec := sleeper(t, "exec sleep 1000")
	first := supervisor(t, run)
	if err := first.Ensure(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	before := pid(t, run)
	first.Release()
	second := supervisor(t, run)
	if err := second.Ensure(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if after := pid(t, run); after != before {
		t.Fatalf("process %d was replaced by %d", before, after)
	}
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the adopted process comes back", func() bool { r, ok := process.Load(run, "sleeper"); return ok && r.PID != before && r.Alive() })
}

func TestAnOutdatedProcessIsReplaced(t *testing.T) {
	run := place(t)
	s := supervisor(t, run)
	spec := sleeper(t, "exec sleep 1000")
	if err := s.Ensure(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	before := pid(t, run)
	old, _ := process.Load(run, "sleeper")
	spec.Env = append(spec.Env, "NEW=1")
	if err := s.Ensure(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if pid(t, run) == before || old.Alive() {
		t.Error("the old process still runs")
	}
}

func TestStopKillsWhatIgnoresSIGTERM(t *testing.T) {
	run := place(t)
	s := supervisor(t, run)
	spec := sleeper(t, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
	spec.StopTimeout = 50 * time.Millisecond
	if err := s.Ensure(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the trap", func() bool { raw, _ := os.ReadFile(spec.Log); return strings.Contains(string(raw), "ready") })
	r, _ := process.Load(run, "sleeper")
	if err := s.Stop(t.Context(), "sleeper"); err != nil {
		t.Fatal(err)
	}
	if r.Alive() {
		t.Error("it is still there")
	}
	if _, ok := process.Load(run, "sleeper"); ok {
		t.Error("its record is still there")
	}
}

func TestASlowEndKeepsNoOtherNameWaiting(t *testing.T) {
	run := place(t)
	s := supervisor(t, run)
	slow := sleeper(t, "trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done")
	slow.StopTimeout = time.Minute
	if err := s.Ensure(t.Context(), slow); err != nil {
		t.Fatal(err)
	}
	said := func(word string) func() bool {
		return func() bool { raw, _ := os.ReadFile(slow.Log); return strings.Contains(string(raw), word) }
	}
	eventually(t, "the trap", said("ready"))
	ended := make(chan error, 1)
	go func() { ended <- s.Stop(context.WithoutCancel(t.Context()), "sleeper") }()
	eventually(t, "the signal", said("asked"))

	other := sleeper(t, "exec sleep 1000")
	other.Name = "other"
	if err := s.Ensure(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Errorf("it waited for the end of the other one, %v", err)
	default:
	}
	if err := syscall.Kill(pid(t, run), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSec_ARecycledProcessIdIsNeverKilled(t *testing.T) {
	run := place(t)
	s := supervisor(t, run)
	if err := s.Ensure(t.Context(), sleeper(t, "exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	r, _ := process.Load(run, "sleeper")
	stranger := r
	stranger.Stamp = "another start"
	if stranger.Alive() {
		t.Error("a process of another start time was taken for ours")
	}
	if err := stranger.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !r.Alive() {
		t.Error("a process was killed that only has the recorded id")
	}
}

func TestAMissingProgramIsReported(t *testing.T) {
	spec := sleeper(t, "")
	spec.Path = "/nowhere/stile"
	if err := supervisor(t, place(t)).Ensure(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "/nowhere/stile") {
		t.Errorf("error %v", err)
	}
}
