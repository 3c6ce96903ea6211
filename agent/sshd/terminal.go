package sshd

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// terminal is what a client asks for in pty-req (RFC 4254 section 6.2).
type terminal struct {
	name  string // TERM
	size  unix.Winsize
	modes []mode
}

// owner is whom a terminal belongs to while a session runs on it; nil leaves it to this process's user.
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
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening a terminal: %w", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	slave, err = openSlave(fd, t, own)
	if err != nil {
		_ = master.Close()
		return nil, nil, fmt.Errorf("opening a terminal: %w", err)
	}
	return master, slave, nil
}

func openSlave(master int, t *terminal, own *owner) (*os.File, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return nil, err
	}
	number, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &t.size); err != nil {
		return nil, err
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := prepare(slave, t, own); err != nil {
		_ = slave.Close()
		return nil, err
	}
	return slave, nil
}

// prepare sets modes and owner: 0620 with group tty, so that write(1) and wall(1) reach it and others don't.
func prepare(slave *os.File, t *terminal, own *owner) error {
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

// resize tells the terminal its new size, which signals whoever runs on it.
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
