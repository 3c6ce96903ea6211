package link_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stile-dev/stile/agent/link"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/table"
)

// newLiar is a proxy that acknowledges events and writes none of them. Nobody gives it newer documents, and what it says
// about other proxies is up to the test.
func (l *line) newLiar() *proxy {
	l.t.Helper()
	return l.newProxyThat(func(context.Context, audit.Delivery) error { return nil })
}

// says has a proxy alone tell which proxies live.
func (p *proxy) says(live ...*proxy) {
	var list []*frame.Proxies_Proxy
	for _, q := range live {
		list = append(list, &frame.Proxies_Proxy{Id: q.id, Addr: q.addr})
	}
	p.links.Proxies(list)
}

func TestSec_S63_AProxyThatSaysItIsAloneDoesNotKeepAnAgentToItself(t *testing.T) {
	l := newIdleLine(t)
	l.look = 100 * time.Millisecond
	liar := l.newLiar()
	others := []*proxy{l.newProxy(), l.newProxy()}
	l.proxies = []*proxy{others[0], liar, others[1]} // the agent tries the second first
	l.newAgent()
	until(t, "a tunnel to the liar", liar.hasRoute)
	liar.says(liar)
	until(t, "a tunnel to another proxy, too", func() bool { return others[0].hasRoute() || others[1].hasRoute() })
	first, second := others[0], others[1]
	if !first.hasRoute() {
		first, second = second, first
	}
	liar.says(liar)
	first.kill()
	until(t, "a tunnel to the last proxy", second.hasRoute)
}

func TestSec_S63_AProxyThatSaysLaterThatItIsAloneIsNotBelieved(t *testing.T) {
	l := newIdleLine(t)
	liar := l.newLiar()
	others := []*proxy{l.newProxy(), l.newProxy()}
	l.proxies = []*proxy{others[0], liar, others[1]}
	l.newAgent()
	until(t, "a tunnel to the liar", liar.hasRoute)
	liar.says(liar, others[0])
	until(t, "a second tunnel", func() bool { return l.links.Up() == 2 })
	liar.says(liar)
	l.cluster.Lock(document.Lock{ID: identity.NewID("lck", rand.Reader, time.Now()), Target: "user", Value: "ada", Reason: "gone"})
	if err := liar.holder.Accept(l.cluster.Documents()...); err != nil {
		t.Fatal(err)
	}
	liar.links.Push()
	until(t, "that the list was read, behind which the documents come", func() bool { return l.holder.Versions() == l.cluster.Versions() })
	first, second := others[0], others[1]
	if !first.hasRoute() {
		first, second = second, first
	}
	first.kill()
	until(t, "a tunnel to the last proxy", second.hasRoute)
}

func TestSec_S63_AnAgentWhoseDocumentsAreStaleTurnsToAnotherProxy(t *testing.T) {
	l := newIdleLine(t)
	liars := []*proxy{l.newLiar(), l.newLiar()}
	honest := l.newProxy()
	l.proxies = []*proxy{honest, liars[0], liars[1]}
	l.newAgent()
	until(t, "a tunnel to a liar", liars[0].hasRoute)
	liars[0].says(liars...)
	until(t, "tunnels to both liars", func() bool { return liars[1].hasRoute() && l.links.Up() == 2 })
	l.cluster.Lock(document.Lock{ID: identity.NewID("lck", rand.Reader, time.Now()), Target: "user", Value: "ada", Reason: "gone"})
	if err := honest.holder.Accept(l.cluster.Documents()...); err != nil {
		t.Fatal(err)
	}
	if honest.hasRoute() || l.holder.Versions() == l.cluster.Versions() {
		t.Fatal("the liars don't have the agent to themselves, so this test shows nothing")
	}
	l.links.Stale(true)
	until(t, "the lock", func() bool { return l.holder.Versions() == l.cluster.Versions() })
	l.links.Stale(false)
	if l.links.Up() != 3 {
		t.Errorf("%d tunnels", l.links.Up())
	}
}

// items is a table in memory.
type items struct {
	table.API
	mu  sync.Mutex
	all []table.Item
}

