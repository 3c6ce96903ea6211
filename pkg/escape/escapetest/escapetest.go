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
