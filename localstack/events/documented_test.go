package events_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/events"
)

// The patterns of docs/audit.md hear what is said of them there, and nothing beside it.
func TestPatternsInTheDocumentationHearWhatItSays(t *testing.T) {
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(page), "\n## Rules of your own on the bus\n")
	part, _, _ = strings.Cut(part, "\n## ")
	blocks := regexp.MustCompile("(?s)```\n(.*?)\n```").FindAllStringSubmatch(part, -1)
	put := map[string]struct{ source, kind, detail string }{
		"refused login":          {"stile", "user.login_refused", `{"outcome":"denied","writer":"function/sign-user"}`},
		"login that failed":      {"stile", "user.login_refused", `{"outcome":"failure","writer":"function/sign-user"}`},
		"denied session":         {"stile", "session.denied", `{"outcome":"denied","writer":"agent"}`},
		"role":                   {"stile", "resource.updated", `{"outcome":"success","target_kind":"role","target":"dev","writer":"function/admin"}`},
		"mapping":                {"stile", "resource.deleted", `{"outcome":"success","target_kind":"iam_mapping","target":"dev","writer":"function/admin"}`},
		"token":                  {"stile", "resource.created", `{"outcome":"success","target_kind":"token","target":"dev","writer":"function/admin"}`},
		"role, by a proxy":       {"stile", "resource.updated", `{"outcome":"success","target_kind":"role","target":"dev","writer":"proxy"}`},
		"root":                   {"stile", "session.start", `{"target_kind":"node","target":"prod-1","data":{"login":"root"},"writer":"agent"}`},
		"root elsewhere":         {"stile", "session.start", `{"target_kind":"node","target":"web-prod-1","data":{"login":"root"},"writer":"agent"}`},
		"another login":          {"stile", "session.start", `{"target_kind":"node","target":"prod-1","data":{"login":"ubuntu"},"writer":"agent"}`},
		"root's end":             {"stile", "session.end", `{"target_kind":"node","target":"prod-1","data":{"login":"root"},"writer":"agent"}`},
		"what others put there":  {"else", "session.start", `{"target_kind":"node","target":"prod-1","data":{"login":"root"}}`},
		"what others say denied": {"else", "session.denied", `{"outcome":"denied"}`},
	}
	want := []map[string]bool{{"refused login": true, "denied session": true}, {"role": true, "mapping": true}, {"root": true}}
	if len(blocks) != len(want) {
		t.Fatalf("%d patterns are there", len(blocks))
	}
	for n, block := range blocks {
		var pattern map[string]any
		if err := json.Unmarshal([]byte(block[1]), &pattern); err != nil {
			t.Fatal(err)
		}
		said := map[string]bool{}
		now := ""
		s, _ := open(t, t.TempDir(), nil, func(events.Rule, events.Target, []byte) error { said[now] = true; return nil })
		if _, err := s.Provision(rule("Own", "ENABLED", pattern, map[string]any{})); err != nil {
			t.Fatal(err)
		}
		for name, e := range put {
			now = name
			if err := s.Emit(e.source, e.kind, time.Now(), json.RawMessage(e.detail)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if diff := cmp.Diff(want[n], said); diff != "" {
			t.Errorf("%s (-want +got):\n%s", block[1], diff)
		}
	}
}
