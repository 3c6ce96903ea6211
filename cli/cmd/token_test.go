package cmd_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/fault"
)

// The command of a newer agent could only be had by deleting the token, which puts out every agent that joined by it.
func TestTheCommandOfATokenThatExistsCanBePrintedAgain(t *testing.T) {
	const file = "kind: token\nmetadata: {name: web}\nspec: {method: iam, allow: [{account: '111122223333', role: web}], resources: [node], names: ['*']}\n"
	sum := strings.Repeat("a", 64)
	sums := filepath.Join(t.TempDir(), "SHA256SUMS")
	if err := os.WriteFile(sums, []byte(sum+"  stile-agent-linux-amd64\n"+sum+"  stile-agent-linux-arm64\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := shelfWith(t, "token/web")
	s.refused = map[string]*fault.Fault{"token/web": fault.New(fault.Conflict, "token web already exists", "type: stile create --replace")}
	api := httptest.NewTLSServer(s)
	defer api.Close()
	var out strings.Builder
	err := lookupAt(t, api).CreateToken(t.Context(), file, "https://downloads.example", sums, false, &out)
	if f := fault.From(err); f == nil || f.Code != fault.Conflict || !strings.HasPrefix(f.Hint, "add --replace") || out.Len() > 0 {
		t.Errorf("error %v, %q was printed", err, out.String())
	}
	s.refused = nil
	if err := lookupAt(t, api).CreateToken(t.Context(), file, "https://downloads.example", sums, true, &out); err != nil {
		t.Fatal(err)
	}
	if asked := strings.Join(s.asked, ", "); asked != "POST token/web, PUT token/web" || !strings.Contains(out.String(), sum) {
		t.Errorf("asked %s, printed %q", asked, out.String())
	}
}
