// Package cgroup gives each session its own cgroup v2, so that a cut ends every one of its processes: those that called
// setsid(2), forked twice or ignore SIGHUP as well. Where the machine has no usable cgroup v2, [Kin] finds a session's
// processes by kinship instead, with the same methods.
//
// It must not know SSH, the control plane or why a session is cut; it starts no session and watches none. Its entry
// point is [Open]; when that fails, its error says why and [NewKin] takes its place.
//
// The rules cited here are those of the kernel's Documentation/admin-guide/cgroup-v2.rst and of cgroups(7), clone(2),
// proc(5) and pidfd_open(2).
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// parent is the cgroup below the agent's own that holds the sessions.
	parent = "stile-sessions"
	// between is the least time between two sweeps that New does by itself.
	between = time.Minute
	// tries is how often New makes a cgroup again that another agent's sweep or end removed before it was locked.
	tries = 10
)

// Tree is the cgroup that holds the sessions of this agent. It lies below the agent's own, so that whoever ends the
// agent's cgroup, as a service manager does, ends the sessions too. Under systemd the unit should say Delegate=yes,
// which is its promise to leave alone what the agent makes there.
type Tree struct {
	dir  string // where it is mounted
	path string // what /proc/PID/cgroup calls it

	mu    sync.Mutex
	swept time.Time
}

// Open finds the cgroup v2 of this process, makes the sessions' parent in it and removes what earlier runs left there.
// It fails, and says why, where none is mounted, writable and able to have processes born into it (Linux 5.7).
//
// No controller is enabled for the parent or for a session. So the rule against processes in inner cgroups, which the
// agent's own is now, doesn't bite: it is for cgroups that hand controllers to their children (cgroup-v2.rst, "No
// Internal Process Constraint").
func Open() (*Tree, error) {
	t, err := open()
	if err != nil {
		return nil, fmt.Errorf("finding a usable cgroup v2: %w", err)
	}
	_ = t.Sweep() // what can't be removed now is tried again later
	return t, nil
}

func open() (*Tree, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	path, err := ownPath(own)
	if err != nil {
		return nil, err
	}
	dirs, reasons := places(mounts, path)
	for _, dir := range dirs {
		t := &Tree{dir: filepath.Join(dir, parent), path: filepath.Join(path, parent)}
		if err = t.check(dir); err == nil {
			return t, nil
		}
		reasons = join(reasons, fmt.Errorf("%s: %w", dir, err))
	}
	return nil, reasons
}

// join makes one line of several reasons, for a log.
func join(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	default:
		return fmt.Errorf("%w; %w", a, b)
	}
}

// check makes the parent in own, which should be this process's cgroup, and tries it.
func (t *Tree) check(own string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(own, &st); err != nil {
		return err
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return errors.New("something else is mounted over it")
	}
	procs, err := os.ReadFile(filepath.Join(own, "cgroup.procs"))
	if err != nil {
		return err // of a threaded cgroup it can't be read
	}
	if me := fmt.Sprint(os.Getpid()); !hasLine(string(procs), me) {
		return fmt.Errorf("it should be this process's own cgroup, but doesn't contain process %s", me)
	}
	err = t.make()
	if err == nil {
		err = t.probe()
	}
	if uid := os.Geteuid(); uid != 0 && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the agent doesn't run as root (but as user %d): %w", uid, err)
	}
	return err
}

// hasLine looks for a line of a file whose lines end in newlines.
func hasLine(text, line string) bool { return strings.Contains("\n"+text, "\n"+line+"\n") }

// make makes the parent when it is absent. Nobody else enters it: whoever can open a session's directory could hold
// its lock.
func (t *Tree) make() error {
	if err := os.Mkdir(t.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// probe has a process born in the parent whose program doesn't exist: that this is what the start fails of shows that
// everything before, clone3(2) with CLONE_INTO_CGROUP, is allowed here. Older kernels say EINVAL or E2BIG, those
// without clone3 and many sandboxes ENOSYS, a threaded cgroup EOPNOTSUPP.
func (t *Tree) probe() error {
	f, err := os.Open(t.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = syscall.ForkExec(filepath.Join(t.dir, "absent"), []string{"absent"}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())},
	})
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	_ = t.Close()
	return fmt.Errorf("no process can be started in its own cgroup (this needs Linux 5.7): %w", err)
}

// Dir is where the cgroup of the sessions is mounted.
func (t *Tree) Dir() string { return t.dir }

// plain are names that can't lead out of the parent and that no kernel file has.
var plain = regexp.MustCompile(`^[a-z0-9_]+$`)

func checkName(name string) error {
	if !plain.MatchString(name) || len(name) > unix.NAME_MAX {
		return fmt.Errorf("%q can't be a session id: only letters a to z, digits and _ are allowed", name)
	}
	return nil
}

// New makes the cgroup of one session, named after it, and fails if there is one already. At most once a minute
// it sweeps first; so leftovers cost an idle agent nothing, and a busy one holds those of a minute.
func (t *Tree) New(name string) (*Group, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	t.mu.Lock()
	due := time.Since(t.swept) >= between
	t.mu.Unlock()
	if due {
		_ = t.Sweep() // no reason to refuse a session
	}
	dir := filepath.Join(t.dir, name)
	for range tries {
		f, err := t.hold(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("making the cgroup of %s: %w", name, err)
		}
		return &Group{name: name, dir: dir, path: filepath.Join(t.path, name), file: f, switched: "cgroup.kill"}, nil
	}
	return nil, fmt.Errorf("making the cgroup of %s: something keeps removing it", name)
}
