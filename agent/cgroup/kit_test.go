package cgroup_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/cgroup"
)

// session is what an agent needs of either.
type session interface {
	Configure(attr *syscall.SysProcAttr)
	Lead(pid int) error
	Kill() error
	Empty() (bool, error)
	Close() error
}

var (
	_ session = (*cgroup.Group)(nil)
	_ session = (*cgroup.Kin)(nil)
)

// role says what this test binary is when it starts itself; TestMain plays it.
const role = "CGROUP_TEST_ROLE"

var roles = map[string]func(){}

// The first thread runs main, which the role "headless" is about.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if play := roles[os.Getenv(role)]; play != nil {
		play()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// again starts this binary in a role.
func again(as string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = []string{role + "=" + as}
	return cmd
}

var count atomic.Int64

// name is of no other session, in this process or in another.
func name() string { return fmt.Sprintf("ses_test_%d_%d", os.Getpid(), count.Add(1)) }

// tree opens the machine's. It returns nil where there is none that is usable, having checked that Open says why.
func tree(t *testing.T) *cgroup.Tree {
	t.Helper()
	tr, err := cgroup.Open()
	if err != nil {
		t.Logf("without a usable cgroup v2, this test is about nothing else: %v", err)
		for _, reason := range []string{
			"none is mounted", "read-only", "doesn't run as root", "no cgroup v2", "it takes Linux 5.7", "it shows", "mounted over", "doesn't hold process",
		} {
			if strings.HasPrefix(err.Error(), "finding a usable cgroup v2: ") && strings.Contains(err.Error(), reason) {
				return nil
			}
		}
		t.Fatalf("Open doesn't say why there is no usable cgroup v2: %v", err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// group makes one, and removes it with all that is in it when the test ends.
func group(t *testing.T, tr *cgroup.Tree) (*cgroup.Group, string) {
	t.Helper()
	id := name()
	g, err := tr.New(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Kill(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		until(t, "its cgroup is removed", func() bool {
			if err := tr.Sweep(); err != nil {
				t.Error(err)
			}
			_, err := os.Stat(g.Dir())
			return errors.Is(err, os.ErrNotExist)
		})
	})
	return g, id
}

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("it never came about that %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// start runs a script as the first process of a session. Its processes write their numbers into files of the folder
// that the script is given as $1.
func start(t *testing.T, s session, id, script string) (*exec.Cmd, string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", script, "sh", dir)
	cmd.Env = append(os.Environ(), cgroup.Variable+"="+id)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	s.Configure(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waited := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-waited
	})
	if err := s.Lead(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	go func() {
		defer close(waited)
		_ = cmd.Wait()
	}()
	return cmd, dir
}

// numbers waits until so many processes said who they are, and ends what is left of them when the test does.
func numbers(t *testing.T, dir string, n int) map[string]cgroup.Stat {
	t.Helper()
	out := map[string]cgroup.Stat{}
	until(t, fmt.Sprintf("%d processes run", n), func() bool {
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			text, _ := os.ReadFile(f)
			pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
			if err != nil || !bytes.HasSuffix(text, []byte("\n")) {
				continue
			}
			if p, err := cgroup.Look(pid); err == nil {
				out[filepath.Base(f)] = p
			}
		}
		return len(out) >= n
	})
	t.Cleanup(func() {
		for _, p := range out {
			_ = cgroup.Send(p.PID, p.Start, syscall.SIGKILL)
		}
	})
	return out
}

// lives reports whether a process still runs.
func lives(p cgroup.Stat) bool {
	now, err := cgroup.Look(p.PID)
	return err == nil && now.Start == p.Start && now.Alive
}

// ended waits until all processes have.
func ended(t *testing.T, processes map[string]cgroup.Stat) {
	t.Helper()
	for who, p := range processes {
		until(t, fmt.Sprintf("%s, process %d, has ended", who, p.PID), func() bool { return !lives(p) })
	}
}

// stubborn is a process that ignores what can be ignored; %s stands for its file.
const stubborn = `sh -c 'trap "" HUP INT TERM; echo $$ >"$1"; exec sleep 300' sh "$1"/%s`

// shell is a script of several processes and at last the first, which waits. A %s stands for a stubborn one.
func shell(lines ...string) string {
	var out strings.Builder
	for i, line := range lines {
		out.WriteString(strings.ReplaceAll(line, "%s", fmt.Sprintf(stubborn, strconv.Itoa(i))) + "\n")
	}
	return out.String() + `echo $$ >"$1"/first; wait; exec sleep 300`
}
