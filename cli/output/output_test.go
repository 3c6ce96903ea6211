package output_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/pkg/escape/escapetest"
	"github.com/stile-dev/stile/pkg/fault"
)

func TestTableAlignsAndMarksEmptyCells(t *testing.T) {
	var b bytes.Buffer
	err := output.Print(&b, output.Table, nil, output.Rows{
		Header: []string{"NAME", "LABELS"},
		Lines:  [][]string{{"node-1", "env=dev"}, {"n", ""}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("NAME    LABELS\nnode-1  env=dev\nn       -\n", b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestYAMLKeepsWholeNumbersWhole(t *testing.T) {
	var b bytes.Buffer
	if err := output.Print(&b, output.YAML, map[string]any{"uses": float64(3)}, output.Rows{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("uses: 3\n", b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJSONOfAnEmptyListIsAnArray(t *testing.T) {
	var b bytes.Buffer
	if err := output.Print(&b, output.JSON, []string{}, output.Rows{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("[]\n", b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestSec_S52_ControlSequencesFromElsewhereNeverReachTheTerminal(t *testing.T) {
	for name, c := range escapetest.Cases {
		t.Run(name, func(t *testing.T) {
			var table, errs bytes.Buffer
			if err := output.Print(&table, output.Table, nil, output.Rows{Header: []string{"H"}, Lines: [][]string{{c.In}}}); err != nil {
				t.Fatal(err)
			}
			output.Fault(&errs, fault.New(fault.Denied, c.In, c.In).With(c.In, c.In))
			for _, out := range []string{table.String(), errs.String()} {
				if strings.ContainsFunc(strings.ReplaceAll(out, "\n", ""), unicode.IsControl) || !utf8.ValidString(out) {
					t.Errorf("a control character got through: %q", out)
				}
			}
		})
	}
}

func TestFaultsPrintErrorFieldsAndHint(t *testing.T) {
	var b bytes.Buffer
	f := fault.New(fault.RateLimited, "the role cannot be read", "fix it").With("line 3, column 7", `unknown key "lables"`)
	f.RetryAfter, f.DecisionID = 2*time.Second, "dec_1"
	output.Fault(&b, fmt.Errorf("creating: %w", f))
	want := "stile: error: the role cannot be read\n" +
		"stile: error: line 3, column 7: unknown key \"lables\"\n" +
		"stile: decision: dec_1\n" +
		"stile: hint: fix it\n" +
		"stile: hint: try again in 2s\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// How long an agent should wait is nothing for a person whom waiting does not help.
func TestNobodyIsToldToWaitForWhatOnlyAPersonChanges(t *testing.T) {
	for code, waits := range map[fault.Code]bool{
		fault.Denied: false, fault.Unauthenticated: false, fault.Quarantined: false,
		fault.Unavailable: true, fault.RateLimited: true, fault.NoTunnel: true, fault.Unreachable: true,
	} {
		var b bytes.Buffer
		f := fault.New(code, "no", "log in again")
		f.RetryAfter = time.Minute
		output.Fault(&b, f)
		if strings.Contains(b.String(), "try again in 1m0s") != waits {
			t.Errorf("%s: %s", code, b.String())
		}
	}
}

func TestASingleFaultyFieldIsNotPrintedTwice(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		fields  []fault.Field
		want    string
	}{
		"the message is the field": {
			"line 1, column 7: unknown key",
			[]fault.Field{{Path: "line 1, column 7", Reason: "unknown key"}},
			"stile: error: line 1, column 7: unknown key\n",
		},
		"a field of no place": {
			"the file is not valid UTF-8",
			[]fault.Field{{Reason: "the file is not valid UTF-8"}},
			"stile: error: the file is not valid UTF-8\n",
		},
		"a field of no place that the message leaves out": {
			"the file is refused",
			[]fault.Field{{Reason: "it is not valid UTF-8"}},
			"stile: error: the file is refused\nstile: error: it is not valid UTF-8\n",
		},
		"the message is the first of several": {
			"a: b (and 1 more)",
			[]fault.Field{{Path: "a", Reason: "b"}, {Path: "c", Reason: "d"}},
			"stile: error: a: b\nstile: error: c: d\n",
		},
		"the message only begins like a field": {
			"a: better",
			[]fault.Field{{Path: "a", Reason: "b"}},
			"stile: error: a: better\nstile: error: a: b\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			output.Fault(&b, &fault.Fault{Code: fault.BadInput, Message: c.message, Fields: c.fields})
			if diff := cmp.Diff(c.want, b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnErrorWithoutFaultStillTellsWhatHappened(t *testing.T) {
	var b bytes.Buffer
	output.Fault(&b, errors.New("writing credential: disk full"))
	if !strings.Contains(b.String(), "stile: error: writing credential: disk full\n") || !strings.Contains(b.String(), "stile: hint: ") {
		t.Errorf("got %q", b.String())
	}
}

func TestParseNamesTheFormats(t *testing.T) {
	_, err := output.Parse("xml", output.Formats...)
	f := fault.From(err)
	if f.Code != fault.BadInput || f.Hint != "use --format with one of: table, json, yaml" {
		t.Errorf("got %v, %q", f.Code, f.Hint)
	}
}
