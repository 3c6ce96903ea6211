package recording_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recording"
)

// What is shown is written as package json writes it, byte for byte, so that every player reads it.
func TestTextIsWrittenAsPackageJSONDoes(t *testing.T) {
	session, _ := identity.NewSession(bytes.NewReader(make([]byte, 16)), time.Unix(1_800_000_000, 0))
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("a\"\\\b\f\n\r\t\x00\x1b\x1f\x7f<>&é\u2027\u2028\u2029\u202a\uFFFD😀")))).Draw(t, "text")
		if text == "" {
			return
		}
		c := recording.NewChunk(recording.Place{Session: session, Seq: 1, Before: strings.Repeat("0", 64)}, nil)
		c.Output(1500*time.Millisecond, recording.Stdout, []byte(text))
		lines := linesOf(t, c)
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(text); err != nil {
			t.Fatal(err)
		}
		if got := string(lines); got != `[1.500000,"o",`+strings.TrimSuffix(want.String(), "\n")+"]\n" {
			t.Errorf("%q, want %q", got, want.String())
		}
	})
}

// linesOf seals a chunk and reads its lines.
func linesOf(t rapid.TB, c *recording.Chunk) []byte {
	t.Helper()
	object, _, err := c.Seal()
	if err != nil {
		t.Fatal(err)
	}
	_, lines, err := recording.OpenChunk(object)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