func (i *items) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = append(i.all, in.Item)
	return &dynamodb.PutItemOutput{}, nil
}

// An agent can't know that what was acknowledged was never written, and deletes it. Its later events say that something
// is missing.
func TestSec_S63_WhatALiarAcknowledgesAndNeverWritesShowsAsAGap(t *testing.T) {
	l := newIdleLine(t)
	liar, honest := l.newLiar(), l.newProxy()
	l.proxies = []*proxy{honest, liar}
	l.newAgent()
	until(t, "a tunnel to the liar", liar.hasRoute)
	record := func() {
		e := audit.New(audit.SessionStart, rand.Reader, time.Now())
		e.Actor, e.TargetKind, e.Target = "user/ada", "node", "web-1"
		e.Data = map[string]string{"certificate": "crt_1"}
		if err := l.spool.Record(e); err != nil {
			t.Fatal(err)
		}
	}
	record()
	record()
	until(t, "an empty spool", func() bool {
		waiting, _, err := l.spool.Next(1 << 20)
		return err == nil && len(waiting) == 0
	})
	liar.kill()
	record()
	until(t, "the third event", func() bool { return len(l.events(audit.SessionStart)) == 1 })

	kept := &items{}
	book := ledger.New(ledger.Config{DynamoDB: kept, Table: "t"})
	for _, d := range l.came {
		if err := book.Deliver(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	r := reader.Judge(kept.all, l.cluster.Holder().Trust())
	want := reader.Gap{Source: "agent/" + l.node.ID, Epoch: "1", First: 1, Last: 2}
	if len(r.Events()) != 1 || len(r.Gaps) != 1 || r.Gaps[0] != want {
		t.Errorf("events %+v, gaps %+v", r.Entries, r.Gaps)
	}
}

func TestSec_S63_AddressesThatProxiesTellAreFewAndCrowdNobodyOut(t *testing.T) {
	b := &link.Book{}
	for i := range 1000 {
		b.Learn(fmt.Sprintf("10.0.%d.%d:443", i/250, i%250))
	}
	for _, bad := range []string{"", "nowhere", strings.Repeat("a", 500) + ":1"} {
		if (&link.Book{}).Learn(bad) {
			t.Errorf("%q is remembered", bad)
		}
	}
	picked := map[string]int{}
	for range 1000 {
		addr, _ := b.Pick("own:1", "own:2")
		picked[addr]++
	}
	if picked["own:1"]+picked["own:2"] != 500 || len(picked) != 64+2 {
		t.Errorf("of 1000 attempts, %d and %d are at the agent's own addresses; %d addresses in all", picked["own:1"], picked["own:2"], len(picked))
	}
	// They go by failing, not by a proxy's word; one that answers stays, and there is room for others.
	told := slices.DeleteFunc(slices.Collect(maps.Keys(picked)), func(a string) bool { return strings.HasPrefix(a, "own") })
	for range 5 {
		b.Answered("own:1", false)
		for _, addr := range told[1:] {
			b.Answered(addr, false)
		}
	}
	for range 20 {
		b.Answered(told[0], false)
		b.Answered(told[0], true)
	}
	if b.Learn(told[0]) || !b.Learn(told[1]) {
		t.Error("one that answers is forgotten, or one that doesn't is kept")
	}
	for range 4 {
		if addr, ok := b.Pick("own:1"); !ok || addr != "own:1" && addr != told[0] && addr != told[1] {
			t.Errorf("picked %s", addr)
		}
	}
}

// A proxy that is replaced leaves a list as long as before.
func TestAnAgentThatGaveUpLooksAgainForAProxyThatIsNew(t *testing.T) {
	got := link.Looks([]string{"a"}, []string{"a", "b"}, []string{"b", "a"}, []string{"a"}, []string{"a", "b"}, []string{"a", "c"}, []string{"a", "c"})
	want := []bool{false, true, false, false, true, true, false}
	if !slices.Equal(got, want) {
		t.Errorf("looks again: %v, want %v", got, want)
	}
}
