package recorded_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recorded"
	"github.com/stile-dev/stile/pkg/table"
)

var now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// memory is a table that knows the requests and the conditions that a store of entries makes.
type memory struct {
	table.API
	items map[table.Key]table.Item
	page  int
}

func keyOf(i table.Item) table.Key { return table.Key{PK: i.Text("pk"), SK: i.Text("sk")} }

// holds evaluates a condition of ANDs.
func (m *memory) holds(key table.Key, condition *string, values table.Item) bool {
	if condition == nil || *condition == "" {
		return true
	}
	there := m.items[key]
	for part := range strings.SplitSeq(*condition, " AND ") {
		name, value, equals := strings.Cut(part, " = ")
		absent := strings.TrimSuffix(strings.TrimPrefix(part, "attribute_not_exists("), ")")
		switch {
		case equals && cmp.Equal(there[name], values[value], cmp.Comparer(same)):
		case !equals && absent != part && there[absent] == nil:
		default:
			return false
		}
	}
	return true
}

func same(a, b types.AttributeValue) bool { return fmt.Sprint(text(a)) == fmt.Sprint(text(b)) }

func text(v types.AttributeValue) string {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return v.Value
	}
	return ""
}

func (m *memory) TransactWriteItems(_ context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	var reasons []types.CancellationReason
	failed := false
	for _, op := range in.TransactItems {
		code := "None"
		if p := op.Put; p != nil && !m.holds(keyOf(p.Item), p.ConditionExpression, p.ExpressionAttributeValues) {
			code, failed = "ConditionalCheckFailed", true
		}
		if d := op.Delete; d != nil && !m.holds(keyOf(d.Key), d.ConditionExpression, d.ExpressionAttributeValues) {
			code, failed = "ConditionalCheckFailed", true
		}
		reasons = append(reasons, types.CancellationReason{Code: &code})
	}
	if failed {
		return nil, &types.TransactionCanceledException{CancellationReasons: reasons}
	}
	for _, op := range in.TransactItems {
		if op.Put != nil {
			m.items[keyOf(op.Put.Item)] = op.Put.Item
		} else {
			delete(m.items, keyOf(op.Delete.Key))
		}
	}
	return &dynamodb.TransactWriteItemsOutput{}, nil
}

func (m *memory) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	m.items[keyOf(in.Item)] = in.Item
	return &dynamodb.PutItemOutput{}, nil
}

func (m *memory) DeleteItem(_ context.Context, in *dynamodb.DeleteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	if !m.holds(keyOf(in.Key), in.ConditionExpression, in.ExpressionAttributeValues) {
		return nil, &types.ConditionalCheckFailedException{}
	}
	delete(m.items, keyOf(in.Key))
	return &dynamodb.DeleteItemOutput{}, nil
}

func (m *memory) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	return &dynamodb.GetItemOutput{Item: m.items[keyOf(in.Key)]}, nil
}

func (m *memory) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	v := table.Item(in.ExpressionAttributeValues)
	from, below, after := v.Text(":from"), v.Text(":below"), table.Item(in.ExclusiveStartKey).Text("sk")
	var keys []table.Key
	for k := range m.items {
		if k.PK == v.Text(":pk") && (below == "" || k.SK >= from && k.SK <= below) && (after == "" || k.SK > after) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b table.Key) int { return strings.Compare(a.SK, b.SK) })
	if in.ScanIndexForward != nil && !*in.ScanIndexForward {
		slices.Reverse(keys)
	}
	out := &dynamodb.QueryOutput{}
	for _, k := range keys {
		if most := min(int(*in.Limit), m.page); len(out.Items) == most {
			out.LastEvaluatedKey = out.Items[most-1]
			break
		}
		out.Items = append(out.Items, m.items[k])
	}
	return out, nil
}

func newStore() (recorded.Store, *memory) {
	m := &memory{items: map[table.Key]table.Item{}, page: 1000}
	return recorded.New(m, "state"), m
}

func entry(user string, at time.Time) archive.Entry {
	id, _ := identity.NewSession(rand.Reader, at)
	return archive.Entry{
		Session: id, Agent: "agt_a", Scope: "/a", User: user, UID: "usr_" + user, Login: "root", Target: identity.Target{Kind: "node", Name: "node-1"}, Started: at,
	}
}

