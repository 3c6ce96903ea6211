package recording

import (
	"strings"
	"unicode/utf8"
)

// Bounds of what a sequence may be before it counts as none.
const (
	maxSequence = 64        // runes of a control sequence
	maxString   = 256 << 10 // runes of an operating system command or another string, such as a picture
)

// sequence is one order to a terminal, ECMA-48. A control below space, or a rune to show, has no final; a run of characters to
// show has nothing else.
type sequence struct {
	run    string // characters to show, none of which is a control
	rune   rune
	csi    bool   // ESC [, else ESC alone
	prefix string // < = > ? of a private one
	params string // digits, semicolons, colons
	inter  string // intermediates, space to /
	final  rune
}

// state is where a parser is.
type state int

const (
	ground state = iota
	escaped
	control // behind ESC [
	text    // in a string that ends with ST, and of ESC ] with BEL too
	ending  // in such a string, behind an ESC
)

// parser divides what a session showed into runes and orders. Strings (titles, clipboards, pictures, queries: OSC, DCS, APC,
// PM, SOS) are left out; one that has no end ends at maxString, so that it hides no more than that.
type parser struct {
	state state
	seq   sequence
	runes int
	bel   bool // ends the string
	lines bool // a line feed ends a string: what follows isn't hidden
}

// feed parses text; what isn't complete goes on with the next.
func (p *parser) feed(s string, emit func(sequence)) {
	for len(s) > 0 {
		if p.state == ground {
			n := plain(s)
			if n > 0 {
				emit(sequence{run: s[:n]})
			}
			if s = s[n:]; s == "" {
				return
			}
		}
		r, size := utf8.DecodeRuneInString(s)
		p.step(r, emit)
		s = s[size:]
	}
}

// plain is how many bytes at the beginning of s are characters that are no controls.
func plain(s string) int {
	for i, r := range s {
		if r < ' ' || r >= 0x7f && r <= 0x9f {
			return i
		}
	}
	return len(s)
}

func (p *parser) step(r rune, emit func(sequence)) {
	if r >= 0x80 && r <= 0x9f { // the same in one character
		p.escape()
		r -= 0x40
	}
	switch {
	case r == 0x18 || r == 0x1a: // CAN and SUB end everything
		p.state = ground
		return
	case p.state == ending:
		if p.state = escaped; r == '\\' {
			p.state = ground
			return
		}
	case r == 0x1b && p.state == text:
		p.escape()
		p.state = ending
		return
	case r == 0x1b:
		p.escape()
		return
	}
	switch p.state {
	case ground, ending: // it was left above
		emit(sequence{rune: r})
	case text:
		p.runes++
		switch {
		case r == 7 && p.bel, p.runes > maxString:
			p.state = ground
		case r == '\n' && p.lines:
			p.state = ground
			emit(sequence{rune: r})
		}
	case escaped:
		p.introduce(r, emit)
	case control:
		p.parameter(r, emit)
	}
}

func (p *parser) escape() { p.state, p.seq, p.runes = escaped, sequence{}, 0 }

// introduce reads what comes behind an ESC.
func (p *parser) introduce(r rune, emit func(sequence)) {
	p.runes++
	switch {
	case r < ' ': // is obeyed in mid-sequence
		emit(sequence{rune: r})
	case r <= '/':
		if p.seq.inter += string(r); p.runes > maxSequence {
			p.state = ground
		}
	case p.seq.inter == "" && r == '[':
		p.state, p.seq.csi = control, true
	case p.seq.inter == "" && strings.ContainsRune("]P_^X", r):
		p.state, p.bel, p.runes = text, r == ']', 0
	default:
		p.state, p.seq.final = ground, r
		emit(p.seq)
	}
}

// parameter reads what comes behind an ESC [.
func (p *parser) parameter(r rune, emit func(sequence)) {
	p.runes++
	switch {
	case p.runes > maxSequence || r > '~':
		p.state = ground
	case r < ' ':
		emit(sequence{rune: r})
	case r <= '/':
		p.seq.inter += string(r)
	case r >= '<' && r <= '?':
		p.seq.prefix += string(r)
	case r <= ';':
		p.seq.params += string(r)
	default:
		p.state, p.seq.final = ground, r
		emit(p.seq)
	}
}
