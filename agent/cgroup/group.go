package cgroup

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// Group is the cgroup of one session. No process leaves it by setsid(2), by forking or by closing what it has open.
// These get out:
//
//   - what root moves to another cgroup; pam_systemd(8) does so on many machines for sudo(8) and su(1) and all that
//     they start. Kill finds them as [Kin] does, and misses what that misses;
//   - what another service starts on a user's behalf, such as cron, systemd --user or a container engine. That is
//     no process of the session, and stays.
type Group struct {
	name string
	dir  string
	path string // what /proc/PID/cgroup calls it

	mu     sync.Mutex
	file   *os.File
	leader process
	killed bool
	closed bool

	switched string // the kernel's file that kills the group
}

// Configure has the process that attr is for start in the group: it is in it before it runs its first instruction
// (clone(2), CLONE_INTO_CGROUP). The group must be open until the process has been started.
func (g *Group) Configure(attr *syscall.SysProcAttr) {
	attr.UseCgroupFD, attr.CgroupFD = true, int(g.file.Fd())
}

// Lead says which process is the session's first, which helps Kill find those that were moved out of the group.
// It is called as soon as that process has been started and before it may have been waited for. It fails with ErrKilled
// when Kill came before the process did; then the caller kills again.
func (g *Group) Lead(pid int) error {
	p, err := look(pid)
	if err != nil {
		return fmt.Errorf("looking at the first process of %s: %w", g.name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leader = p
	return late(g.name, g.killed)
}

// Kill ends every process of the session and waits at most two seconds until they have ended. It fails with
// ErrRemain when some have not.
func (g *Group) Kill() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return fmt.Errorf("killing %s: %w", g.name, os.ErrClosed)
	}
	g.killed = true
	begin := time.Now()
	// Processes that left the group are found by their parents, which will be gone: so look first and kill later.
	h := &hunt{name: g.name, leader: g.leader, spare: g.inside}
	h.stop(begin.Add(foray))
	return join(g.kill(begin.Add(limit-foray)), h.kill(begin.Add(limit)))
}

// Empty reports whether no process is in the group. Zombies don't count, nor do processes that were moved out.
func (g *Group) Empty() (bool, error) {
	is, err := populated(g.dir)
	if err != nil {
		return false, fmt.Errorf("looking into the cgroup of %s: %w", g.name, err)
	}
	return !is, nil
}

// Close removes the group. When processes live on in it, such as what somebody who left had started with nohup(1),
// it stays until a sweep finds it empty.
func (g *Group) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	defer g.file.Close() // at the end: it holds the lock
	if err := remove(g.dir); err != nil {
		return fmt.Errorf("removing the cgroup of %s: %w", g.name, err)
	}
	return nil
}
