package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is what /proc/PID/stat says of one. Number and start together name it for as long as the machine runs.
type process struct {
	pid     int
	state   byte
	parent  int
	group   int
	session int
	threads int
	start   uint64 // in clock ticks since the machine started
}

// parseStat reads a /proc/PID/stat, whose fields proc_pid_stat(5) numbers. The second is the program's name in
// parentheses, which may itself hold parentheses, spaces and newlines; the last parenthesis ends it.
func parseStat(stat []byte) (process, error) {
	begin, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if begin < 0 || end < begin {
		return process{}, errors.New("a stat file without a name in parentheses")
	}
	fields := bytes.Fields(stat[end+1:]) // the first is field 3
	if len(fields) < 20 || len(fields[0]) != 1 {
		return process{}, fmt.Errorf("a stat file of %d fields after the name", len(fields))
	}
	p := process{state: fields[0][0]}
	for _, n := range []struct {
		field []byte
		to    *int
	}{
		{bytes.TrimSpace(stat[:begin]), &p.pid},
		{fields[1], &p.parent},
		{fields[2], &p.group},
		{fields[3], &p.session},
		{fields[17], &p.threads},
	} {
		var err error
		if *n.to, err = strconv.Atoi(string(n.field)); err != nil {
			return process{}, fmt.Errorf("a stat file: %w", err)
		}
	}
	var err error
	if p.start, err = strconv.ParseUint(string(fields[19]), 10, 64); err != nil {
		return process{}, fmt.Errorf("a stat file: %w", err)
	}
	return p, nil
}

// look finds the process that has a number now. It fails when there is none.
func look(pid int) (process, error) {
	stat, err := os.ReadFile(process{pid: pid}.file("stat"))
	if err != nil {
		return process{}, err
	}
	return parseStat(stat)
}

// looks shares one look at the machine among all who ask for it while the one before is under way: sixty sessions that
// are cut at once don't look sixty times.
type looks struct {
	mu      sync.Mutex
	running bool
	next    *sight
}

type sight struct {
	done chan struct{}
	list []process
	err  error
}

var shared looks

// all lists the processes of the machine as they are after the call began.
func (l *looks) all() ([]process, error) {
	l.mu.Lock()
	s := l.next
	if s == nil {
		s = &sight{done: make(chan struct{})}
		l.next = s
		if !l.running {
			l.running = true
			go l.run()
		}
	}
	l.mu.Unlock()
	<-s.done
	return slices.Clone(s.list), s.err
}

// run looks as long as somebody waits.
func (l *looks) run() {
	for {
		l.mu.Lock()
		s := l.next
		l.next, l.running = nil, s != nil
		l.mu.Unlock()
		if s == nil {
			return
		}
		s.list, s.err = all()
		close(s.done)
	}
}

// all lists the processes of the machine.
func all() ([]process, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var out []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := look(pid); err == nil { // else it has ended
			out = append(out, p)
		}
	}
	return out, nil
}

// file is one of the process's files in /proc.
func (p process) file(name string) string { return filepath.Join("/proc", strconv.Itoa(p.pid), name) }

// alive reports whether it still runs. One whose first thread has ended looks like a zombie, but has others.
func (p process) alive() bool {
	return p.state != 'Z' && p.state != 'X' && p.state != 'x' || p.threads > 1
}

// same reports whether q is the same process, and not another with its number.
func (p process) same(q process) bool { return p.pid == q.pid && p.start == q.start }

// send signals a process if it is still the one that was looked at. The pidfd refers to whoever has the number when it
// is opened; if the start is right after that, it is right when the signal is sent (pidfd_open(2)). Linux before 5.3,
// and some sandboxes, have none: then a process may end between the look and the signal, and its number go to another.
func send(p process, signal syscall.Signal) error {
	if p.pid <= 1 || p.pid == os.Getpid() {
		return fmt.Errorf("process %d doesn't belong to a session", p.pid)
	}
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err == nil {
		defer func() { _ = unix.Close(fd) }()
	}
	if now, lost := look(p.pid); lost != nil || !p.same(now) {
		return nil
	}
	if err == nil {
		err = unix.PidfdSendSignal(fd, signal, nil, 0)
	} else {
		err = unix.Kill(p.pid, signal)
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// pause waits between two looks at the same thing, longer each time.
type pause struct{ last time.Duration }

func (p *pause) wait() {
	p.last = min(max(2*p.last, time.Millisecond), 32*time.Millisecond)
	<-time.After(p.last)
}
