package wire

import "unicode/utf8"

// MostAnswer is how many bytes of text an answer may have, as [Size] counts them: of the 6 MB that a function may answer, what is
// around the text has the rest.
const MostAnswer = 5 << 20

// Size is how many bytes a text takes in a function's answer, which is JSON as text in JSON: what is escaped is so twice. Whoever
// chooses a text must not make an answer too large by it, which nobody could read then, nor what is behind it.
func Size(text string) (bytes int) {
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			bytes += 4 // it is escaped, and both signs are again
		case r < ' ' || r == utf8.RuneError || r == '\u2028' || r == '\u2029':
			bytes += 7 // \\u0001, or less
		default:
			bytes += utf8.RuneLen(r)
		}
	}
	return bytes
}
