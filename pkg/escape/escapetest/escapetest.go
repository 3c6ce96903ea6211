// Package escapetest checks that what programs write gives a terminal no orders.
//
// Its entry points are [Safe] and [Line].
package escapetest

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Orders is text by which somebody tries to clear the screen, begin a sequence in one byte more than ASCII has, turn the
// direction of writing, and add a line.
const Orders = "a\x1b[2J\u009b31m\u202e\x7f\r\nb"

// Cases are texts from elsewhere, by what they try, and what a terminal gets of each.
var Cases = map[string]struct{ In, Want string }{
	"clear screen":           {"a\x1b[2Jb", `a\x1b[2Jb`},
	"hyperlink (OSC 8)":      {"\x1b]8;;http://x\x07y", `\x1b]8;;http://x\ay`},
	"clipboard (OSC 52)":     {"\x1b]52;c;AA==\x1b\\", `\x1b]52;c;AA==\x1b\`},
	"a C1 control":           {"\u009b31m", `\u009b31m`},
	"a raw C1 byte":          {"\x9b31m", `\x9b31m`},
	"a new line in a cell":   {"a\nb", `a\nb`},
	"a right-to-left mark":   {"a\u202eb", `a\u202eb`},
	"letters beyond ASCII":   {"Zürich 東京", "Zürich 東京"},
	"a replacement rune":     {"a\ufffdb", "a\ufffdb"},
	"an ordinary label list": {"env=dev,team=a b", "env=dev,team=a b"},
}

// Safe fails when there is anything but printable text and line breaks.
func Safe(t *testing.T, out string) {
	t.Helper()
	if strings.ContainsFunc(strings.ReplaceAll(out, "\n", ""), func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(out) {
		t.Errorf("a terminal would obey %q", out)
	}
}

// Line fails as Safe does, and when out isn't one line of JSON in which key is Orders.
func Line(t *testing.T, out, key string) {
	t.Helper()
	Safe(t, out)
	var line map[string]any
	if err := json.Unmarshal([]byte(out), &line); err != nil || strings.Count(out, "\n") != 1 || line[key] != Orders {
		t.Errorf("%s of %q is %q: %v", key, out, line[key], err)
	}
}
