package output

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape makes foreign text safe for a terminal: what isn't printable (controls, escape sequences,
// bidirectional overrides, invalid bytes) is written as Go writes it in a string, such as \x1b.
func Escape(s string) string {
	if !strings.ContainsFunc(s, unsafeRune) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		if _, size := utf8.DecodeRuneInString(s[i:]); r == utf8.RuneError && size == 1 {
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
			continue
		}
		if unsafeRune(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unsafeRune(r rune) bool { return !unicode.IsPrint(r) }