func TestAnEntryComesBackAsItWasKept(t *testing.T) {
	s, m := newStore()
	open := entry("ada", now)
	whole := entry("bob", now)
	whole.Complete, whole.Chunks, whole.Bytes, whole.Last, whole.Ended = true, 3, 1<<40, "abc", now.Add(time.Hour)
	left := entry("eve", now)
	left.Login, left.Abandoned = "", true
	for _, want := range []archive.Entry{open, whole, left} {
		if _, err := s.Create(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(t.Context(), want.Session)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
		of, _, err := s.Of(t.Context(), want.User, "", "ses_z", 10)
		if diff := cmp.Diff([]archive.Entry{want}, of); diff != "" || err != nil {
			t.Error(err, diff)
		}
	}
	if len(m.items) != 6 {
		t.Errorf("%d items", len(m.items))
	}
	if _, err := s.Get(t.Context(), entry("zoe", now).Session); !errors.Is(err, archive.ErrNone) {
		t.Error(err)
	}
	again := open
	again.User, again.Agent = "mallory", "agt_b"
	if got, err := s.Create(t.Context(), again); err != nil || got.User != "ada" || got.Agent != "agt_a" {
		t.Errorf("made a second time it is %+v, %v", got, err)
	}
}

func TestAnEntryIsReplacedByItsOwnerAlone(t *testing.T) {
	s, _ := newStore()
	e := entry("ada", now)
	if _, err := s.Create(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	moved := e
	moved.Agent = "agt_b"
	if err := s.Replace(t.Context(), e, moved); err != nil {
		t.Fatal(err)
	}
	if err := s.Replace(t.Context(), e, e); err == nil {
		t.Error("an owner of before takes it back")
	}
	if got, err := s.Get(t.Context(), e.Session); err != nil || got.Agent != "agt_b" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEntriesAreListedNewestFirstBetweenIds(t *testing.T) {
	s, _ := newStore()
	var all []string
	for n := range 4 {
		e := entry("ada", now.Add(time.Duration(n)*time.Minute))
		if _, err := s.Create(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Session)
	}
	ids := func(list []archive.Entry) (out []string) {
		for _, e := range list {
			out = append(out, e.Session)
		}
		return out
	}
	day, more, err := s.Day(t.Context(), now, all[0], all[3], 10)
	if want := []string{all[2], all[1], all[0]}; !slices.Equal(ids(day), want) || more || err != nil {
		t.Errorf("%v, want %v: %v", ids(day), want, err)
	}
	if page, more, err := s.Of(t.Context(), "ada", "", "ses_z", 3); !slices.Equal(ids(page), []string{all[3], all[2], all[1]}) || !more || err != nil {
		t.Errorf("a page: %v %t %v", ids(page), more, err)
	}
	if none, more, err := s.Day(t.Context(), now, all[2], all[1], 10); none != nil || more || err != nil {
		t.Errorf("from one above the other: %v", none)
	}
}

func TestLeasesLapseAndGoWithTheirRecordings(t *testing.T) {
	s, m := newStore()
	m.page = 2
	var wanted []string
	entries := map[string]archive.Entry{}
	for n := range 70 {
		e := entry("ada", now.Add(time.Duration(n)*time.Second))
		until := now.Add(-time.Minute)
		if n%2 == 1 {
			until = now.Add(time.Minute)
		} else {
			wanted = append(wanted, e.Session)
		}
		entries[e.Session] = e
		if _, err := s.Create(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if err := s.Hold(t.Context(), archive.Lease{Session: e.Session, Agent: "agt_a", Until: until}); err != nil {
			t.Fatal(err)
		}
	}
	lapsed, err := s.Lapsed(t.Context(), now, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lapsed {
		got = append(got, l.Session)
	}
	slices.Sort(got)
	slices.Sort(wanted)
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Fatal(diff)
	}
	if some, err := s.Lapsed(t.Context(), now, 5); len(some) != 5 || err != nil {
		t.Errorf("%d of at most five, %v", len(some), err)
	}
	whole, heard, dropped, left := lapsed[0], lapsed[1], lapsed[2], lapsed[3]
	complete := entries[whole.Session]
	complete.Complete, complete.Ended = true, now
	if err := s.Replace(t.Context(), entries[whole.Session], complete); err != nil {
		t.Fatal(err)
	}
	if err := s.Abandon(t.Context(), entries[whole.Session], whole); !errors.Is(err, archive.ErrHeardOf) {
		t.Errorf("a complete one is abandoned: %v", err)
	}
	if err := s.Hold(t.Context(), archive.Lease{Session: heard.Session, Agent: "agt_a", Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Lapses(t.Context(), left); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{"lapsed": s.Lapses(t.Context(), heard), "abandoned": s.Abandon(t.Context(), entries[heard.Session], heard), "dropped": s.Drop(t.Context(), heard)} {
		if !errors.Is(err, archive.ErrHeardOf) {
			t.Errorf("one that was heard of is %s: %v", name, err)
		}
	}
	if err := errors.Join(s.Drop(t.Context(), dropped), s.Abandon(t.Context(), entries[left.Session], left)); err != nil {
		t.Fatal(err)
	}
	for session, want := range map[string]bool{whole.Session: false, heard.Session: false, dropped.Session: false, left.Session: true} {
		e, err := s.Get(t.Context(), session)
		if err != nil || e.Abandoned != want {
			t.Errorf("%+v, %v", e, err)
		}
		of, _, err := s.Of(t.Context(), "ada", session, session+"0", 1)
		if err != nil || len(of) != 1 || of[0].Abandoned != want {
			t.Errorf("as its user's: %+v, %v", of, err)
		}
	}
	if rest, err := s.Lapsed(t.Context(), now, 100); len(rest) != len(wanted)-4 || err != nil {
		t.Errorf("%d leases have lapsed, want %d: %v", len(rest), len(wanted)-4, err)
	}
}
