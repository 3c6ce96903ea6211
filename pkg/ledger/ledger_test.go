package ledger_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/table"
)

// memory takes conditional puts; the n-th from now on fails once, before or after it is written.
type memory struct {
	table.API
	mu        sync.Mutex
	items     map[string]table.Item
	fail      int
	persisted bool
}

func (m *memory) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	item := table.Item(in.Item)
	k := item.Text("pk") + "|" + item.Text("sk")
	m.fail--
	if m.fail == 0 && !m.persisted {
		return nil, errors.New("down")
	}
	if _, there := m.items[k]; there {
		return nil, &types.ConditionalCheckFailedException{}
	}
	m.items[k] = item
	if m.fail == 0 {
		return nil, errors.New("the answer was lost")
	}
	return &dynamodb.PutItemOutput{}, nil
}

func event(reason string) audit.Event {
	e := audit.New(audit.SessionEnd, rand.Reader, time.Date(2026, 11, 20, 23, 59, 59, 0, time.UTC))
	e.Cluster, e.Actor, e.Source, e.Reason = "c", "user/alice", "agent/agt_1", reason
	return e
}

func TestAppendingAgainAfterAFailureHoldsEveryEventOnceAsItWasFirstSaid(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		m := &memory{items: map[string]table.Item{}, fail: 3, persisted: persisted}
		l := ledger.New(ledger.Config{DynamoDB: m, Table: "t"})
		var events []audit.Event
		for range 20 {
			events = append(events, event("first"))
		}
		if err := l.Append(t.Context(), events...); err == nil {
			t.Fatal("the failure was swallowed")
		}
		if err := l.Append(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
		again := events[0]
		again.Reason = "second"
		if err := l.Append(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if len(m.items) != len(events) {
			t.Errorf("%d items of %d events", len(m.items), len(events))
		}
		for _, e := range events {
			item := m.items[ledger.Partition(e)+"|"+e.ID]
			var got audit.Event
			if err := json.Unmarshal([]byte(item.Text("event")), &got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(e, got); d != "" || !strings.HasPrefix(item.Text("pk"), "event#2026-11-20#") {
				t.Errorf("%s: %s", item.Text("pk"), d)
			}
		}
	}
}

func TestAnInvalidEventKeepsTheWholeBatchOut(t *testing.T) {
	m := &memory{items: map[string]table.Item{}}
	bad := event("")
	bad.Source = ""
	if err := ledger.New(ledger.Config{DynamoDB: m, Table: "t"}).Append(t.Context(), event(""), bad); err == nil || len(m.items) != 0 {
		t.Errorf("%v, %d items", err, len(m.items))
	}
}
