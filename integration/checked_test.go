package integration_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/compare"
)

// earlier copies an event to where it would be if it had been received at a time.
func (v *vandal) earlier(t *testing.T, source, id string, at time.Time) {
	t.Helper()
	for _, i := range v.copies(t, id) {
		i["pk"] = &types.AttributeValueMemberS{Value: ledger.Partition(source, at, id)}
		i["sk"] = &types.AttributeValueMemberS{Value: ledger.Receipt(at, []byte(text(i["event"])))}
		i["received_ms"] = &types.AttributeValueMemberN{Value: fmt.Sprint(at.UnixMilli())}
		if _, err := v.db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &v.ledger, Item: i}); err != nil {
			t.Fatal(err)
		}
	}
}

// recheck has a check begin again at an hour.
func (v *vandal) recheck(t *testing.T, check string, from time.Time) {
	t.Helper()
	i := item{
		"pk": &types.AttributeValueMemberS{Value: "checked"}, "sk": &types.AttributeValueMemberS{Value: check},
		"until_ms": &types.AttributeValueMemberN{Value: fmt.Sprint(from.UnixMilli())},
	}
	if _, err := v.db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &v.table, Item: i}); err != nil {
		t.Fatal(err)
	}
}

// beginsComparing has the comparing of ledger and lake begin with the last hour that is over: the turn of the one that is now would
// come in some time.
func (v *vandal) beginsComparing(t *testing.T) {
	t.Helper()
	v.recheck(t, checked.Lake, time.Now().UTC().Add(-compare.Patience).Truncate(checked.Hour).Add(-checked.Hour))
}

// TestTheEvidenceOfAnHourIsStated has the start of a session be of an hour that is over, at which its agent had no certificate yet: so
// nobody can have signed it.
func TestTheEvidenceOfAnHourIsStated(t *testing.T) {
	boss, p, v := shared.person(t, admin).login(t), shared.person(t, engineer).login(t), newVandal(t)
	hour := time.Now().UTC().Add(-6 * time.Hour).Truncate(checked.Hour)
	shared.agent(t, enrol{name: "node-stated"})
	eventually(t, 30*time.Second, p.online(t, "node-stated", true))
	p.must(t, "ssh", "node-stated", "--", "true")
	start := shared.start(t, "node-stated")
	v.recheck(t, checked.Recordings, hour.Add(-checked.Hour))
	v.earlier(t, start.Source, start.ID, hour.Add(10*time.Minute))
	stated := func() (all []string) {
		for _, e := range boss.events(t, "--since", "1h", "--type", "evidence.checked") {
			s, ok := checked.Read(e.Event)
			if !ok || e.Standing != "proven" || e.Source != "function/sweep" {
				t.Errorf("no statement: %+v", e)
			}
			if s.Check == checked.Recordings && !s.From.Before(hour.Add(-checked.Hour)) {
				all = append(all, fmt.Sprintf("%s %d %d %q", s.From.Format(time.RFC3339), s.Looked, s.Found, s.Unproved))
			}
		}
		return all
	}
	before := len(stated())
	const why = "1 events that say that sessions began are signed by no agent"
	want := []string{
		hour.Add(-checked.Hour).Format(time.RFC3339) + ` 0 0 ""`,
		fmt.Sprintf("%s 0 0 %q", hour.Format(time.RFC3339), why),
	}
	shared.sweep(t)
	first := stated()[before:]
	if len(first) < 2 || !slices.Equal(first[:2], want) {
		t.Fatalf("stated %q, not %q", first, want)
	}
	shared.sweep(t)
	if again := stated()[before:]; len(again) > len(first)+1 || !slices.Equal(again[:len(first)], first) { // an hour may have ended meanwhile
		t.Errorf("stated again: %q", again)
	}
	r := boss.run(t, nil, "audit", "verify", "--since", "12h")
	if r.status != 1 || !strings.Contains(r.out, why) || !strings.Contains(r.out, "not checked: there is no statement") || !strings.Contains(r.out, "could be proven\n") {
		t.Errorf("%d: %s%s", r.status, r.out, r.err)
	}
}
