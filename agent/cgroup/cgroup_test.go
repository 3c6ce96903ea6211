package cgroup_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/agent/cgroup"
)

var badNames = []string{"", ".", "..", "../x", "a/b", "/a", "a.b", "cgroup.procs", "SES_1", "ses-1", "a b", "a\n", "é", "a\x00", strings.Repeat("a", 256)}

func TestNamesThatEscapeAreRefused(t *testing.T) {
	tr := tree(t)
	if tr == nil {
		return
	}
	for _, bad := range badNames {
		if g, err := tr.New(bad); err == nil {
			t.Errorf("%q is the name of a group", bad)
			_ = g.Close()
		} else if !strings.Contains(err.Error(), "can't be a session id") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTheSessionsLieBelowThisProcess(t *testing.T) {
	tr := tree(t)
	if tr == nil {
		return
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	path, err := cgroup.OwnPath(own)
	if err != nil || !strings.HasSuffix(filepath.Dir(tr.Dir()), strings.TrimSuffix(path, "/")) {
		t.Errorf("%s isn't below %s: %v", tr.Dir(), path, err)
	}
	g, id := group(t, tr)
	_, dir := start(t, g, id, shell())
	first := numbers(t, dir, 1)["first"]
	its, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", first.PID))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cgroup.OwnPath(its); err != nil || got != filepath.Join(path, filepath.Base(tr.Dir()), id) {
		t.Errorf("the first process is in %s: %v", got, err)
	}
	if info, err := os.Stat(tr.Dir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into the parent: %v, %v", info, err)
	}
}

func TestTwoSessionsDoNotShareAGroup(t *testing.T) {
	tr := tree(t)
	if tr == nil {
		return
	}
	_, id := group(t, tr)
	if _, err := tr.New(id); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
}

// What an earlier run left goes; what another agent in the same cgroup has just made stays.
func TestSweepTakesWhatNobodyHas(t *testing.T) {
	tr := tree(t)
	if tr == nil {
		return
	}
	g, _ := group(t, tr)
	old := filepath.Join(tr.Dir(), name())
	leave := func() {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(old, "inner"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	there := func(dir string, want bool) {
		t.Helper()
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", dir, err == nil, want)
		}
	}
	leave()
	tree(t) // another agent, or this one's next run: Open sweeps
	there(old, false)
	there(g.Dir(), true)

	leave()
	group(t, tr)
	there(old, true) // the last sweep was less than a minute ago
	tr.Age(time.Minute)
	group(t, tr)
	there(old, false)
	there(g.Dir(), true)
}

func TestGroupsAreMadeWhileOthersSweepAndEnd(t *testing.T) {
	tr := tree(t)
	if tr == nil {
		return
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				g, err := tr.New(name())
				if err != nil {
					t.Error(err)
					continue
				}
				cmd := exec.Command("true")
				cmd.SysProcAttr = &syscall.SysProcAttr{}
				g.Configure(cmd.SysProcAttr)
				if err := errors.Join(cmd.Run(), g.Close(), tr.Sweep(), tr.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// mounts are views of the machine in which a process opens the tree, and what that says.
var mounts = map[string]struct {
	prepare func(points []string) error
	want    string
}{
	"none mounted": {func(points []string) error {
		return each(points, func(p string) error { return unix.Unmount(p, unix.MNT_DETACH) })
	}, "finding a usable cgroup v2: none is mounted"},
	"read-only": {func(points []string) error {
		return each(points, func(p string) error { return unix.Mount("", p, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "") })
	}, "it is mounted read-only"},
	"hidden": {func(points []string) error {
		return each(points, func(p string) error { return unix.Mount("none", p, "tmpfs", 0, "") })
	}, "something else is mounted over it"},
	"somewhere else": {func(points []string) error {
		if err := unix.Mount("none", "/tmp", "tmpfs", 0, ""); err != nil {
			return err
		}
		const other = "/tmp/a place\\with\tspace"
		if err := os.Mkdir(other, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(points[0], other, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		return each(points, func(p string) error { return unix.Unmount(p, unix.MNT_DETACH) })
	}, "opened /tmp/a place\\with\tspace"},
}

func each(points []string, f func(point string) error) error {
	for _, p := range points {
		if err := f(p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

func init() {
	roles["open"] = func() {
		if len(os.Args) > 1 {
			text, err := os.ReadFile("/proc/self/mountinfo")
			if err == nil {
				err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
			}
			var points []string
			for _, m := range cgroup.ParseMounts(text) {
				points = append(points, m.Point)
			}
			if err == nil {
				err = mounts[os.Args[1]].prepare(points)
			}
			if err != nil {
				fmt.Println("preparing:", err)
				return
			}
		}
		tr, err := cgroup.Open()
		if err != nil {
			fmt.Println(err)
			return
		}
		defer tr.Close()
		fmt.Println("opened", tr.Dir())
	}
}

func TestOpenSaysWhyThereIsNone(t *testing.T) {
	run := func(want string, attr *syscall.SysProcAttr, args ...string) {
		t.Helper()
		cmd := again("open", args...)
		cmd.SysProcAttr = attr
		text, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%v: it says %q, %v, want %q", args, text, err, want)
		}
	}
	tr := tree(t)
	if os.Geteuid() != 0 || tr == nil {
		return // and tree has checked the reason
	}
	run("finding a usable cgroup v2: ", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
	run("the agent doesn't run as root (but as user 65534)", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
	for name, c := range mounts {
		run(c.want, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}, name)
	}
}
