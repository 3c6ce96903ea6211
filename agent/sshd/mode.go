package sshd

import (
	"encoding/binary"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mode is one encoded terminal mode (RFC 4254 section 8).
type mode struct {
	opcode byte
	value  uint32
}

const (
	modeEnd      = 0
	modeFirstBad = 160 // opcodes from here on are not yet defined: they end the list
	maxModes     = 256
)

// parseModes reads an encoded list; an unfinished one is refused.
func parseModes(b []byte) ([]mode, bool) {
	var out []mode
	for len(b) > 0 {
		if b[0] == modeEnd || b[0] >= modeFirstBad {
			return out, true
		}
		if len(b) < 5 || len(out) == maxModes {
			return nil, false
		}
		out = append(out, mode{b[0], binary.BigEndian.Uint32(b[1:])})
		b = b[5:]
	}
	return out, true
}

// Control characters by opcode.
var modeChars = map[byte]int{
	1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL, 7: unix.VEOL2,
	8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT, 18: unix.VDISCARD,
}

// Flags by opcode, one table for each field of termios.
var (
	modeInput = map[byte]uint32{
		30: unix.IGNPAR, 31: unix.PARMRK, 32: unix.INPCK, 33: unix.ISTRIP, 34: unix.INLCR, 35: unix.IGNCR, 36: unix.ICRNL,
		37: unix.IUCLC, 38: unix.IXON, 39: unix.IXANY, 40: unix.IXOFF, 41: unix.IMAXBEL, 42: unix.IUTF8,
	}
	modeLocal = map[byte]uint32{
		50: unix.ISIG, 51: unix.ICANON, 52: unix.XCASE, 53: unix.ECHO, 54: unix.ECHOE, 55: unix.ECHOK, 56: unix.ECHONL,
		57: unix.NOFLSH, 58: unix.TOSTOP, 59: unix.IEXTEN, 60: unix.ECHOCTL, 61: unix.ECHOKE, 62: unix.PENDIN,
	}
	modeOutput = map[byte]uint32{
		70: unix.OPOST, 71: unix.OLCUC, 72: unix.ONLCR, 73: unix.OCRNL, 74: unix.ONOCR, 75: unix.ONLRET,
	}
	modeControl = map[byte]uint32{92: unix.PARENB, 93: unix.PARODD}
)

// setModes applies modes to the terminal fd. Speeds mean nothing on a pseudo-terminal.
func setModes(fd int, modes []mode) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	for _, m := range modes {
		if i, ok := modeChars[m.opcode]; ok {
			t.Cc[i] = uint8(m.value) // 255 is "none" in RFC 4254 and 0 in termios
			if m.value >= 255 {
				t.Cc[i] = 0
			}
			continue
		}
		setFlag(&t.Iflag, modeInput, m)
		setFlag(&t.Lflag, modeLocal, m)
		setFlag(&t.Oflag, modeOutput, m)
		setFlag(&t.Cflag, modeControl, m)
		switch {
		case m.opcode == 90 && m.value != 0:
			t.Cflag = t.Cflag&^unix.CSIZE | unix.CS7
		case m.opcode == 91 && m.value != 0:
			t.Cflag = t.Cflag&^unix.CSIZE | unix.CS8
		}
	}
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

func setFlag(field *uint32, table map[byte]uint32, m mode) {
	bit, ok := table[m.opcode]
	switch {
	case !ok:
	case m.value != 0:
		*field |= bit
	default:
		*field &^= bit
	}
}

// signals are those that RFC 4254 section 6.10 names, with the others that OpenSSH sends.
var signals = map[string]syscall.Signal{
	"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP, "ILL": syscall.SIGILL,
	"INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE, "QUIT": syscall.SIGQUIT, "SEGV": syscall.SIGSEGV,
	"TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

// signalName returns the name for exit-signal; one that the RFC doesn't name gets our domain.
func signalName(s syscall.Signal) string {
	for name, number := range signals {
		if number == s {
			return name
		}
	}
	return strings.TrimPrefix(unix.SignalName(s), "SIG") + "@stile.dev"
}
