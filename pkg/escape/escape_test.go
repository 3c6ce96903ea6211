package escape_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/escape/escapetest"
)

func TestSec_S52_NothingUnprintableIsLeft(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
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
	} {
		if got := escape.Text(c.in); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		escapetest.Safe(t, escape.Text(string(rapid.SliceOf(rapid.Byte()).Draw(r, "bytes"))))
	})
}

// TestSec_S52_JSONIsSafeAndSaysTheSame, whatever its strings hold.
func TestSec_S52_JSONIsSafeAndSaysTheSame(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := map[string]string{rapid.String().Draw(r, "key"): rapid.String().Draw(r, "value"), "orders": escapetest.Orders}
		var out bytes.Buffer
		if err := json.NewEncoder(escape.JSONWriter(&out)).Encode(in); err != nil {
			r.Fatal(err)
		}
		escapetest.Safe(t, out.String())
		var got map[string]string
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || !cmp.Equal(in, got) {
			r.Fatalf("%q is read as %q: %v", out.String(), got, err)
		}
	})
	if got := string(escape.JSON([]byte("\"\x9b\""))); got != `"\ufffd"` {
		t.Errorf("an invalid byte became %s", got)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestAWriterSaysWhatItsTargetSays(t *testing.T) {
	if n, err := escape.JSONWriter(full{}).Write([]byte("{}\n")); n != 0 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
}
