package reader_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
	"github.com/stile-dev/stile/pkg/wire"
)

// forge puts an item into a partition of proxies or agents, as whoever has a proxy's credentials can.
func (b *book) forge(source, sk, event string, more table.Item) {
	i := table.Item{
		"pk": table.String(ledger.Partition(source, b.now, event)), "sk": table.String(sk), "event": table.String(event), "received_ms": table.Int(b.now.UnixMilli()),
	}
	maps.Copy(i, more)
	b.items[i.Text("pk")+"|"+i.Text("sk")] = i
}

func TestSec_S63_AnItemThatNamesNoCertificateHoldsUpNoReader(t *testing.T) {
	b := newBook(t)
	start := b.now
	e := b.event(1)
	e.SessionID = "ses_" + e.ID
	b.deliver(b.signed(e))
	for n, digest := range []string{strings.Repeat("x", 3000), " ", "#", strings.Repeat("0", 65)} {
		b.forge("agent/x", ledger.Receipt(b.now, fmt.Append(nil, n)), "{}", table.Item{"certificate": table.String(digest), "signature": table.Bytes([]byte("x"))})
	}
	for n, at := range []string{names.Event + "#" + strings.Repeat("x", 3000), names.Event + "#agent", ""} {
		p := table.Item{
			"pk": table.String(ledger.Session(e.SessionID)), "sk": table.String(fmt.Sprint(n)), "at": table.String(at),
			"under": table.String(strings.Repeat("y", 900*(n+1))),
		}
		b.items[p.Text("pk")+"|"+p.Text("sk")] = p
	}
	b.now = b.now.Add(time.Minute)
	ids, _ := b.from(reader.Begin(start), b.now, 100, all)
	if !slices.Contains(ids, e.ID) {
		t.Errorf("%q", ids)
	}
	found, _, err := reader.Session(t.Context(), b, "t", e.SessionID, "", 100, b.cluster.Holder().Trust())
	if err != nil || len(found) != 1 || found[0].Standing != reader.Proven {
		t.Errorf("%+v, %v", found, err)
	}
}

// watched fails the test when anything but events and certificates is read.
type watched struct {
	table.API
	t *testing.T
}

func (w watched) GetItem(ctx context.Context, in *dynamodb.GetItemInput, more ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	if pk := table.Item(in.Key).Text("pk"); !strings.HasPrefix(pk, "event#") && !strings.HasPrefix(pk, "certificate#") {
		w.t.Errorf("%s is read", pk)
	}
	return w.API.GetItem(ctx, in, more...)
}

