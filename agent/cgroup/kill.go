package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// limit is how long a Kill takes at the most, give or take one look at the processes.
	limit = 2 * time.Second
	// foray is for how long of it processes that left the cgroup are stopped before the cgroup itself is killed, and
	// at least what is left to kill them afterwards.
	foray = limit / 4
	// freezing is how long a cgroup may take to freeze; one that takes longer is killed as it is.
	freezing = 200 * time.Millisecond
)

// ErrRemain is in the error of a Kill that left processes alive: they wait in the kernel where no signal reaches them,
// or may not be signalled by this agent, or came faster than they could be killed.
var ErrRemain = errors.New("processes remain")

// ErrKilled is in the error of a Lead that came after a Kill.
var ErrKilled = errors.New("the session was killed before its first process was started")

func late(name string, killed bool) error {
	if !killed {
		return nil
	}
	return fmt.Errorf("starting %s: %w", name, ErrKilled)
}

// kill ends what is in the group. Writing 1 to cgroup.kill, which came with Linux 5.14, is all it takes: it kills the
// group and those below it, forks that are under way included (cgroup-v2.rst, "cgroup.kill").
func (g *Group) kill(deadline time.Time) error {
	if err := write(filepath.Join(g.dir, g.switched), "1"); err == nil {
		return g.drain(deadline, func() {})
	}
	// Else nothing in it may run while its processes are killed one by one, which frozen ones can be (cgroup-v2.rst,
	// "cgroup.freeze"). Where that fails as well, it takes more rounds.
	freeze := filepath.Join(g.dir, "cgroup.freeze")
	if err := write(freeze, "1"); err == nil {
		// It must not stay so: a process that is started in it now would wait before its execve(2), and with it the
		// agent, which can start no other until then.
		defer func() { _ = write(freeze, "0") }()
		frozen := time.Now().Add(freezing)
		for p := (pause{}); !g.frozen() && time.Now().Before(frozen); {
			p.wait()
		}
	}
	return g.drain(deadline, g.each)
}

// write writes to a file of the kernel's. os.WriteFile would try to make it where it is absent.
func write(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

func (g *Group) frozen() bool {
	events, err := os.ReadFile(filepath.Join(g.dir, "cgroup.events"))
	return err != nil || hasLine(string(events), "frozen 1")
}

// drain calls round until the group is empty.
func (g *Group) drain(deadline time.Time, round func()) error {
	for p := (pause{}); ; p.wait() {
		round()
		is, err := populated(g.dir)
		if err != nil {
			return fmt.Errorf("killing %s: %w", g.name, err)
		}
		if !is {
			return nil
		}
		if time.Now().After(deadline) {
			return remain(g.name, g.processes())
		}
	}
}

// each kills the processes of the group one by one.
func (g *Group) each() {
	for _, p := range g.processes() {
		_ = send(p, syscall.SIGKILL) // what remains is reported
	}
}

// processes lists those of the group and of the groups below it.
func (g *Group) processes() []process {
	var out []process
	_ = filepath.WalkDir(g.dir, func(dir string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil //nolint:nilerr // it was removed meanwhile, and so were its processes
		}
		// A threaded cgroup's can't be read; the file of the cgroup above it has them (cgroup-v2.rst, "Threads").
		procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for line := range bytes.Lines(procs) {
			pid, err := strconv.Atoi(string(bytes.TrimSpace(line)))
			if err != nil {
				continue
			}
			// It may have ended since, and its number be another's: whoever has it now must be inside.
			if p, err := look(pid); err == nil && p.alive() && g.inside(p) {
				out = append(out, p)
			}
		}
		return nil
	})
	return out
}

// inside reports whether a process is in the group or in one below it.
func (g *Group) inside(p process) bool {
	file, err := os.ReadFile(p.file("cgroup"))
	if err != nil {
		return false
	}
	path, err := ownPath(file)
	return err == nil && (path == g.path || strings.HasPrefix(path, g.path+"/"))
}
