package wire_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/wire"
)

// Whatever a text is, it takes no more in an answer than is counted for it.
func TestATextTakesNoMoreInAnAnswerThanIsCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		again := text
		for range 2 { // as the API writes it, and then as Lambda does
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			if err := e.Encode(again); err != nil {
				t.Fatal(err)
			}
			again = b.String()[:b.Len()-1]
		}
		const quotes = len(`"\"\""`)
		if taken := len(again) - quotes; taken > wire.Size(text) {
			t.Fatalf("%q takes %d bytes, %d are counted", text, taken, wire.Size(text))
		}
	})
}
