package integration_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
)

// owes reads the hours of which the lake is known to lack something, and makes them what they are given as, unless that is nil.
func (v *vandal) owes(t *testing.T, hours []time.Time) (owed []time.Time) {
	t.Helper()
	key := item{"pk": &types.AttributeValueMemberS{Value: "looked"}, "sk": &types.AttributeValueMemberS{Value: "lake"}}
	got, err := v.db.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &v.table, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil || got.Item == nil {
		t.Fatalf("how far the comparing is: %v, %v", got, err)
	}
	kept := map[string]json.RawMessage{}
	var before []struct {
		From time.Time `json:"from"`
	}
	err = json.Unmarshal([]byte(text(got.Item["value"])), &kept)
	if err == nil && kept["owed"] != nil {
		err = json.Unmarshal(kept["owed"], &before)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range before {
		owed = append(owed, h.From)
	}
	if hours == nil {
		return owed
	}
	var after []map[string]any
	for _, from := range hours {
		after = append(after, map[string]any{"from": from})
	}
	raw, err := json.Marshal(after)
	if err != nil {
		t.Fatal(err)
	}
	kept["owed"] = raw
	if raw, err = json.Marshal(kept); err != nil {
		t.Fatal(err)
	}
	got.Item["value"] = &types.AttributeValueMemberS{Value: string(raw)}
	if _, err := v.db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &v.table, Item: got.Item}); err != nil {
		t.Fatal(err)
	}
	return owed
}

// What never reached the lake is sent again from the ledger, and SQL finds it then.
func TestWhatTheLakeLacksIsSentAgainFromTheLedger(t *testing.T) {
	boss, p, v := shared.person(t, admin).login(t), shared.person(t, engineer).login(t), newVandal(t)
	over := shared.trouble(t, stand.Fault{Service: "events", Operation: "PutEvents", Kind: "error", Status: 400, Code: "ValidationException"})
	id := strings.TrimSpace(p.must(t, "ssh", "node-1", "--", `echo "$STILE_SESSION_ID"`))
	var want []string
	var hours []time.Time
	eventually(t, 60*time.Second, func() string {
		want, hours = nil, nil
		ended := false
		for _, e := range boss.events(t, "--session", id) {
			want, ended = append(want, e.ID), ended || e.Type == audit.SessionEnd
			if hour := e.Received.UTC().Truncate(time.Hour); !slices.Contains(hours, hour) {
				hours = append(hours, hour)
			}
		}
		aside := shared.bucket(t, "failures", names.KeptAside)
		for _, one := range want {
			if !slices.ContainsFunc(slices.Collect(maps.Values(aside)), func(body []byte) bool { return strings.Contains(string(body), one) }) {
				return fmt.Sprintf("event %s of %d is not kept aside", one, len(want))
			}
		}
		if !ended {
			return "the session's end is not in the ledger"
		}
		return ""
	})
	over()
	found := func() (ids []string) {
		for _, row := range boss.asked(t, "SELECT id FROM events WHERE origin = 'lake' AND session_id = '"+id+"'") {
			ids = append(ids, row["id"].(string))
		}
		return ids
	}
	if got := found(); len(got) != 0 {
		t.Fatalf("the lake has %v", got)
	}

	v.beginsComparing(t)
	shared.sweep(t)
	v.owes(t, hours)
	if r := boss.run(t, nil, "audit", "query", "SELECT 1 AS n"); r.status != 0 || !strings.Contains(r.err, "It lacks some of what was received from ") {
		t.Errorf("who asks isn't told what the lake lacks: %d %s", r.status, r.err)
	}
	shared.sweep(t)
	slices.Sort(want)
	eventually(t, 60*time.Second, func() string {
		if rows := shared.lake(t, func(r row) bool { return aws.ToString(r.SessionID) == id }); len(rows) < len(want) {
			return fmt.Sprintf("the lake has %d of %d", len(rows), len(want))
		}
		return ""
	})
	got := found()
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("SQL finds %v, the ledger has %v", got, want)
	}
	v.owes(t, v.owes(t, nil)) // ten minutes later
	eventually(t, 60*time.Second, func() string {
		if err := boss.Flush(); err != nil { // what this hour still receives is on its way
			t.Fatal(err)
		}
		shared.sweep(t)
		if left := v.owes(t, nil); len(left) != 0 {
			v.owes(t, left)
			return fmt.Sprintf("the lake still owes %v", left)
		}
		return ""
	})
	if !slices.ContainsFunc(boss.events(t, "--since", "1h", "--type", "evidence.checked"), func(e listed) bool {
		return e.Data["check"] == "lake" && e.Standing == "proven" && e.Source == "function/sweep"
	}) {
		t.Error("no hour of the lake is stated")
	}
}
