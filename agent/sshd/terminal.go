package sshd

import (
	"fmt"
	"os"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// terminal is what a client asks for in pty-req (RFC 4254 section 6.2).
type terminal struct {
	name  string // TERM
	size  unix.Winsize
	modes []mode
}

// owner is the user a terminal belongs to while a session runs on it; nil leaves it to this process's user.
type owner struct {
	uid, gid int // gid of group tty
}

const maxTerm = 64

func parseTerminal(payload []byte) (*terminal, bool) {
	var m struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if ssh.Unmarshal(payload, &m) != nil || !validTerm(m.Term) {
		return nil, false
	}
	modes, ok := parseModes([]byte(m.Modes))
	return &terminal{name: m.Term, size: winsize(m.Columns, m.Rows, m.Width, m.Height), modes: modes}, ok
}

// validTerm keeps paths and escape sequences out of TERM.
func validTerm(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.', r == '+':
		default:
			return false
		}
	}
	return len(s) <= maxTerm
}

func parseSize(payload []byte) (unix.Winsize, bool) {
	var m struct{ Columns, Rows, Width, Height uint32 }
	if ssh.Unmarshal(payload, &m) != nil {
		return unix.Winsize{}, false
	}
	return winsize(m.Columns, m.Rows, m.Width, m.Height), true
}

func winsize(columns, rows, width, height uint32) unix.Winsize {
	u16 := func(v uint32) uint16 { return uint16(min(v, 0xffff)) }
	return unix.Winsize{Col: u16(columns), Row: u16(rows), Xpixel: u16(width), Ypixel: u16(height)}
}

// openTerminal makes a pseudo-terminal as asked for. The master can be waited for with deadlines.
func openTerminal(t *terminal, own *owner) (master, slave *os.File, err error) {
	opened, slave, err := pty.Open()
	if err != nil {
		return nil, nil, fmt.Errorf("opening a terminal: %w", err)
	}
	defer opened.Close()
	if err = prepare(slave, t, own); err == nil {
		master, err = waitable(opened)
	}
	if err != nil {
		_ = slave.Close()
		return nil, nil, fmt.Errorf("opening a terminal: %w", err)
	}
	return master, slave, nil
}

// waitable returns another file of the same master. Package pty asks the file for its descriptor, after which Go lets
// each read block: no deadline would end it, nor would closing the file.
func waitable(opened *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(opened.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), opened.Name()), nil
}

// prepare sets size, modes and owner: 0620 with group tty, so that write(1) and wall(1) reach it and others don't.
func prepare(slave *os.File, t *terminal, own *owner) error {
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &t.size); err != nil {
		return err
	}
	if err := setModes(int(slave.Fd()), t.modes); err != nil {
		return err
	}
	if own == nil {
		return nil
	}
	if err := slave.Chown(own.uid, own.gid); err != nil {
		return err
	}
	return slave.Chmod(0o620)
}

// resize tells the terminal its new size, which signals whoever runs on it. Control holds the descriptor meanwhile:
// the session may end just now, and the number be another session's at once. That is why it isn't pty.Setsize.
func (p *process) resize(size unix.Winsize) error {
	if !p.pty {
		return os.ErrInvalid
	}
	raw, err := p.stdout.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &size) }); err != nil {
		return err
	}
	return set
}
