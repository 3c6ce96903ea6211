package cgroup

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// Kin are the processes of one session where there is no cgroup for it. They are found in /proc by kinship:
//
//   - the session's first process, the leader, and its descendants;
//   - who is in its session (setsid(2)) or process group, while it has not been waited for. Afterwards its number may
//     be another's;
//   - who was started with STILE_SESSION_ID=<name> in its environment, and the descendants of all these.
//
// It does not find a process that left the tree, by forking twice and setsid(2), and also has the variable no longer:
// because it was started with a clean environment, or wrote over the memory in which it was. Nor, when the agent isn't
// root, those that became another user, whose environment it can't read and whom it may not signal. So Kin holds
// against processes that are forgotten, and not against somebody who hides them.
type Kin struct {
	name string

	mu     sync.Mutex
	leader process
	killed bool
	closed bool
}

// NewKin begins the search for one session's processes. The process must be started with the variable in its
// environment, and should lead a session (SysProcAttr.Setsid).
func NewKin(name string) (*Kin, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	return &Kin{name: name}, nil
}

// Configure leaves attr as it is.
func (k *Kin) Configure(*syscall.SysProcAttr) {}

// Lead says which process is the session's first. It is called as soon as that process has been started and before it
// may have been waited for. It fails with ErrKilled when Kill came before the process did; then the caller kills again.
func (k *Kin) Lead(pid int) error {
	p, err := look(pid)
	if err != nil {
		return fmt.Errorf("looking at the first process of %s: %w", k.name, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leader = p
	return late(k.name, k.killed)
}

// Kill ends every process that it finds and waits at most two seconds until they have ended. It fails with
// ErrRemain when some have not.
func (k *Kin) Kill() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return fmt.Errorf("killing %s: %w", k.name, os.ErrClosed)
	}
	k.killed = true
	begin := time.Now()
	h := &hunt{name: k.name, leader: k.leader}
	h.stop(begin.Add(limit / 2))
	return h.kill(begin.Add(limit))
}

// Empty reports whether it finds no process of the session.
func (k *Kin) Empty() (bool, error) {
	k.mu.Lock()
	h := &hunt{name: k.name, leader: k.leader}
	k.mu.Unlock()
	found, err := h.find()
	if err != nil {
		return false, fmt.Errorf("looking for the processes of %s: %w", k.name, err)
	}
	return len(found) == 0, nil
}

// Close ends the search. Processes that live on do so.
func (k *Kin) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	return nil
}
