package sshd_test

import (
	"math"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/agent/sshd"
)

// FuzzTerminal: whatever a client asks for, TERM is a plain word, the window is the one that was meant or the largest,
// and modes are as many as were sent whole.
func FuzzTerminal(f *testing.F) {
	for _, seed := range []struct {
		term, modes string
		rest        []byte
	}{
		{"xterm-256color", "\x03\x00\x00\x00\x7f\x00", nil},
		{"", "", nil},
		{"../../x", "", nil},
		{"x\x1b[2J", "", nil},
		{"x", "\x01", nil},
		{"x", "\xa0\x01\x02", nil},
		{"x", "", []byte{0}},
		{strings.Repeat("x", 65), strings.Repeat("\x01\x00\x00\x00\x00", 300), nil},
	} {
		f.Add(seed.term, uint32(80), uint32(1<<20), seed.modes, seed.rest)
	}
	f.Fuzz(func(t *testing.T, term string, columns, rows uint32, modes string, rest []byte) {
		payload := append(ssh.Marshal(struct {
			Term                         string
			Columns, Rows, Width, Height uint32
			Modes                        string
		}{term, columns, rows, 0, 0, modes}), rest...)
		name, wide, high, n, ok := sshd.AskTerminal(payload)
		if ok && (name != term || len(rest) > 0 || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+") != "" ||
			uint32(wide) != min(columns, math.MaxUint16) || uint32(high) != min(rows, math.MaxUint16) || 5*n > len(modes)) {
			t.Errorf("%q, %d×%d, modes %q and %q give %q, %d×%d and %d modes", term, columns, rows, modes, rest, name, wide, high, n)
		}
		wide, high, ok = sshd.AskSize(append(ssh.Marshal(struct{ Columns, Rows, Width, Height uint32 }{columns, rows, 0, 0}), rest...))
		if ok != (len(rest) == 0) || ok && (uint32(wide) != min(columns, math.MaxUint16) || uint32(high) != min(rows, math.MaxUint16)) {
			t.Errorf("%d×%d and %q give %d×%d, %v", columns, rows, rest, wide, high, ok)
		}
		_, _, _, _, _ = sshd.AskTerminal(rest)
		if sshd.AllowedEnv(term) && (strings.ContainsAny(term, "=\x00\n") || strings.HasPrefix(term, "LD_")) {
			t.Errorf("a client may set %q", term)
		}
	})
}
