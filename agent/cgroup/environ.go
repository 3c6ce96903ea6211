package cgroup

import (
	"bytes"
	"errors"
	"os"
	"time"
)

// Variable is the environment variable that has the session's name in each of its processes.
const Variable = "STILE_SESSION_ID"

const (
	// patience is how long a process's environment may take to be read. That waits for a lock of the process's
	// memory, which a file system that hangs can hold for ever.
	patience = 50 * time.Millisecond
	// reading is how long the environments of all processes may take.
	reading = 500 * time.Millisecond
)

var errShort = errors.New("there was no time to read the environments of all processes")

// readers bounds how many threads wait for such a lock.
var readers = make(chan struct{}, 8)

// carries reports whether a process was started with the session's name in its environment.
func (h *hunt) carries(p process, until time.Time) bool {
	if p.same(h.deaf[p.pid]) {
		return false
	}
	timer := time.NewTimer(min(patience, time.Until(until)))
	defer timer.Stop()
	select {
	case readers <- struct{}{}:
	case <-timer.C:
		return false
	}
	answer := make(chan bool, 1)
	go func() {
		defer func() { <-readers }()
		environ, _ := os.ReadFile(p.file("environ")) // unreadable when it has ended, or isn't ours to read
		answer <- holds(environ, Variable+"="+h.name)
	}()
	select {
	case yes := <-answer:
		return yes
	case <-timer.C:
		if h.deaf == nil {
			h.deaf = map[int]process{}
		}
		h.deaf[p.pid] = p
		return false
	}
}

// holds looks for one variable in an environment, whose entries are separated by zeros.
func holds(environ []byte, entry string) bool {
	for e := range bytes.SplitSeq(environ, []byte{0}) {
		if string(e) == entry {
			return true
		}
	}
	return false
}
