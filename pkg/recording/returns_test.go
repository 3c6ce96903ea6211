package recording_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/recording"
)

// returned is what a recording's chunks are for players.
func returned(t testing.TB, chunks ...string) string {
	t.Helper()
	var r recording.Returns
	var out bytes.Buffer
	for _, c := range chunks {
		if err := r.Write(&out, []byte(c)); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestEveryLineFeedOfAnOutputGetsItsCarriageReturn(t *testing.T) {
	for name, c := range map[string]struct {
		in   []string
		want string
	}{
		"one alone":            {[]string{`[1.500000,"o","a\nb"]` + "\n"}, `[1.500000,"o","a\r\nb"]` + "\n"},
		"one that has it":      {[]string{`[1.500000,"o","a\r\nb"]` + "\n"}, `[1.500000,"o","a\r\nb"]` + "\n"},
		"at the beginning":     {[]string{`[0,"o","\n"]` + "\n"}, `[0,"o","\r\n"]` + "\n"},
		"over two outputs":     {[]string{`[0,"o","a\r"]` + "\n" + `[0,"o","\n\n"]` + "\n"}, `[0,"o","a\r"]` + "\n" + `[0,"o","\n\r\n"]` + "\n"},
		"over two chunks":      {[]string{`[0,"o","a\r"]` + "\n", `[0,"o","\n"]` + "\n"}, `[0,"o","a\r"]` + "\n" + `[0,"o","\n"]` + "\n"},
		"over an empty one":    {[]string{`[0,"o","\r"]` + "\n" + `[0,"o",""]` + "\n" + `[0,"o","\n"]` + "\n"}, `[0,"o","\r"]` + "\n" + `[0,"o",""]` + "\n" + `[0,"o","\n"]` + "\n"},
		"over another kind":    {[]string{`[0,"o","\r"]` + "\n" + `[0,"r","80x24"]` + "\n" + `[0,"o","\n"]` + "\n"}, `[0,"o","\r"]` + "\n" + `[0,"r","80x24"]` + "\n" + `[0,"o","\n"]` + "\n"},
		"written otherwise":    {[]string{`[ 7e-1 , "o", "\u000a" ]` + "\n"}, `[7e-1,"o","\r\n"]` + "\n"},
		"of a note":            {[]string{`[0,"m","a\nb"]` + "\n"}, `[0,"m","a\nb"]` + "\n"},
		"a backslash and an n": {[]string{`[0,"o","a\\nb"]` + "\n"}, `[0,"o","a\\nb"]` + "\n"},
		"characters":           {[]string{`[0,"o","\u001b[1m😀\u2028\"\n"]` + "\n"}, `[0,"o","\u001b[1m😀\u2028\"\r\n"]` + "\n"},
		"the head":             {[]string{`{"version":2,"title":"a\nb"}` + "\n"}, `{"version":2,"title":"a\nb"}` + "\n"},
		"no line":              {[]string{"[0,\"o\"\n[]\nnull\n[0,\"o\",\"\\n\",1]\n[0,\"o\",7]\n"}, "[0,\"o\"\n[]\nnull\n[0,\"o\",\"\\n\",1]\n[0,\"o\",7]\n"},
		"no end":               {[]string{`[0,"x","e"]`}, `[0,"x","e"]`},
		"more than a line":     {[]string{`[0,"o","` + strings.Repeat("x", 1<<20) + `\n"]` + "\n"}, `[0,"o","` + strings.Repeat("x", 1<<20) + `\n"]` + "\n"},
	} {
		if got := returned(t, c.in...); got != c.want {
			t.Errorf("%s: got %.200q, want %.200q", name, got, c.want)
		}
	}
}

// What an agent can write is, for players, the same text with every line feed behind a carriage return, at the same times.
func TestNothingButCarriageReturnsIsAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		writes := rapid.SliceOf(rapid.SliceOf(rapid.SampledFrom([]byte("\r\nab\xff\xe2\x82\xac\"\\")))).Draw(t, "writes")
		c := recording.NewChunk(recording.Place{Session: newSession()}, head(newSession()))
		for n, w := range writes {
			c.Output(time.Duration(n)*time.Millisecond, []byte{recording.Stdout, recording.Stderr}[n%2], w)
		}
		lines := linesOf(t, c)
		var out bytes.Buffer
		if err := new(recording.Returns).Write(&out, lines); err != nil {
			t.Fatal(err)
		}
		was, is := outputs(t, lines), outputs(t, out.Bytes())
		want := strings.ReplaceAll(strings.ReplaceAll(strings.Join(was.texts, ""), "\r\n", "\n"), "\n", "\r\n")
		if got := strings.Join(is.texts, ""); got != want || !slices.Equal(was.times, is.times) {
			t.Errorf("%q became %q, want %q; at %v and %v", was.texts, got, want, was.times, is.times)
		}
		if d := cmp.Diff(was.others, is.others); d != "" {
			t.Error(d)
		}
	})
}

type output struct{ times, texts, others []string }

// outputs are the lines of a recording, those of outputs apart from the others.
func outputs(t *rapid.T, lines []byte) (o output) {
	for line := range bytes.Lines(lines) {
		var fields []json.RawMessage
		var kind, text string
		if json.Unmarshal(line, &fields) != nil || json.Unmarshal(fields[1], &kind) != nil || kind != "o" {
			o.others = append(o.others, string(line))
			continue
		}
		if err := json.Unmarshal(fields[2], &text); err != nil {
			t.Fatal(err)
		}
		o.times, o.texts = append(o.times, string(fields[0])), append(o.texts, text)
	}
	return o
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestAWriterThatFailsEndsTheLines(t *testing.T) {
	if err := new(recording.Returns).Write(full{}, []byte("[]\n")); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Error(err)
	}
}
