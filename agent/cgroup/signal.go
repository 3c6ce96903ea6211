package cgroup

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// SignalAs sends a signal to those in a process group whom a user may signal by kill(2): whose real or saved user it is.
// It is for an agent that runs as root, for whom kill would reach all of them. It fails with EPERM when the user may
// signal none of them, and with ESRCH when there is none. A process that joins the group meanwhile may be missed.
func SignalAs(group int, user uint32, signal syscall.Signal) error {
	list, err := shared.all()
	if err != nil {
		return err
	}
	found, sent := false, false
	for _, p := range list {
		if p.group != group {
			continue
		}
		found = true
		if !ownedBy(p, user) {
			continue
		}
		if err := send(p, signal); err != nil {
			return err
		}
		sent = true
	}
	switch {
	case sent:
		return nil
	case found:
		return unix.EPERM
	}
	return unix.ESRCH
}

// ownedBy reports whether a user is the process's real or saved one, by the line of /proc/PID/status (proc_pid_status(5))
// that has the real, effective, saved and file system user.
func ownedBy(p process, user uint32) bool {
	status, err := os.ReadFile(p.file("status"))
	if err != nil {
		return false
	}
	return owned(status, user)
}

func owned(status []byte, user uint32) bool {
	want := []byte(strconv.FormatUint(uint64(user), 10))
	for line := range bytes.Lines(status) {
		users, ok := bytes.CutPrefix(line, []byte("Uid:"))
		if !ok {
			continue
		}
		f := bytes.Fields(users)
		return len(f) == 4 && (bytes.Equal(f[0], want) || bytes.Equal(f[2], want))
	}
	return false
}
