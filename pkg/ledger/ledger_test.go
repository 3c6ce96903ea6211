package ledger_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

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
	down      string // partitions that begin so take nothing
}

func (m *memory) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	item := table.Item(in.Item)
	k := item.Text("pk") + "|" + item.Text("sk")
	if m.down != "" && strings.HasPrefix(item.Text("pk"), m.down) {
		return nil, errors.New("throttled")
	}
	m.fail--
	if m.fail == 0 && !m.persisted {
		return nil, errors.New("down")
	}
	if old, there := m.items[k]; there && in.ConditionExpression != nil {
		return nil, &types.ConditionalCheckFailedException{Item: old}
	}
	m.items[k] = item
	if m.fail == 0 {
		return nil, errors.New("the answer was lost")
	}
	return &dynamodb.PutItemOutput{}, nil
}

// of returns the item of an event.
func (m *memory) of(t *testing.T, e audit.Event) table.Item {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return m.items[ledger.Partition(e.Source, received, e.ID)+"|"+ledger.Receipt(received, b)]
}

var received = time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)

func newLedger(m *memory) *ledger.Ledger {
	return ledger.New(ledger.Config{DynamoDB: m, Table: "t", Now: func() time.Time { return received }})
}

func event(reason string) audit.Event {
	e := audit.New(audit.SessionEnd, rand.Reader, time.Date(2026, 11, 20, 23, 59, 59, 0, time.UTC))
	e.Cluster, e.Actor, e.Source, e.Reason = "c", "user/alice", "agent/agt_1", reason
	return e
}

func TestAppendingAgainAfterAFailureHoldsEveryEventOnceAsItWasFirstSaid(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		m := &memory{items: map[string]table.Item{}, fail: 3, persisted: persisted}
		l := newLedger(m)
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
		if len(m.items) != len(events) {
			t.Errorf("%d items of %d events", len(m.items), len(events))
		}
		for _, e := range events {
			item := m.of(t, e)
			var got audit.Event
			if err := json.Unmarshal([]byte(item.Text("event")), &got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(e, got); d != "" || !strings.HasPrefix(item.Text("pk"), "event#agent#2026-11-25#") {
				t.Errorf("%s: %s", item.Text("pk"), d)
			}
		}
	}
}

// What says where an event is stays as it is: were it written before its event, it would name a day on which the event isn't.
func TestASessionsEventsAreFoundWheneverTheyAreWritten(t *testing.T) {
	for name, write := range map[string]func(*ledger.Ledger, audit.Event) error{
		"appended": func(l *ledger.Ledger, e audit.Event) error { return l.Append(t.Context(), e) },
		"delivered": func(l *ledger.Ledger, e audit.Event) error {
			b, err := json.Marshal(e)
			if err != nil {
				return err
			}
			return l.Deliver(t.Context(), audit.Delivery{Events: []audit.Signed{{Event: e, Body: b}}})
		},
	} {
		for _, down := range []string{"event#", "session#"} {
			now := time.Date(2026, 11, 25, 23, 59, 59, 0, time.UTC)
			m := &memory{items: map[string]table.Item{}, down: down}
			l := ledger.New(ledger.Config{DynamoDB: m, Table: "t", Now: func() time.Time { return now }})
			e := event("first")
			e.SessionID = "ses_01hv0000000000000000000000"
			if err := write(l, e); err == nil {
				t.Errorf("%s, %s: the failure was swallowed", name, down)
			}
			now, m.down = now.Add(time.Hour), ""
			for range 2 {
				if err := write(l, e); err != nil {
					t.Errorf("%s, %s: %v", name, down, err)
				}
			}
			pointer := m.items["session#"+e.SessionID+"|"+e.ID]
			if item, there := m.items[pointer.Text("at")+"|"+pointer.Text("under")]; !there || item.Text("event") == "" {
				t.Errorf("%s, %s: the event isn't at %q under %q", name, down, pointer.Text("at"), pointer.Text("under"))
			}
		}
	}
}

// In the transaction of a change as by itself. What an agent calls a decision that is none has no place of its own.
func TestTheEventOfADecisionIsFoundHoweverItIsWritten(t *testing.T) {
	for name, write := range map[string]func(*ledger.Ledger, *memory, audit.Event) error{
		"appended": func(l *ledger.Ledger, _ *memory, e audit.Event) error { return l.Append(t.Context(), e) },
		"in a transaction": func(l *ledger.Ledger, m *memory, e audit.Event) error {
			ops, err := l.Ops(e)
			if err != nil {
				return err
			}
			return table.Transact(t.Context(), m, ops...)
		},
	} {
		for decision, want := range map[string]int{
			"dec_01hv0000000000000000000000": 1, "": 0, "ses_01hv0000000000000000000000": 0, "dec_x": 0, "dec_" + strings.Repeat("0", 3000): 0,
		} {
			m, e := &memory{items: map[string]table.Item{}}, event("no")
			e.DecisionID = decision
			if err := write(newLedger(m), m, e); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			pointer, there := m.items[ledger.Decision(decision)+"|"+e.ID]
			if len(m.items) != 1+want || there != (want == 1) {
				t.Errorf("%s, %.40q: %d items", name, decision, len(m.items))
			}
			if there && (m.items[pointer.Text("at")+"|"+pointer.Text("under")].Text("event") == "" || pointer.Int("expires") != m.of(t, e).Int("expires")) {
				t.Errorf("%s: the event isn't at %q under %q", name, pointer.Text("at"), pointer.Text("under"))
			}
		}
	}
}

