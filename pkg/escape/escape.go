// Package escape makes text that others wrote safe to be shown: no name, label, reason or log line gives a terminal an order,
// or looks like what it is not.
//
// It writes to no terminal itself. Its entry points are [Text] for text and [JSONWriter] for whatever writes JSON.
package escape

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Unprintable reports whether a rune isn't printable: controls, bidirectional overrides, all spaces but the plain one.
func Unprintable(r rune) bool { return !unicode.IsPrint(r) }

// Text makes foreign text safe for a terminal: what isn't printable (controls, escape sequences,
// bidirectional overrides, invalid bytes) is written as Go writes it in a string, such as \x1b.
func Text(s string) string {
	if !strings.ContainsFunc(s, Unprintable) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		if _, size := utf8.DecodeRuneInString(s[i:]); r == utf8.RuneError && size == 1 {
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
			continue
		}
		if Unprintable(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// JSON escapes what isn't printable in JSON, where it stands in strings only, except line breaks. A program reads the
// same values. Go's encoder leaves the C1 controls as they are, one of which begins an escape sequence.
func JSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, `\ufffd`...)
		case r == '\n' || !Unprintable(r):
			out = append(out, text[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		text = text[size:]
	}
	return out
}

// JSONWriter returns a writer that escapes JSON on its way to w. Each Write is whole, as those of an encoder and of a log are.
func JSONWriter(w io.Writer) io.Writer { return escaping{w} }

type escaping struct{ w io.Writer }

func (e escaping) Write(text []byte) (int, error) {
	if _, err := e.w.Write(JSON(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}
