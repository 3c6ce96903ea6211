package reader_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/table"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// book is a ledger in memory with an agent that writes into it.
type book struct {
	table.API
	t       *testing.T
	mu      sync.Mutex
	items   map[string]table.Item
	now     time.Time
	ledger  *ledger.Ledger
	cluster *tunneltest.Cluster
	host    identity.Host
	own     tunneltest.Credential
	queries int
}

func newBook(t *testing.T) *book {
	b := &book{t: t, items: map[string]table.Item{}, now: time.Now().Add(time.Minute), cluster: tunneltest.New(t)}
	b.host, b.own = b.cluster.Agent(nil, "web-1")
	b.ledger = ledger.New(ledger.Config{DynamoDB: b, Table: "t", Now: func() time.Time { return b.now }})
	return b
}

func (b *book) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	item := table.Item(in.Item)
	k := item.Text("pk") + "|" + item.Text("sk")
	if old, there := b.items[k]; there {
		return nil, &types.ConditionalCheckFailedException{Item: old}
	}
	b.items[k] = item
	return &dynamodb.PutItemOutput{}, nil
}

// Scan gives one item a page.
func (b *book) Scan(_ context.Context, in *dynamodb.ScanInput, _ ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	keys := slices.Sorted(maps.Keys(b.items))
	at := table.Item(in.ExclusiveStartKey).Int("n")
	out := &dynamodb.ScanOutput{Items: []map[string]types.AttributeValue{b.items[keys[at]]}}
	if int(at)+1 < len(keys) {
		out.LastEvaluatedKey = table.Item{"n": table.Int(at + 1)}
	}
	return out, nil
}

func (b *book) event(seq uint64) audit.Event {
	e := audit.New(audit.SessionStart, rand.Reader, b.now)
	e.Actor, e.Cluster, e.Source, e.Scope = "user/ada", b.host.Cluster, "agent/"+b.host.ID, b.host.Scope
	e.TargetKind, e.Target, e.SourceEpoch, e.Seq = "node", "web-1", "e1", seq
	e.Data = map[string]string{"certificate": "crt_1"}
	return e
}

// signed is an event as the agent's key signs it.
func (b *book) signed(e audit.Event) audit.Signed {
	b.t.Helper()
	body, err := json.Marshal(e)
	if err != nil {
		b.t.Fatal(err)
	}
	signature, err := audit.Sign(rand.Reader, b.own.TLS.PrivateKey.(crypto.Signer), b.host.ID, body)
	if err != nil {
		b.t.Fatal(err)
	}
	return audit.Signed{Event: e, Body: body, Signature: signature}
}