// TransactWriteItems writes all.
func (m *memory) TransactWriteItems(_ context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	for _, i := range in.TransactItems {
		item := table.Item(i.Put.Item)
		m.items[item.Text("pk")+"|"+item.Text("sk")] = item
	}
	return &dynamodb.TransactWriteItemsOutput{}, nil
}

func TestAnInvalidEventKeepsTheWholeBatchOut(t *testing.T) {
	m := &memory{items: map[string]table.Item{}}
	bad := event("")
	bad.Source = ""
	if err := newLedger(m).Append(t.Context(), event(""), bad); err == nil || len(m.items) != 0 {
		t.Errorf("%v, %d items", err, len(m.items))
	}
}

// Whoever may write an event twice could change what was reported.
func TestSec_S63_WhatStandsInTheLedgerIsNotReplacedAndThatIsSaid(t *testing.T) {
	for name, later := range map[string]time.Duration{"at once": 0, "on the next day": 24 * time.Hour} {
		m, now := &memory{items: map[string]table.Item{}}, received
		l := ledger.New(ledger.Config{DynamoDB: m, Table: "t", Now: func() time.Time { return now }})
		first, other := event("first"), event("other")
		first.SessionID, other.SessionID = "ses_01hv0000000000000000000000", "ses_01hv0000000000000000000000"
		if err := l.Append(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		again := first
		again.Reason = "second"
		now = now.Add(later)
		if err := l.Append(t.Context(), again, other); !errors.Is(err, audit.ErrTaken) || !strings.Contains(err.Error(), first.ID) {
			t.Errorf("%s: the second is lost in silence: %v", name, err)
		}
		if len(m.items) != 3+2 { // three events, and where two of them are
			t.Errorf("%s: %d items: one that is taken keeps others out", name, len(m.items))
		}
		if item := m.of(t, first); !strings.Contains(item.Text("event"), "first") {
			t.Errorf("%s: it says now %s", name, item.Text("event"))
		}
		if p := m.items["session#"+first.SessionID+"|"+first.ID]; p.Text("under") != m.of(t, first).Text("sk") {
			t.Errorf("%s: another is found for it", name)
		}
	}
}

// A reader that goes on where it was misses what stands before that.
func TestReceiptsAreInTheOrderOfTheirTimes(t *testing.T) {
	last := ""
	for n := range 2000 {
		at := received.Add(time.Duration(n) * time.Millisecond)
		receipt := ledger.Receipt(at, []byte{byte(n)})
		id, err := ulid.ParseStrict(receipt)
		if err != nil || !ulid.Time(id.Time()).Equal(at) || receipt <= last {
			t.Fatalf("%s after %s: %v", receipt, last, err)
		}
		last = receipt
	}
	if a, b := ledger.Receipt(received, []byte("a")), ledger.Receipt(received, []byte("b")); a == b {
		t.Error("two events share a receipt")
	}
}

// A write that came through much later would stand where nobody looks any more.
func TestAWriterGivesUpBeforeItIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger.New(ledger.Config{DynamoDB: stuck{}, Table: "t"})
		began := time.Now()
		if err := l.Append(t.Context(), event("x")); err == nil || time.Since(began) >= ledger.Late {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// stuck takes a request and doesn't answer.
type stuck struct{ table.API }

func (stuck) PutItem(ctx context.Context, _ *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// An event's own time is its sender's to choose: it decides neither where an event is nor how long it stays.
func TestSec_S63_AnEventStaysByWhenItWasReceived(t *testing.T) {
	for _, at := range []time.Time{received.Add(-time.Hour * 24 * 365), received.Add(time.Hour * 24 * 365)} {
		m, e := &memory{items: map[string]table.Item{}}, event("x")
		e.Time = at
		if err := newLedger(m).Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		for _, item := range m.items {
			want := received.Add(30 * 24 * time.Hour).Unix()
			if item.Int("expires") != want || !strings.HasPrefix(item.Text("pk"), "event#agent#2026-11-25#") {
				t.Errorf("an event of %s is in %s until %d, not %d", at, item.Text("pk"), item.Int("expires"), want)
			}
		}
	}
}

func TestEachFunctionHasPartitionsOfItsOwn(t *testing.T) {
	for source, want := range map[string]string{
		"function/admin": "event#function/admin#2026-11-25#", "proxy/prx_1": "event#proxy#2026-11-25#", "agent/agt_1": "event#agent#2026-11-25#",
	} {
		if got := ledger.Partition(source, received, "x"); !strings.HasPrefix(got, want) {
			t.Errorf("%s writes into %s", source, got)
		}
	}
}

// One event of an agent that is newer keeps nothing back, itself included. Nobody else writes what isn't known here.
func TestWhatANewerAgentSaysIsDelivered(t *testing.T) {
	m := &memory{items: map[string]table.Item{}}
	e := event("first")
	e.Data = map[string]string{"of_tomorrow": "x"}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := newLedger(m).Deliver(t.Context(), audit.Delivery{Events: []audit.Signed{{Event: e, Body: b}}}); err != nil || m.of(t, e).Text("event") != string(b) {
		t.Errorf("%v, %v", err, m.items)
	}
	if err := newLedger(&memory{items: map[string]table.Item{}}).Append(t.Context(), e); err == nil {
		t.Error("it is written here")
	}
}
