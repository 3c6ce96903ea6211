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
	for name, c := range escapetest.Cases {
		if got := escape.Text(c.In); got != c.Want {
			t.Errorf("%s: got %q, want %q", name, got, c.Want)
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
