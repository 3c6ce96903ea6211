package integration_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger/reader"
)

// ripen lets the gaps of a source be as old as they must be to be told, as a quarter of an hour would.
func (v *vandal) ripen(t *testing.T, agent string) {
	t.Helper()
	key := item{"pk": &types.AttributeValueMemberS{Value: "counted#" + agent}, "sk": &types.AttributeValueMemberS{Value: "counted"}}
	got, err := v.db.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &v.table, Key: key})
	if err != nil || got.Item == nil {
		t.Fatalf("what is kept of %s: %v, %v", agent, got, err)
	}
	value := text(got.Item["value"])
	_, due, ok := strings.Cut(value, `"due":"`)
	when, _, _ := strings.Cut(due, "#")
	ms, err := strconv.ParseInt(when, 10, 64)
	if !ok || err != nil {
		t.Fatalf("nothing is due: %s", value)
	}
	earlier := fmt.Sprintf("%013d", ms-16*60_000)
	_, seen, _ := strings.Cut(value, `"seen":"`)
	seen, _, _ = strings.Cut(seen, `"`)
	at, err := time.Parse(time.RFC3339, seen)
	if err != nil {
		t.Fatal(err)
	}
	value = strings.ReplaceAll(value, `"seen":"`+seen, `"seen":"`+at.Add(-16*time.Minute).Format(time.RFC3339Nano))
	value = strings.ReplaceAll(value, `"due":"`+when, `"due":"`+earlier)
	got.Item["value"] = &types.AttributeValueMemberS{Value: value}
	for _, i := range []item{got.Item, {"pk": &types.AttributeValueMemberS{Value: "gap"}, "sk": &types.AttributeValueMemberS{Value: earlier + "#" + agent}}} {
		if _, err := v.db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &v.table, Item: i}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSec_S63_WhatIsTakenFromTheLedgerIsToldOnce takes an event away as a proxy's credentials can: nothing can be deleted, but
// what stands there can be overwritten.
func TestSec_S63_WhatIsTakenFromTheLedgerIsToldOnce(t *testing.T) {
	boss, p, v := shared.person(t, admin).login(t), shared.person(t, engineer).login(t), newVandal(t)
	shared.sweep(t) // the looks begin before the agent does
	shared.agent(t, enrol{name: "node-gap"})
	eventually(t, 30*time.Second, p.online(t, "node-gap", true))
	p.must(t, "ssh", "node-gap", "--", "true")
	start := shared.start(t, "node-gap")
	db := shared.asProxy(t)
	for _, i := range v.copies(t, start.ID) {
		i["event"] = &types.AttributeValueMemberS{Value: "{}"}
		if _, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &v.ledger, Item: i}); err != nil {
			t.Fatal(err)
		}
	}
	p.must(t, "ssh", "node-gap", "--", "true")
	eventually(t, 20*time.Second, func() string {
		if !slices.ContainsFunc(shared.ledger(t).Gaps, func(g reader.Gap) bool { return g.Source == start.Source && g.Last == start.Seq }) {
			return "nothing is missing"
		}
		return ""
	})
	told := func() (all []listed) {
		for _, e := range boss.events(t, "--since", "1h", "--type", "ledger.gap") {
			if e.Data["source"] == start.Source {
				all = append(all, e)
			}
		}
		return all
	}
	shared.sweep(t)
	if all := told(); len(all) != 0 {
		t.Errorf("a gap of a moment is told: %+v", all)
	}
	v.ripen(t, strings.TrimPrefix(start.Source, "agent/"))
	for range 2 {
		shared.sweep(t)
		all, seq := told(), strconv.FormatUint(start.Seq, 10)
		if len(all) != 1 {
			t.Fatalf("told: %+v", all)
		}
		e := all[0]
		if e.Standing != "proven" || e.Source != "function/sweep" || e.Outcome != audit.Failure || e.Data["epoch"] != start.SourceEpoch || e.Data["from"] != seq || e.Data["to"] != seq || e.Data["seen"] == "" {
			t.Errorf("told: %+v", e)
		}
	}
}
