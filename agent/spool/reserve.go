package spool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

// reserveSize is disk space held back for what sessions that run have yet to say when the disk fills up under them:
// some hundred ends.
const reserveSize = 256 << 10

const reserveName = "reserve"

// Allocate makes path a file that takes up size bytes of disk.
func Allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		_, err = f.Write(make([]byte, size))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}

// Reserve is disk space held back for what must still be written when the disk is full. Whoever uses it locks.
type Reserve struct {
	Path     string
	Size     int64
	Allocate func(path string, size int64) error // such as [Allocate]
	Held     bool                                // it takes its space on disk
}

// Hold takes the space, or fails when there is too little disk.
func (r *Reserve) Hold() error {
	if r.Held {
		return nil
	}
	if err := r.Allocate(r.Path, r.Size); err != nil {
		return err
	}
	r.Held = true
	return nil
}

// Release frees the space for a write that found the disk full, and reports whether there was any.
func (r *Reserve) Release() bool {
	if !r.Held {
		return false
	}
	r.Held = false
	return os.Remove(r.Path) == nil
}

// Note keeps an event that is no session's, such as a denial, as long as less than half of the spool is taken: whoever
// can only cause such events can't take the room of sessions.
func (s *Spool) Note(e audit.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record(e, s.config.Limit/2)
}

// Scarce reports whether more than half of the spool is taken.
func (s *Spool) Scarce() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size() > s.config.Limit/2
}

// Room fails when what happens in a new session could not be recorded: the spool holds all that it may, or
// the disk took no more and has no room for the reserve yet.
func (s *Spool) Room() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size() >= s.config.Limit {
		return fault.New(fault.Unavailable, "the node's audit spool is full, so no new session may begin",
			"restore the agent's connection to a proxy, and the proxy's to the control plane")
	}
	if err := s.reserve.Hold(); err != nil {
		return s.noDisk(err)
	}
	return nil
}

// noDisk returns the fault for a disk that takes no audit events.
func (s *Spool) noDisk(cause error) error {
	return fault.New(fault.Unavailable, "the node can't keep audit events on its disk, so no session may begin",
		fmt.Sprintf("free disk space on the node where %s lies; the agent's log has the cause", s.config.Dir)).Because(cause)
}
