package recording_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/cli/recording"
	"github.com/stile-dev/stile/pkg/escape/escapetest"
)

func rendered(parts ...string) (out []string) {
	r := recording.NewRenderer(func(_ time.Duration, line string) { out = append(out, line) })
	for _, p := range parts {
		r.Show(0, p)
	}
	r.Flush()
	return out
}

func TestTextIsWhatTheTerminalShowed(t *testing.T) {
	for name, c := range map[string]struct {
		in   []string
		want []string
	}{
		"lines":                       {[]string{"a\r\nb\r\n\r\nc"}, []string{"a", "b", "", "c"}},
		"colours":                     {[]string{"\x1b[32mgreen\x1b[0m text\n"}, []string{"green text"}},
		"a typed mistake":             {[]string{"$ lx\b \bs\r\n"}, []string{"$ ls"}},
		"a progress bar":              {[]string{"10%\r50%\r100%\n"}, []string{"100%"}},
		"erased":                      {[]string{"secret\r\x1b[Kshown\n"}, []string{"shown"}},
		"tabs":                        {[]string{"a\tb\n"}, []string{"a       b"}},
		"split orders":                {[]string{"a\x1b[3", "1mb\n"}, []string{"ab"}},
		"another place of the screen": {[]string{"top\x1b[5;1Hbelow"}, []string{"top", "below"}},
		"a title":                     {[]string{"\x1b]0;evil\x07x\n"}, []string{"x"}},
		"a title without an end":      {[]string{"\x1b]0;evil\nrm -rf /\n"}, []string{"", "rm -rf /"}},
		"concealed":                   {[]string{"\x1b[8mhidden\x1b[0m\n"}, []string{"hidden"}},
		"a bidirectional override":    {[]string{"\u202egpj\n"}, []string{`\u202egpj`}},
		"characters inserted":         {[]string{"ac\x1b[D\x1b[@b\n"}, []string{"abc"}},
		"characters deleted":          {[]string{"abxc\x1b[2D\x1b[P\n"}, []string{"abc"}},
		"the alternate screen":        {[]string{"$ vi\x1b[?1049hfile\x1b[?1049l$ "}, []string{"$ vi", "file", "$"}},
	} {
		if diff := cmp.Diff(c.want, rendered(c.in...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSec_S52_NoTextOfARecordingIsAnOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		piece := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\x1b[", "\x1b]", "\x9b", "999999999", "@", "P", "C", "G", "K", "\r", "\b", "\t", "1K", "2J", "H"}))
		for _, line := range rendered(rapid.SliceOf(piece).Draw(r, "parts")...) {
			escapetest.Safe(t, line)
		}
	})
}

func TestALineWithoutAnEndIsShownInParts(t *testing.T) {
	total := 0
	for _, line := range rendered(strings.Repeat("x", 1<<20)) {
		if len(line) > 64<<10 {
			t.Fatalf("a line has %d bytes", len(line))
		}
		total += len(line)
	}
	if total != 1<<20 {
		t.Errorf("%d characters of %d are left", total, 1<<20)
	}
}

func TestSec_S52_AFewBytesAreNoLongLine(t *testing.T) {
	var bytes int
	r := recording.NewRenderer(func(_ time.Duration, line string) { bytes += len(line) })
	const times = 1000
	for range times {
		r.Show(0, "\x1b[9999C\x1b[9999CX\n")
		r.Show(0, "\x1b[9999GX\n")
		r.Show(0, strings.Repeat("\t", 4000)+"X\n")
	}
	if bytes > 3*times<<11 {
		t.Errorf("%d bytes", bytes)
	}
	var lines []string
	r = recording.NewRenderer(func(_ time.Duration, line string) { lines = append(lines, line) })
	r.Show(0, strings.Repeat("a", 5000)+"\r\x1b[4999CX\n") // what is there is gone over
	if len(lines) != 1 || !strings.HasSuffix(lines[0], "aX") || len(lines[0]) != 5000 {
		t.Errorf("%d lines, %d characters", len(lines), len(lines[0]))
	}
}
