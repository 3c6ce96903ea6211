package output_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/cli/output"
)

// parse reads what was printed for programs.
func parse(f output.Format, text []byte, into any) error {
	if f == output.JSON {
		return json.Unmarshal(text, into)
	}
	return yaml.Unmarshal(text, into)
}

// check prints a value and reads it again, and fails when a terminal would be given anything but text.
func check(f output.Format, in map[string]string) error {
	var b bytes.Buffer
	if err := output.Print(&b, f, []any{map[string]any{"labels": in, "n": 1}}, output.Rows{}); err != nil {
		return err
	}
	if strings.ContainsFunc(strings.ReplaceAll(b.String(), "\n", ""), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("what isn't printable got through: %q", b.String())
	}
	var out []struct {
		Labels map[string]string
		N      int
	}
	if err := parse(f, b.Bytes(), &out); err != nil {
		return fmt.Errorf("%q is not read: %w", b.String(), err)
	}
	if len(out) != 1 || out[0].N != 1 || !cmp.Equal(out[0].Labels, in) {
		return fmt.Errorf("%q is read as %v", b.String(), out)
	}
	return nil
}

// TestSec_S67_WhatProgramsReadIsSafeForATerminalAndTheSameValue: labels with C1 controls, bidirectional overrides and the
// like, as keys and as values.
func TestSec_S67_WhatProgramsReadIsSafeForATerminalAndTheSameValue(t *testing.T) {
	nasty := []string{
		"a\u009b31mb", "a\u202eb", "\x7f", "a\x1b[2Jb", "\u0085", "a\u2066b\u2069", "\ufeff", "\U000e0001", "a\nb\u009b", "x\r\ny", "\t", "a\u200bb",
		"a: b\u009b", "\u009b\"'\\", "# \u202e", "Zürich 東京 🙂", "", "- ", "null", "1.5", "line\nline\n",
	}
	for _, f := range []output.Format{output.JSON, output.YAML} {
		for _, s := range nasty {
			if err := check(f, map[string]string{"k": s}); err != nil {
				t.Errorf("%s: value %q: %v", f, s, err)
			}
			if s == "" || strings.Contains(s, "\n") {
				continue // no label has such a key
			}
			if err := check(f, map[string]string{"k" + s: "v"}); err != nil {
				t.Errorf("%s: key %q: %v", f, s, err)
			}
		}
	}
}

func TestWhateverALabelIsProgramsReadTheSame(t *testing.T) {
	hard := rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune("a:# -'\"\\\u009b\u202e\u0085\u2028{}[]|>%@`,"))))
	rapid.Check(t, func(t *rapid.T) {
		in := map[string]string{"k" + hard.Filter(func(s string) bool { return !strings.ContainsAny(s, "\n\r") }).Draw(t, "key"): "x" + hard.Draw(t, "value")}
		for _, f := range []output.Format{output.JSON, output.YAML} {
			if err := check(f, in); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
	})
}
