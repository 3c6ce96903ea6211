package integration_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
)

// The local Athena starts no query. What is asked is judged, and written down, before Athena gets it.
func TestAQuestionIsWrittenDownBeforeItIsAsked(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	var named []struct{ Name, Question, SQL string }
	if err := json.Unmarshal([]byte(boss.must(t, "audit", "query", "--list", "--format", "json")), &named); err != nil {
		t.Fatal(err)
	}
	if len(named) == 0 || named[0].Name == "" || named[0].Question == "" || named[0].SQL == "" {
		t.Fatalf("the named questions are %+v", named)
	}
	const asked = "SELECT type, count(*) AS of_it FROM events GROUP BY type ORDER BY type"
	boss.run(t, nil, "audit", "query", asked).refused(t, 1, "hint: ")
	var found []listed
	for _, e := range boss.events(t, "--since", "5m", "--type", string(audit.LakeQueried)) {
		if e.Data["sql"] == asked {
			found = append(found, e)
		}
	}
	if len(found) != 1 || found[0].Actor != "user/ada" || found[0].Standing != "proven" {
		t.Errorf("the question is told as %+v", found)
	}
	for _, sql := range []string{"INSERT INTO events SELECT * FROM events", "SELECT 1; DROP TABLE deliveries", "UNLOAD (SELECT * FROM events) TO 's3://elsewhere/'"} {
		boss.run(t, nil, "audit", "query", sql).refused(t, 2, "SELECT")
	}
}

func TestWhoMayNotAskTheLakeIsRefusedAndTold(t *testing.T) {
	p, boss := shared.person(t, engineer).login(t), shared.person(t, admin).login(t)
	p.run(t, nil, "audit", "query", "SELECT 1").refused(t, 4, "decision: dec_")
	eventually(t, 20*time.Second, func() string {
		all := boss.events(t, "--since", "5m", "--type", string(audit.RequestRefused), "--actor", "user/alice")
		if !slices.ContainsFunc(all, func(e listed) bool { return e.DecisionID != "" && strings.Contains(e.Reason, "query") }) {
			return "the refusal is not listed"
		}
		return ""
	})
}
