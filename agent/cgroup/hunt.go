package cgroup

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// shown is how many processes an error lists.
const shown = 8

// hunt is one search for the processes of a session; it remembers those that it found.
type hunt struct {
	name   string
	leader process              // zero when nobody told us
	spare  func(p process) bool // processes to leave to somebody else; nil for none
	known  map[int]process      // by number
	deaf   map[int]process      // whose environment could not be read in time
	looked bool
	held   bool // the leader's number is the leader's, or no other's yet
	short  bool // the last look didn't get to the end
}

// stop stops the processes until a look finds none that runs, so that they can't fork away while they are killed.
func (h *hunt) stop(deadline time.Time) {
	stopped := map[int]process{}
	for time.Now().Before(deadline) {
		found, err := h.find()
		if err != nil {
			return // kill says so
		}
		fresh := 0
		for _, p := range found {
			if !p.same(stopped[p.pid]) {
				_ = send(p, syscall.SIGSTOP)
				stopped[p.pid] = p
				fresh++
			}
		}
		if fresh == 0 {
			return
		}
	}
}

// kill kills the processes until a look finds none, and tries at least once.
func (h *hunt) kill(deadline time.Time) error {
	for p := (pause{}); ; p.wait() {
		found, err := h.find()
		if err != nil {
			return fmt.Errorf("killing %s: %w", h.name, err)
		}
		if len(found) == 0 && !h.short {
			return nil
		}
		for _, p := range found {
			_ = send(p, syscall.SIGKILL) // what remains is reported
		}
		switch late := time.Now().After(deadline); {
		case late && len(found) == 0:
			return fmt.Errorf("killing %s: %w", h.name, errShort)
		case late:
			return remain(h.name, found)
		}
	}
}

func remain(name string, left []process) error {
	var list []string
	for _, p := range left[:min(len(left), shown)] {
		list = append(list, fmt.Sprintf("%d (%c)", p.pid, p.state))
	}
	return fmt.Errorf("killing %s: %w: %d, among them %v", name, ErrRemain, len(left), list)
}

// find looks through all processes for those of the session that live, children before their parents: when a parent
// dies, its stopped children in other process groups are continued (setpgid(2)), and should be dead by then.
func (h *hunt) find() ([]process, error) {
	list, err := shared.all()
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(p process) bool { return p.pid <= 1 || p.pid == os.Getpid() })
	there := map[int]process{}
	of := map[int][]process{} // by parent
	for _, p := range list {
		there[p.pid] = p
		of[p.parent] = append(of[p.parent], p)
	}
	h.number(there)
	var found []process
	seen := map[int]bool{}
	var add func(p process)
	add = func(p process) {
		if seen[p.pid] {
			return
		}
		seen[p.pid] = true
		for _, child := range of[p.pid] {
			add(child)
		}
		found = append(found, p)
	}
	for _, p := range list {
		if h.related(p) {
			add(p)
		}
	}
	until := time.Now().Add(reading)
	for _, p := range list { // asked last, and only of those that are not kin
		if !seen[p.pid] && h.carries(p, until) {
			add(p)
		}
	}
	h.short = time.Now().After(until)
	if h.known == nil {
		h.known = map[int]process{}
	}
	for _, p := range found {
		h.known[p.pid] = p
	}
	return slices.DeleteFunc(found, func(p process) bool { return !p.alive() || h.spare != nil && h.spare(p) }), nil
}

// number finds out if the leader's number still means the leader. It does while the leader runs or has not been waited
// for. The hunt itself then ends that; but for its short time the number stays free, unless somebody is seen with it.
func (h *hunt) number(there map[int]process) {
	p, ok := there[h.leader.pid]
	switch {
	case ok:
		h.held = h.leader.same(p) && (h.held || !h.looked)
	case !h.looked:
		h.held = false
	}
	h.looked = true
}

// related reports whether a process is the leader, in its session or process group, or was found before. None of
// these is older than the leader.
func (h *hunt) related(p process) bool {
	if p.same(h.known[p.pid]) {
		return true
	}
	n := h.leader.pid
	return h.held && p.start >= h.leader.start && (p.pid == n || p.session == n || p.group == n)
}
