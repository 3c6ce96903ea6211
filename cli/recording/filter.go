package recording

import (
	"io"
	"slices"
	"strconv"
	"strings"
)

// Filter lets a terminal show what a recording holds and do nothing else: colours, the cursor, erasing and the alternate
// screen pass; titles, clipboards, links, pictures, what makes a terminal answer, and what changes keys, the mouse or pasting
// don't. It writes complete orders alone.
type Filter struct {
	w      io.Writer
	parser parser
	out    []byte
	column bool // a line feed goes to the first column too, for output that no terminal's driver has seen
}

// NewFilter returns a filter in front of a terminal.
func NewFilter(w io.Writer) *Filter { return &Filter{w: w} }

// WriteString shows text.
func (f *Filter) WriteString(s string) error {
	f.out = f.out[:0]
	f.parser.feed(s, func(q sequence) {
		if f.column && q.final == 0 && q.rune == '\n' {
			f.out = append(f.out, '\r')
		}
		f.out = append(f.out, q.safe()...)
	})
	_, err := f.w.Write(f.out)
	return err
}

// modes are the private modes that may be set: origin, wrapping, the cursor, the alternate screen, one picture at a time.
var modes = []string{"6", "7", "12", "25", "47", "1047", "1048", "1049"}

// clean is what a full reset is replaced by.
const clean = "\x1b[0m\x1b[r\x1b[?6l\x1b[?7h\x1b[?25h\x1b(B\x0f\x1b[H\x1b[2J"

// safe returns the order in the form in which it may be given, "" for one that may not.
func (q sequence) safe() string {
	switch {
	case q.final == 0:
		if q.rune >= ' ' && q.rune != 0x7f || strings.ContainsRune("\b\t\n\v\f\r\x0e\x0f", q.rune) {
			return string(q.rune)
		}
		return ""
	case !q.csi:
		return q.safeEscape()
	case q.inter != "":
		return ""
	case q.prefix == "?" && (q.final == 'h' || q.final == 'l'):
		set := slices.DeleteFunc(strings.Split(q.params, ";"), func(mode string) bool { return !slices.Contains(modes, mode) })
		if len(set) == 0 {
			return ""
		}
		return "\x1b[?" + strings.Join(set, ";") + string(q.final)
	case q.prefix == "?" && (q.final == 'J' || q.final == 'K'), q.prefix == "" && q.final == 'm':
	case q.prefix != "" || !strings.ContainsRune("ABCDEFGHIJKLMPSTXZ@`abdefgrsu", q.final) && !(q.params == "4" && strings.ContainsRune("hl", q.final)):
		return ""
	case !q.small():
		return "" // repeating a character a billion times keeps a terminal busy
	}
	return "\x1b[" + q.prefix + q.params + string(q.final)
}

// small reports whether all numbers are such as a screen has.
func (q sequence) small() bool {
	for _, n := range strings.FieldsFunc(q.params, func(r rune) bool { return r == ';' || r == ':' }) {
		if v, err := strconv.Atoi(n); err != nil || v > 9999 {
			return false
		}
	}
	return true
}

func (q sequence) safeEscape() string {
	switch {
	case q.inter == "" && q.final == 'c':
		return clean
	case q.inter == "" && strings.ContainsRune("78DEMH", q.final),
		len(q.inter) == 1 && strings.ContainsRune("()*+", rune(q.inter[0])) && strings.ContainsRune("0AB", q.final),
		q.inter == "#" && q.final == '8':
		return "\x1b" + q.inter + string(q.final)
	}
	return ""
}
