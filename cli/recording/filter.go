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
	w         io.Writer
	parser    parser
	out       []byte
	origin    bool   // places were counted from the top of a part of the screen
	alternate string // the mode that shows the alternate screen; "" when it isn't shown
	column    bool   // a line feed goes to the first column too, for output that no terminal's driver has seen
}

// NewFilter returns a filter in front of a terminal.
func NewFilter(w io.Writer) *Filter { return &Filter{w: w} }

// WriteString shows text.
func (f *Filter) WriteString(s string) error {
	f.out = f.out[:0]
	f.parser.feed(s, func(q sequence) {
		if q.run != "" {
			f.out = append(f.out, strings.ToValidUTF8(q.run, "\uFFFD")...)
			return
		}
		if f.column && q.final == 0 && q.rune == '\n' {
			f.out = append(f.out, '\r')
		}
		f.out = append(f.out, q.safe()...)
		f.follow(q)
	})
	_, err := f.w.Write(f.out)
	return err
}

// modes are the private modes that may be set, each of which Restore brings back: origin, wrapping, the cursor, the alternate
// screen.
var modes = []string{"6", "7", "25", "47", "1047", "1048", "1049"}

// alternates are those of them that show the alternate screen.
var alternates = []string{"47", "1047", "1049"}

// Restore returns what brings a terminal back from whatever was shown, and leaves alone what can't have been changed. The
// alternate screen is left only if it is shown: its end also moves the cursor to where it was before.
func (f *Filter) Restore() string {
	end := "\x18" // of an order that isn't complete
	if f.alternate != "" {
		end += "\x1b[?" + f.alternate + "l"
	}
	if f.origin { // the cursor's place would come back together with this mode
		end += "\x1b[r\x1b[?6l\x1b[9999;1H"
	} else {
		end += "\x1b7\x1b[r\x1b8"
	}
	return end + "\x1b[?7h\x1b[?25h\x1b[4l\x1b[0m\x1b(B\x0f"
}

// follow keeps what Restore has to know.
func (f *Filter) follow(q sequence) {
	if !q.csi || q.prefix != "?" || q.inter != "" || q.final != 'h' && q.final != 'l' {
		return
	}
	for mode := range strings.SplitSeq(q.params, ";") {
		switch {
		case mode == "6":
			f.origin = true // even when it is off again: a saved cursor has it
		case !slices.Contains(alternates, mode):
		case q.final == 'l':
			f.alternate = ""
		case f.alternate == "":
			f.alternate = mode
		}
	}
}

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
	case q.prefix != "" || !strings.ContainsRune("ABCDEFGHIJKLMPSTXZ@`abdefrsu", q.final) && !(q.params == "4" && strings.ContainsRune("hl", q.final)):
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

// safeEscape is safe for an ESC alone. Tabulators can't be brought back and are therefore not set.
func (q sequence) safeEscape() string {
	switch {
	case q.inter == "" && q.final == 'c':
		return clean
	case q.inter == "" && strings.ContainsRune("78DEM", q.final),
		len(q.inter) == 1 && strings.ContainsRune("()*+", rune(q.inter[0])) && strings.ContainsRune("0AB", q.final),
		q.inter == "#" && q.final == '8':
		return "\x1b" + q.inter + string(q.final)
	}
	return ""
}
