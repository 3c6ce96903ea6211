package cgroup_test

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stile-dev/stile/agent/cgroup"
)

// TestSec_S67_ASignalReachesWhomItsUserMayKill: a process of another user stays, whoever the agent is.
func TestSec_S67_ASignalReachesWhomItsUserMayKill(t *testing.T) {
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group, me := cmd.Process.Pid, uint32(os.Getuid())
	if err := cgroup.SignalAs(group, me+1, syscall.SIGKILL); !errors.Is(err, syscall.EPERM) {
		t.Errorf("another user's signal: %v", err)
	}
	if err := cgroup.SignalAs(group, me, syscall.SIGTERM); err != nil {
		t.Errorf("its own user's signal: %v", err)
	}
	_ = cmd.Wait()
	if w, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || w.Signal() != syscall.SIGTERM {
		t.Errorf("it ended by %v", cmd.ProcessState)
	}
	if err := cgroup.SignalAs(group, me, syscall.SIGTERM); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a group that is gone: %v", err)
	}
}

func TestRealAndSavedUserMakeAnOwner(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\tsu\nUid:\t1000\t0\t0\t0\nGid:\t0\t0\t0\t0\n": true, // setuid root, as it was started
		"Uid:\t0\t0\t1000\t0\n":                              true,
		"Uid:\t0\t1000\t0\t1000\n":                           false,
		"Uid:\t0\t0\t0\t0\n":                                 false,
		"Uid:\t10000\t0\t0\t0\n":                             false,
		"Name:\tUid:\t1000\nGid:\t1000\t1000\t1000\t1000\n":  false,
		"": false, "Uid:\t1000\n": false,
	} {
		if got := cgroup.Owned([]byte(status), 1000); got != want {
			t.Errorf("%q: %v", status, got)
		}
	}
}
