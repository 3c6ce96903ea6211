package process_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stile-dev/stile/localstack/process"
)

// A program that was called with a lock starts another one: the lock ends with the first.
func TestALockAroundTheProgramIsNotPassedOn(t *testing.T) {
	if run := os.Getenv("PROCESS_TEST_RUN"); run != "" {
		spec := sleeper(t, "exec sleep 1000")
		spec.Log = filepath.Join(run, "log")
		if _, _, err := process.Start(spec, run); err != nil {
			t.Fatal(err)
		}
		return
	}
	run := place(t)
	path := filepath.Join(run, "lock")
	lock, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	caller := exec.Command(os.Args[0], "-test.run=^TestALockAroundTheProgramIsNotPassedOn$")
	caller.Env = append(os.Environ(), "PROCESS_TEST_RUN="+run)
	caller.ExtraFiles = []*os.File{lock}
	if out, err := caller.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if r, ok := process.Load(run, "sleeper"); !ok || !r.Alive() {
		raw, _ := os.ReadFile(filepath.Join(run, "log"))
		t.Fatalf("nothing was started: %s", strings.TrimSpace(string(raw)))
	}
	again, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if err := syscall.Flock(int(again.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Errorf("what was started still holds the lock: %v", err)
	}
}
