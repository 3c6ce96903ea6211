package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A session's directory is locked, shared, by whoever has its Group, and exclusively by who removes it. The lock goes
// with the process that held it (flock(2)); so a sweep removes what a dead agent left, but never a cgroup that was
// just made and whose first process is about to be started, be it by this agent or by another in the same cgroup.

// hold makes dir, opens and locks it. It fails with fs.ErrNotExist when dir was removed meanwhile.
func (t *Tree) hold(dir string) (*os.File, error) {
	if err := t.make(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Open(dir) // clone(2) takes O_RDONLY as well as O_PATH, and flock(2) only the former
	if err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	if err = lock(f, unix.LOCK_SH); err == nil {
		var mine, there os.FileInfo
		if mine, err = f.Stat(); err == nil {
			there, err = os.Stat(dir)
		}
		if err == nil && !os.SameFile(mine, there) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func lock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Sweep removes the cgroups that nobody holds and no process is in: those of sessions that were closed while
// processes lived on, and those that an earlier run of the agent left. Open and New call it.
func (t *Tree) Sweep() error {
	t.mu.Lock()
	t.swept = time.Now()
	t.mu.Unlock()
	entries, err := os.ReadDir(t.dir)
	if err != nil && !gone(err) {
		return fmt.Errorf("sweeping cgroups: %w", err)
	}
	var failed error
	for _, e := range entries {
		if !e.IsDir() || !plain.MatchString(e.Name()) {
			continue
		}
		if err := sweep(filepath.Join(t.dir, e.Name())); err != nil {
			failed = join(failed, err)
		}
	}
	if failed != nil {
		return fmt.Errorf("sweeping cgroups: %w", failed)
	}
	return nil
}

func sweep(dir string) error {
	f, err := os.Open(dir)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	err = lock(f, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // somebody's
	}
	if err != nil {
		return err
	}
	return remove(dir)
}

// Close removes the parent of the sessions if none is left. Other agents that share it make it again.
func (t *Tree) Close() error {
	err := os.Remove(t.dir)
	if err == nil || gone(err) || busy(err) {
		return nil
	}
	return fmt.Errorf("removing the cgroup of the sessions: %w", err)
}

// remove removes a cgroup without processes, and first those that root may have made in it. One with processes stays,
// and so does one in which some turned up meanwhile.
func remove(dir string) error {
	is, err := populated(dir)
	if is || err != nil {
		return err
	}
	if err := prune(dir); err != nil && !busy(err) {
		return err
	}
	return nil
}

// prune removes a cgroup and those below it.
func prune(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() && err == nil {
			err = prune(filepath.Join(dir, e.Name()))
		}
	}
	if err == nil {
		err = os.Remove(dir) // rmdir(2) is all that the files in it need
	}
	if gone(err) {
		return nil
	}
	return err
}

// populated reports whether a process is in the cgroup or in one below it; zombies don't count (cgroup-v2.rst,
// "[Un]populated Notification"). A removed cgroup has none.
func populated(dir string) (bool, error) {
	events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch text := string(events); {
	case hasLine(text, "populated 0"):
		return false, nil
	case hasLine(text, "populated 1"):
		return true, nil
	default:
		return false, fmt.Errorf("%s/cgroup.events doesn't say if it is populated: %q", dir, strings.TrimSpace(text))
	}
}

// gone: a removed cgroup is absent by name and dead, ENODEV, to who has its file open.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) }

func busy(err error) bool { return errors.Is(err, syscall.EBUSY) }
