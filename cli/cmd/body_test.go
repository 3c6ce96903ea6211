package cmd_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

func TestWhatAnEventHadNoRoomForIsPrintedAsItIs(t *testing.T) {
	text := "SELECT 1 -- \x1b[2J\n" + strings.Repeat("é<", 9000)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewEncoder(w).Encode(wire.AuditBody{Sha256: path.Base(r.URL.Path), Text: text}); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	l := lookupAt(t, server)
	var out bytes.Buffer
	if err := l.Body(t.Context(), audit.Sum(text), &out); err != nil || out.String() != text {
		t.Errorf("%v: %d bytes of %d", err, out.Len(), len(text))
	}
	out.Reset()
	if err := l.Body(t.Context(), audit.Sum("another"), &out); !fault.Is(err, fault.Internal) || out.Len() != 0 {
		t.Errorf("what isn't it: %v, %q", err, out.String())
	}
	if err := l.Body(t.Context(), "../"+audit.Sum(text), &out); !fault.Is(err, fault.BadInput) {
		t.Errorf("what can't be one: %v", err)
	}
}
