package cgroup_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stile-dev/stile/agent/cgroup"
)

// hiding are the ways to get away from who kills by process group, session or parent.
var hiding = []string{
	`setsid %s &`,            // a session of its own
	`( setsid %s & )`,        // no parent in the session
	`( env -i setsid %s & )`, // nor a trace in the environment
	`( env -i nohup %s >/dev/null 2>&1 & )`,
	`%s &`,
}

// kernels are those with cgroup.kill and those without.
func kernels(t *testing.T, f func(t *testing.T, g *cgroup.Group, id string)) {
	for name, prepare := range map[string]func(*cgroup.Group){
		"cgroup.kill": func(*cgroup.Group) {},
		"one by one":  (*cgroup.Group).Forget,
	} {
		t.Run(name, func(t *testing.T) {
			tr := tree(t)
			if tr == nil {
				return
			}
			g, id := group(t, tr)
			prepare(g)
			f(t, g, id)
		})
	}
}

func empty(t *testing.T, s session, want bool) {
	t.Helper()
	got, err := s.Empty()
	if err != nil || got != want {
		t.Errorf("it is empty: %v, %v, want %v", got, err, want)
	}
}

func kill(t *testing.T, s session) {
	t.Helper()
	var err error
	for range 5 { // as a session does: a machine under load may take longer than one kill
		begin := time.Now()
		err = s.Kill()
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		if err == nil {
			return
		}
	}
	t.Error(err)
}

func TestKillEndsThoseWhoHide(t *testing.T) {
	kernels(t, func(t *testing.T, g *cgroup.Group, id string) {
		empty(t, g, true)
		_, dir := start(t, g, id, shell(hiding...))
		all := numbers(t, dir, len(hiding)+1)
		empty(t, g, false)
		kill(t, g)
		for who, p := range all {
			if lives(p) {
				t.Errorf("%s lives after the kill", who)
			}
		}
		empty(t, g, true)
		kill(t, g) // again is no error
	})
}

func TestKillEndsManyThatFork(t *testing.T) {
	kernels(t, func(t *testing.T, g *cgroup.Group, id string) {
		_, dir := start(t, g, id, bomb)
		all := numbers(t, dir, 1)
		until(t, "200 processes run", func() bool { return len(procs(t, g.Dir())) > 200 })
		kill(t, g)
		ended(t, all)
		empty(t, g, true)
	})
}

// bomb starts 200 processes, and then goes on starting some that end.
const bomb = `i=0; while [ $i -lt 200 ]; do setsid sleep 300 & i=$((i+1)); done; echo $$ >"$1"/first; while :; do sleep 0.01 & done`

func procs(t *testing.T, dir string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// move is what only root can do.
func move(t *testing.T, p cgroup.Stat, to string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte(strconv.Itoa(p.PID)), 0); err != nil {
		t.Fatal(err)
	}
}

// The session's own cgroups die and go with it, frozen ones as well.
func TestKillReachesCgroupsInTheGroup(t *testing.T) {
	kernels(t, func(t *testing.T, g *cgroup.Group, id string) {
		_, dir := start(t, g, id, shell(hiding...))
		all := numbers(t, dir, len(hiding)+1)
		inner := filepath.Join(g.Dir(), "a b", "c")
		if err := os.MkdirAll(inner, 0o755); err != nil {
			t.Fatal(err)
		}
		move(t, all["1"], filepath.Dir(inner))
		move(t, all["2"], inner)
		if err := os.WriteFile(filepath.Join(inner, "cgroup.freeze"), []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		kill(t, g)
		ended(t, all)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(g.Dir()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the group stays: %v", err)
		}
	})
}

// As pam_systemd does with sudo and su.
func TestKillFindsWhoWasMovedOut(t *testing.T) {
	kernels(t, func(t *testing.T, g *cgroup.Group, id string) {
		_, dir := start(t, g, id, shell(`setsid %s &`, `( setsid %s & )`, `env -i setsid sh -c 'echo $$ >"$1"/outer; sleep 300 & echo $! >"$1"/inner; wait' sh "$1" &`))
		all := numbers(t, dir, 5)
		for who, p := range all {
			if who != "first" {
				move(t, p, filepath.Dir(filepath.Dir(g.Dir())))
			}
		}
		kill(t, g)
		ended(t, all)
	})
}

func TestProcessesLiveOnWhenTheGroupIsClosed(t *testing.T) {
	tr := tree(t)
	if tr == nil {
		return
	}
	g, id := group(t, tr)
	cmd, dir := start(t, g, id, `( nohup `+strings.Replace(stubborn, "%s", "job", 1)+` >/dev/null 2>&1 & )`)
	all := numbers(t, dir, 1)
	until(t, "the first process has ended", func() bool { p, err := cgroup.Look(cmd.Process.Pid); return err != nil || !p.Alive })
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := tr.Sweep(); err != nil {
		t.Error(err)
	}
	empty(t, g, false)
	if !lives(all["job"]) {
		t.Error("the job has ended")
	}
	if err := g.Kill(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("killing a closed group: %v", err)
	}
	if err := cgroup.Send(all["job"].PID, all["job"].Start, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	ended(t, all)
	until(t, "it is swept", func() bool {
		if err := tr.Sweep(); err != nil {
			t.Error(err)
		}
		_, err := os.Stat(g.Dir())
		return errors.Is(err, fs.ErrNotExist)
	})
	empty(t, g, true)
}

func TestNothingStartsInAClosedGroup(t *testing.T) {
	tr := tree(t)
	if tr == nil {
		return
	}
	g, _ := group(t, tr)
	if err := errors.Join(g.Close(), g.Close()); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	g.Configure(cmd.SysProcAttr)
	if err := cmd.Run(); err == nil {
		t.Error("a process was started, and in no group")
	}
}

func TestALateFirstProcessIsSaidToBe(t *testing.T) {
	kernels(t, func(t *testing.T, g *cgroup.Group, _ string) {
		kill(t, g)
		cmd := exec.Command("sleep", "300")
		cmd.SysProcAttr = &syscall.SysProcAttr{}
		g.Configure(cmd.SysProcAttr)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := g.Lead(cmd.Process.Pid); !errors.Is(err, cgroup.ErrKilled) {
			t.Errorf("starting it after the kill: %v", err)
		}
		kill(t, g)
		if err := cmd.Wait(); err == nil {
			t.Error("it wasn't killed")
		}
	})
}
