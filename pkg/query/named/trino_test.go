package named_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/query/holding"
	"github.com/stile-dev/stile/pkg/query/named"
	"github.com/stile-dev/stile/pkg/query/statement"
)

var write = flag.String("write", "", "file that gets each question as Athena would, JSON: name to SQL")

// Athena's engine is Trino's, whose grammar is in a parser from npm: scripts/trino/check has it parse each question, and
// those of package holding, and keeps what it took.
func TestEachQuestionIsTrinos(t *testing.T) {
	head := statement.Head{Owner: "usr_0", Event: "01hv0000000000000000000000", Since: time.Unix(1_700_000_000, 0), Until: time.Unix(1_700_600_000, 0)}
	asked := map[string]string{}
	for _, q := range named.All() {
		sql, _ := bound(t, q)
		text, err := statement.Compose(head, sql, true)
		if err != nil {
			t.Fatal(err)
		}
		asked[q.Name] = text
	}
	for _, r := range []holding.Request{
		{Ask: holding.Digests, From: head.Since, To: head.Since.Add(time.Hour)},
		{Ask: holding.Keys, From: head.Since, To: head.Since.Add(time.Hour)},
		{Ask: holding.Row, Receipt: head.Event},
	} {
		text, _, err := r.Compose()
		if err != nil {
			t.Fatal(err)
		}
		asked["holding-"+r.Ask] = text
	}
	if *write != "" {
		b, err := json.Marshal(asked)
		if err == nil {
			err = os.WriteFile(*write, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile("testdata/trino.txt")
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if name, sum, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			taken[name] = sum
		}
	}
	for name, text := range asked {
		if sum := sha256.Sum256([]byte(text)); taken[name] != hex.EncodeToString(sum[:]) {
			t.Errorf("Trino's grammar hasn't seen %s as it is now: run scripts/trino/check", name)
		}
		delete(taken, name)
	}
	if len(taken) > 0 {
		t.Errorf("Trino's grammar took what isn't asked: %v", taken)
	}
}
