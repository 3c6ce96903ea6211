package cgroup_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/agent/cgroup"
)

func kin(t *testing.T) (*cgroup.Kin, string) {
	t.Helper()
	id := name()
	k, err := cgroup.NewKin(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k, id
}

func TestKinEndsWhomItFinds(t *testing.T) {
	findable := []string{
		`%s &`,
		`setsid %s &`,
		`( setsid %s & )`,    // by its environment
		`( env -i %s & )`,    // by its session
		`env -i setsid %s &`, // by its parent
	}
	k, id := kin(t)
	_, dir := start(t, k, id, shell(findable...))
	all := numbers(t, dir, len(findable)+1)
	empty(t, k, false)
	kill(t, k)
	for who, p := range all {
		if lives(p) {
			t.Errorf("%s lives after the kill", who)
		}
	}
	empty(t, k, true)
	kill(t, k)
}

func TestKinEndsManyThatFork(t *testing.T) {
	k, id := kin(t)
	_, dir := start(t, k, id, bomb)
	all := numbers(t, dir, 1)
	kill(t, k)
	ended(t, all)
	empty(t, k, true)
}

// What Kin says it can't do, it can't; and it leaves alone who is none of the session.
func TestKinMissesWhoLeftTheTreeAndTheVariable(t *testing.T) {
	k, id := kin(t)
	_, dir := start(t, k, id, shell(`( env -i setsid %s & )`))
	all := numbers(t, dir, 2)
	other, otherID := kin(t)
	_, otherDir := start(t, other, otherID, shell(`setsid %s &`))
	others := numbers(t, otherDir, 2)
	// Its parent must be gone, or it would be found by that.
	until(t, "it left the tree", func() bool { p, err := cgroup.Look(all["0"].PID); return err == nil && p.Parent != all["first"].PID })
	kill(t, k)
	ended(t, map[string]cgroup.Stat{"first": all["first"]})
	if !lives(all["0"]) {
		t.Error("it was found; say so in Kin's comment")
	}
	for who, p := range others {
		if !lives(p) {
			t.Errorf("%s of another session has ended", who)
		}
	}
	kill(t, other)
	ended(t, others)
}

// A number that was given to another process means nobody of the session.
func TestKinLeavesAloneWhoTookOverTheNumber(t *testing.T) {
	k, _ := kin(t)
	_, dir := start(t, k, "ses_other", shell(`env -i setsid %s &`, `%s &`))
	all := numbers(t, dir, 3)
	k.Reuse()
	kill(t, k)
	for who, p := range all {
		if !lives(p) {
			t.Errorf("%s has ended", who)
		}
	}
}

// A process lives on without its first thread, and looks like a zombie then.
func TestKinEndsAProcessWithoutItsFirstThread(t *testing.T) {
	k, _ := kin(t)
	cmd := again("headless")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := k.Lead(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	until(t, "its first thread has ended", func() bool { p, err := cgroup.Look(cmd.Process.Pid); return err == nil && p.State == 'Z' })
	empty(t, k, false)
	kill(t, k)
	if p, err := cgroup.Look(cmd.Process.Pid); err == nil && p.Threads > 1 {
		t.Error("it lives after the kill")
		_ = cmd.Process.Kill()
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("it ended by %v", err)
	}
}

func init() {
	roles["headless"] = func() {
		go func() { select {} }()
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0) // ends this thread alone
	}
}

func TestKinSaysWhatItCouldNotKill(t *testing.T) {
	if os.Geteuid() != 0 {
		k, _ := kin(t)
		if err := k.Lead(os.Getpid()); err != nil {
			t.Error(err)
		}
		kill(t, k) // not us
		return
	}
	target := exec.Command("sleep", "300")
	if err := target.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = target.Process.Kill()
		_ = target.Wait()
	}()
	begin := time.Now()
	cmd := again("powerless", strconv.Itoa(target.Process.Pid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	want := fmt.Sprintf("killing ses_powerless: processes remain: 1, among them [%d (S)]", target.Process.Pid)
	if string(text) != want {
		t.Errorf("it says %q, want %q", text, want)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

const nobody = 65534

func init() {
	roles["powerless"] = func() {
		k, err := cgroup.NewKin("ses_powerless")
		if err == nil {
			var pid int
			if pid, err = strconv.Atoi(os.Args[1]); err == nil {
				err = k.Lead(pid)
			}
		}
		if err == nil {
			err = k.Kill()
		}
		fmt.Print(err)
	}
}

func TestKinRefusesNames(t *testing.T) {
	for _, bad := range badNames {
		if _, err := cgroup.NewKin(bad); err == nil {
			t.Errorf("%q is a session", bad)
		}
	}
	k, _ := kin(t)
	if err := errors.Join(k.Close(), k.Close()); err != nil {
		t.Error(err)
	}
	if err := k.Kill(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("killing what is closed: %v", err)
	}
}