// Whoever writes what says where an event is chooses what is read for it.
func TestSec_S63_NothingButEventsIsReadForASession(t *testing.T) {
	b := newBook(t)
	e := b.event(1)
	e.SessionID = "ses_" + e.ID
	b.deliver(b.signed(e))
	for n, at := range []string{"issuance#crt_1", "claimed#sign-user#2026-01-01T00", "happened#" + e.SessionID, "events"} {
		p := table.Item{"pk": table.String(ledger.Session(e.SessionID)), "sk": table.String(fmt.Sprint(n)), "at": table.String(at), "under": table.String("intent")}
		b.items[p.Text("pk")+"|"+p.Text("sk")] = p
	}
	found, _, err := reader.Session(t.Context(), watched{b, t}, "t", e.SessionID, "", 100, b.cluster.Holder().Trust())
	if err != nil || len(found) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestSec_S63_WhatIsTooLongForAnEventFillsNoAnswer(t *testing.T) {
	b := newBook(t)
	start := b.now
	e := b.event(1)
	b.deliver(b.signed(e))
	long := `{"id":"x"}` + strings.Repeat(" ", 390<<10)
	for n := range 60 {
		b.forge("agent/x", ledger.Receipt(b.now, fmt.Append(nil, n)), long+fmt.Sprint(n), table.Item{"junk": table.String(long), "signature": table.Bytes([]byte(long))})
		b.forge("proxy/x", ledger.Receipt(b.now, fmt.Append(nil, -n)), fmt.Sprintf(`{"id":"%d","x":%q}`, n, strings.Repeat("<", 16000)), nil)
		for more := range 3 {
			b.forge("proxy/x", ledger.Receipt(b.now, fmt.Append(nil, 100*n+more)), strings.Repeat("\x01", 16000)+fmt.Sprint(n, more), nil)
		}
	}
	b.now = b.now.Add(time.Minute)
	proven := 0
	for position := reader.Begin(start); position != ""; {
		entries, next, err := reader.Received(t.Context(), b, "t", reader.Span{After: position, Until: b.now, Limit: 100}, all, b.cluster.Holder().Trust())
		if err != nil || next == position {
			t.Fatalf("%q: %v", next, err)
		}
		size := 0
		for _, e := range entries {
			if size += wire.Size(e.Body); e.Standing == reader.Proven {
				proven++
			}
		}
		if position = next; size > wire.MostAnswer {
			t.Errorf("%d bytes in an answer", size)
		}
	}
	if proven != 1 {
		t.Errorf("%d proven", proven)
	}
}

// Whoever has a proxy's credentials may say that any event is of any decision, and write one that says so itself.
func TestSec_S63_NothingIsShownUnderADecisionThatItDoesNotName(t *testing.T) {
	b := newBook(t)
	const decision = "dec_01hv0000000000000000000000"
	of, other, none := b.event(1), b.event(2), b.event(3)
	of.DecisionID, other.DecisionID = decision, "dec_01hw0000000000000000000000"
	b.deliver(b.signed(of), b.signed(other), b.signed(none))
	for _, e := range []audit.Event{other, none} {
		for _, i := range b.items {
			if strings.Contains(i.Text("event"), e.ID) {
				p := table.Item{"pk": table.String(ledger.Decision(decision)), "sk": table.String(e.ID), "at": i["pk"], "under": i["sk"]}
				b.items[p.Text("pk")+"|"+p.Text("sk")] = p
				break
			}
		}
	}
	made := b.event(4)
	made.DecisionID, made.Source = decision, "function/admin"
	text, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	b.forge("proxy/x", ledger.Receipt(b.now, text), string(text), nil)
	p := table.Item{
		"pk": table.String(ledger.Decision(decision)), "sk": table.String(made.ID),
		"at": table.String(ledger.Partition("proxy/x", b.now, string(text))), "under": table.String(ledger.Receipt(b.now, text)),
	}
	b.items[p.Text("pk")+"|"+p.Text("sk")] = p
	found, next, err := reader.Decision(t.Context(), b, "t", decision, "", 100, b.cluster.Holder().Trust())
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	got := map[string]reader.Standing{}
	for _, e := range found {
		got[e.Event.ID] = e.Standing
	}
	if want := map[string]reader.Standing{of.ID: reader.Proven, made.ID: reader.Refused}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Whoever may sign an agent's events can make a session of the largest, in signs that take the most room.
func TestSec_S63_ASessionOfTheLargestEventsFitsIntoAnswers(t *testing.T) {
	b := newBook(t)
	session := ""
	for n := range 150 {
		e := b.event(uint64(n + 1))
		if session == "" {
			session = "ses_" + e.ID
		}
		e.SessionID, e.Data["command"] = session, strings.Repeat("\\", 7800)
		b.deliver(b.signed(e))
	}
	found := 0
	for after := ""; ; {
		entries, next, err := reader.Session(t.Context(), b, "t", session, after, 100, b.cluster.Holder().Trust())
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, e := range entries {
			size += wire.Size(e.Body)
		}
		if found += len(entries); size > wire.MostAnswer {
			t.Errorf("%d events have %d bytes in an answer", len(entries), size)
		}
		if after = next; after == "" {
			break
		}
	}
	if found != 150 {
		t.Errorf("%d events of 150", found)
	}
}

// A position is behind all that has its key, and somebody who knows a receipt can write another item under it.
func TestSec_S63_AKeyThatIsThereTwiceHidesNothing(t *testing.T) {
	b := newBook(t)
	start := b.now
	var want []string
	for n := range 50 {
		e := b.event(uint64(n + 1))
		b.deliver(b.signed(e))
		want = append(want, e.ID)
		b.now = b.now.Add(time.Millisecond)
	}
	for _, i := range slices.Collect(func(yield func(table.Item) bool) {
		for _, i := range b.items {
			if strings.HasPrefix(i.Text("pk"), "event#") && !yield(i) {
				return
			}
		}
	}) {
		for _, id := range []string{"a", "b", "c", "d"} {
			b.forge("proxy/x", i.Text("sk"), `{"id":"`+id+`"}`, nil)
		}
	}
	for _, limit := range []int{1, 2, 3, 7} {
		got, _ := b.from(reader.Begin(start), b.now, limit, all)
		got = slices.DeleteFunc(got, func(id string) bool { return len(id) < 2 })
		if slices.Sort(got); !slices.Equal(slices.Compact(got), slices.Sorted(slices.Values(want))) {
			t.Errorf("limit %d: %d of %d events", limit, len(got), len(want))
		}
	}
}

// Who may see their own events alone doesn't see what names nobody.
func TestWhatIsNoEventIsChosenFromLikeOneWithoutFields(t *testing.T) {
	b := newBook(t)
	start := b.now
	b.forge("agent/x", ledger.Receipt(b.now, nil), `{"actor":"user/ada","id":7}`, nil)
	b.now = b.now.Add(time.Minute)
	got, _ := b.from(reader.Begin(start), b.now, 5, func(e audit.Event) bool { return e.Actor == "user/ada" })
	if len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got, _ = b.from(reader.Begin(start), b.now, 5, all); len(got) != 1 {
		t.Errorf("who may see all sees %q", got)
	}
}

func TestSec_S63_AReceiptOfNoYearFailsNoAnswer(t *testing.T) {
	b := newBook(t)
	start := b.now
	for n, ms := range []string{"9223372036854775807", "-9223372036854775808", "253402300800000", "-62200000000000", "1E+125"} {
		b.forge("agent/x", ledger.Receipt(b.now, fmt.Append(nil, n)), "{}", table.Item{"received_ms": &types.AttributeValueMemberN{Value: ms}})
	}
	b.now = b.now.Add(time.Minute)
	entries, _, err := reader.Received(t.Context(), b, "t", reader.Span{After: reader.Begin(start), Until: b.now, Limit: 100}, all)
	if err != nil || len(entries) != 5 {
		t.Fatalf("%d, %v", len(entries), err)
	}
	for _, e := range entries {
		if _, err := json.Marshal(e.Received); err != nil || e.Standing != reader.Refused {
			t.Errorf("%s %s: %v", e.Received, e.Standing, err)
		}
	}
}