func (b *book) deliver(events ...audit.Signed) {
	b.t.Helper()
	if err := b.ledger.Deliver(b.t.Context(), audit.Delivery{Certificate: b.own.TLS.Certificate[0], Events: events}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *book) read() reader.Report {
	b.t.Helper()
	r, err := reader.Read(b.t.Context(), b, "t", b.cluster.Holder().Trust())
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// change alters the item of an event, as whoever may write the partition can, and puts it where its content then belongs.
func (b *book) change(id string, how func(table.Item)) {
	b.t.Helper()
	for _, item := range b.items {
		if strings.HasPrefix(item.Text("pk"), "event#") && strings.Contains(item.Text("event"), id) {
			how(item)
			receive(item, time.UnixMilli(item.Int("received_ms")))
			return
		}
	}
	b.t.Fatalf("no event %s", id)
}

// receive has an item be one that was received at a time, in the partition where it stands.
func receive(i table.Item, at time.Time) {
	i["received_ms"], i["sk"] = table.Int(at.UnixMilli()), table.String(ledger.Receipt(at, []byte(i.Text("event"))))
}

func standings(r reader.Report) string {
	var all []string
	for _, e := range r.Entries {
		all = append(all, string(e.Standing))
	}
	return strings.Join(all, " ")
}

func TestWhatAnAgentSignedIsProvenOnceHoweverOftenItCame(t *testing.T) {
	b := newBook(t)
	one, two := b.signed(b.event(1)), b.signed(b.event(2))
	b.deliver(one, two)
	b.deliver(b.signed(one.Event), two) // the acknowledgement was lost; a signature is never the same twice
	r := b.read()
	if got := standings(r); got != "proven proven" || len(r.Gaps) != 0 || len(r.Events()) != 2 {
		t.Errorf("%s, gaps %v", got, r.Gaps)
	}
	if d := cmp.Diff(one.Event, r.Entries[0].Event); d != "" && cmp.Diff(one.Event, r.Entries[1].Event) != "" {
		t.Error(d)
	}
	certificates := 0
	for key := range b.items {
		if strings.HasPrefix(key, "certificate#") {
			certificates++
		}
	}
	if certificates != 1 {
		t.Errorf("the certificate is there %d times", certificates)
	}
}

// What is delivered before midnight and again after it stands in two partitions.
func TestAnEventThatCameOnTwoDaysIsOneEvent(t *testing.T) {
	b := newBook(t)
	one := b.signed(b.event(1))
	b.deliver(one)
	var again table.Item
	b.change(one.Event.ID, func(i table.Item) { again = maps.Clone(i) })
	tomorrow := b.now.Add(24 * time.Hour)
	again["pk"] = table.String(ledger.Partition(one.Event.Source, tomorrow, one.Event.ID))
	receive(again, tomorrow)
	b.items["again"] = again
	if r := b.read(); standings(r) != "proven" { // the certificate had expired by then: the first receipt proves it
		t.Errorf("%+v", r.Entries)
	}
}

func TestSec_S63_WhatAProxyForgesOfAnAgentIsFound(t *testing.T) {
	b := newBook(t)
	event := b.signed(b.event(1))
	b.deliver(event)
	other := b.signed(b.event(2))
	stranger, theirs := b.cluster.Agent(nil, "web-2")
	for name, c := range map[string]struct {
		how  func(table.Item)
		want reader.Standing
	}{
		"another actor": {func(i table.Item) {
			i["event"] = table.String(strings.Replace(i.Text("event"), "user/ada", "user/eve", 1))
		}, reader.Refused},
		"no signature":                 {func(i table.Item) { delete(i, "signature") }, reader.Unproven},
		"another event's signature":    {func(i table.Item) { i["signature"] = table.Bytes(other.Signature) }, reader.Refused},
		"a certificate that is absent": {func(i table.Item) { i["certificate"] = table.String("00") }, reader.Unproven},
		"another day":                  {func(i table.Item) { i["received_ms"] = table.Int(b.now.Add(-48 * time.Hour).UnixMilli()) }, reader.Refused},
		"a receipt after the certificate's end": {func(i table.Item) {
			later := b.now.Add(48 * time.Hour)
			i["received_ms"], i["pk"] = table.Int(later.UnixMilli()), table.String(ledger.Partition(event.Event.Source, later, event.Event.ID))
		}, reader.Refused},
		"no event": {func(i table.Item) { i["event"] = table.String("{}") }, reader.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			kept := maps.Clone(b.items)
			defer func() { b.items = kept }()
			for k, i := range b.items {
				b.items[k] = maps.Clone(i)
			}
			b.change(event.Event.ID, c.how)
			r := b.read()
			if got := standings(r); got != string(c.want) || r.Entries[0].Why == "" || len(r.Events()) != 0 {
				t.Errorf("%s: %+v", got, r.Entries)
			}
		})
	}

	// A certificate is what it hashes to, wherever it stands.
	for key, i := range b.items {
		if strings.HasPrefix(key, "certificate#") {
			own := i["certificate"]
			i["certificate"] = table.Bytes(theirs.TLS.Certificate[0])
			if r := b.read(); standings(r) != "unproven" {
				t.Errorf("when its certificate was overwritten: %+v", r.Entries)
			}
			i["certificate"] = own
		}
	}

	// An agent's own key, but what isn't its to say.
	foreign := b.event(3)
	foreign.Target = "web-2"
	b.deliver(b.signed(foreign))
	if r := b.read(); standings(r) != "proven refused" && standings(r) != "refused proven" {
		t.Errorf("of another's target: %s", standings(r))
	}
	posed := b.event(4)
	posed.Source, posed.Target = "agent/"+stranger.ID, "web-2"
	b.deliver(b.signed(posed)) // signed by one agent in another's name
	if r := b.read(); strings.Count(standings(r), "proven") != 1 {
		t.Errorf("in another's name: %s", standings(r))
	}
}

// Where events stand is the order in which they are read: one elsewhere would be read too early or not at all.
func TestSec_S63_AnEventStandsUnderItsReceipt(t *testing.T) {
	for name, c := range map[string]struct {
		under func(i table.Item) string
		want  reader.Standing
	}{
		"its receipt":                       {func(i table.Item) string { return i.Text("sk") }, reader.Proven},
		"its id, as a release before wrote": {idOf, reader.Proven},
		"another time": {func(i table.Item) string {
			return ledger.Receipt(time.UnixMilli(i.Int("received_ms")-5000), []byte(i.Text("event")))
		}, reader.Refused},
		"another event's": {func(i table.Item) string {
			return ledger.Receipt(time.UnixMilli(i.Int("received_ms")), []byte("another"))
		}, reader.Refused},
	} {
		b := newBook(t)
		e := b.signed(b.event(1))
		b.deliver(e)
		for _, i := range b.items {
			if strings.HasPrefix(i.Text("pk"), "event#") {
				i["sk"] = table.String(c.under(i))
			}
		}
		if r := b.read(); standings(r) != string(c.want) {
			t.Errorf("under %s: %+v", name, r.Entries)
		}
	}
}

// idOf is the id of an item's event.
func idOf(i table.Item) string {
	e, _ := audit.Parse([]byte(i.Text("event")))
	return e.ID
}

func TestSec_S63_AFunctionsEventStandsInItsOwnPartition(t *testing.T) {
	b := newBook(t)
	e := b.event(0)
	e.Source = "function/admin"
	if err := b.ledger.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if r := b.read(); standings(r) != "proven" {
		t.Errorf("as written by the function: %+v", r.Entries)
	}
	for _, place := range []string{"agent", "proxy", "function/publish"} {
		b.items = map[string]table.Item{}
		if err := b.ledger.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		b.change(e.ID, func(i table.Item) {
			i["pk"] = table.String(strings.Replace(i.Text("pk"), "function/admin", place, 1))
		})
		if r := b.read(); standings(r) != "refused" || !strings.Contains(r.Entries[0].Why, "is in event#"+place) {
			t.Errorf("in the partition of %s: %+v", place, r.Entries)
		}
	}
	b.items = map[string]table.Item{}
	e.Source = "proxy/prx_1"
	if err := b.ledger.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if r := b.read(); standings(r) != "unproven" {
		t.Errorf("what a proxy says: %+v", r.Entries)
	}
}

func TestSec_S63_WhatAProxyKeepsFromTheLedgerShowsAsAGap(t *testing.T) {
	b := newBook(t)
	for _, seq := range []uint64{2, 3, 7} {
		b.deliver(b.signed(b.event(seq)))
	}
	forged := b.event(5) // fills no gap, as nobody signed it
	body, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	b.deliver(audit.Signed{Event: forged, Body: body})
	source := "agent/" + b.host.ID
	want := []reader.Gap{{Source: source, Epoch: "e1", First: 1, Last: 1}, {Source: source, Epoch: "e1", First: 4, Last: 6}}
	if d := cmp.Diff(want, b.read().Gaps); d != "" {
		t.Error(d)
	}
}

// The last events before an agent stopped have no successor in their epoch: the first of the next one tells of them.
func TestSec_S63_TheEndOfAnEpochThatAProxyKeepsBackShowsAsAGap(t *testing.T) {
	b := newBook(t)
	b.deliver(b.signed(b.event(1)))
	next := b.event(1)
	next.SourceEpoch, next.SourceAfter = "e2", "e1:3"
	last := b.event(1)
	last.SourceEpoch, last.SourceAfter = "e3", "e2:1" // of which nothing is missing
	b.deliver(b.signed(next), b.signed(last))
	want := []reader.Gap{{Source: "agent/" + b.host.ID, Epoch: "e1", First: 2, Last: 3}}
	if d := cmp.Diff(want, b.read().Gaps); d != "" {
		t.Error(d)
	}
}

func TestSec_S63_TwoEventsOfOneIDAreFlagged(t *testing.T) {
	b := newBook(t)
	e := b.signed(b.event(1))
	b.deliver(e)
	var forged table.Item
	b.change(e.Event.ID, func(i table.Item) { forged = maps.Clone(i) })
	yesterday := b.now.Add(-24 * time.Hour)
	forged["event"] = table.String(strings.Replace(forged.Text("event"), "user/ada", "user/eve", 1))
	forged["pk"] = table.String(ledger.Partition(e.Event.Source, yesterday, e.Event.ID))
	receive(forged, yesterday)
	delete(forged, "signature")
	b.items["forged"] = forged
	r := b.read()
	if standings(r) != "proven refused" || r.Entries[0].Event.Actor != "user/ada" {
		t.Errorf("%+v", r.Entries)
	}
}

// When something happened its sender says, and may be wrong; what it is worth goes by when it was received.
func TestAClockThatIsADayOffChangesNoStanding(t *testing.T) {
	b := newBook(t)
	now := b.now
	var want []string
	for n, off := range []time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
		b.now = now.Add(off)
		e := b.event(uint64(n + 1))
		b.now = now.Add(time.Duration(n) * time.Second)
		b.deliver(b.signed(e))
		want = append(want, e.ID)
	}
	if r := b.read(); standings(r) != "proven proven proven" || len(r.Gaps) != 0 {
		t.Errorf("%s, %+v", standings(r), r.Gaps)
	}
	if got, _ := b.from(reader.Begin(now), b.now.Add(time.Second), 100, all); !slices.Equal(got, want) {
		t.Errorf("listed %v, not %v in the order of receipts", got, want)
	}
}

// An agent of the release after this one says more of a session's start, which is one all the same.
func TestWhatANewerAgentSignedIsProven(t *testing.T) {
	b := newBook(t)
	e := b.event(1)
	e.Data["of_tomorrow"] = "x"
	b.deliver(b.signed(e))
	if r := b.read(); standings(r) != "proven" || r.Entries[0].Event.Data["of_tomorrow"] != "x" {
		t.Errorf("%+v", r.Entries)
	}
}
