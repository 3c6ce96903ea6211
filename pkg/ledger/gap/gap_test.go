package gap_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/ledger/gap"
	"github.com/stile-dev/stile/pkg/ledger/reader"
)

const patience = 15*time.Minute + time.Minute

func TestSec_S63_WhatAProxyKeepsBackIsToldOnce(t *testing.T) {
	b := newBook(t)
	first := b.now
	b.bring("e1", 1, 2, 5)
	b.want(b.look(0))
	b.want(b.look(10 * time.Minute))
	b.want(b.look(6*time.Minute), "e1 3-4 +0")
	b.want(b.look(10 * time.Minute))
	b.bring("e1", 6)
	b.want(b.look(patience))
	all := b.told()
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	e := all[0]
	want := map[string]string{
		"source": "agent/" + b.host.ID, "epoch": "e1", "from": "3", "to": "4",
		"after": first.Add(time.Second).UTC().Format(time.RFC3339), "seen": first.Add(2 * time.Second).UTC().Format(time.RFC3339),
	}
	if d := cmp.Diff(want, e.Data); d != "" || e.Target != b.host.ID || e.Scope != b.host.Scope || e.Outcome != audit.Failure || !strings.Contains(e.Reason, "3 to 4") {
		t.Errorf("%+v\n%s", e, d)
	}
}

func TestWhatComesLateIsNoGap(t *testing.T) {
	b := newBook(t)
	b.bring("e1", 1, 9)
	b.want(b.look(10 * time.Minute))
	b.bring("e1", 3, 2, 7, 8, 4)
	b.want(b.look(6*time.Minute), "e1 5-6 +0")
	b.bring("e1", 5, 6) // what fills a gap that was told says so by itself
	b.want(b.look(patience))
	b.bring("e1", 12)
	b.want(b.look(10 * time.Minute))
	b.bring("e1", 11, 10)
	b.want(b.look(patience))
	if all := b.told(); len(all) != 1 {
		t.Errorf("%+v", all)
	}
}

func TestSec_S63_TheEndOfAnEpochThatIsKeptBackIsTold(t *testing.T) {
	b := newBook(t)
	b.bring("e1", 1)
	for _, e := range []audit.Event{
		b.event("e2", 1, "e1:3"), b.event("e3", 1, "e2:1"), b.event("e5", 2, ""), b.event("e5", 1, "e4:7"), // of which nothing arrived
	} {
		b.deliver(b.signed(e))
		b.now = b.now.Add(time.Second)
	}
	b.want(b.look(patience), "e1 2-3 +0", "e4 1-7 +0")
}

// What isn't proven to be the agent's neither opens a gap nor fills one.
func TestSec_S63_WhatIsForgedNeitherHidesAGapNorMakesOne(t *testing.T) {
	b := newBook(t)
	b.bring("e1", 1, 4)
	unsigned := func(epoch string, n uint64, after string) audit.Signed {
		s := b.signed(b.event(epoch, n, after))
		s.Signature = nil
		return s
	}
	b.deliver(unsigned("e1", 2, ""), unsigned("e1", 900, ""), unsigned("e9", 1, "e1:800"))
	altered := b.signed(b.event("e1", 3, ""))
	altered.Signature = b.signed(b.event("e1", 2, "")).Signature
	b.deliver(altered)
	_, theirs := b.cluster.Agent(nil, "web-2")
	own := b.own
	b.own = theirs // another agent signs in this one's name
	b.bring("e1", 2, 3, 700)
	b.own = own
	b.want(b.look(patience), "e1 2-3 +0")
}

func TestAJumpOfAllNumbersIsOneGap(t *testing.T) {
	b := newBook(t)
	b.bring("e1", math.MaxInt64, 1<<62, 1)
	b.deliver(b.signed(b.event("e2", 1, fmt.Sprintf("e1:%d", math.MaxInt64))))
	b.now = b.now.Add(time.Second)
	b.deliver(b.signed(b.event("e3", 1, "e0:18446744073709551614")))
	b.want(b.look(patience), "e1 2-4611686018427387903 +0", "e1 4611686018427387905-9223372036854775806 +0", "e0 1-18446744073709551614 +0")
}

// state is the size of what is kept.
func (b *book) state() (items, bytes int) {
	for k, i := range b.items {
		if strings.HasPrefix(k, "state|") {
			items, bytes = items+1, bytes+len(i.Text("value"))
		}
	}
	return items, bytes
}

func TestAnAgentThatMakesGapsFillsNothingButItsOwnItem(t *testing.T) {
	for name, of := range map[string]func(b *book, n int) audit.Event{
		"every other number": func(b *book, n int) audit.Event { return b.event("e1", uint64(2*n+2), "") },
		"epochs":             func(b *book, n int) audit.Event { return b.event(fmt.Sprintf("e%d", n), 3, "") },
		"long epochs":        func(b *book, n int) audit.Event { return b.event(strings.Repeat("x", 9000)+fmt.Sprint(n), 3, "") },
		"ends of epochs":     func(b *book, n int) audit.Event { return b.event(fmt.Sprintf("e%d", n), 1, fmt.Sprintf("e-%d:5", n)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t)
			for n := range 400 {
				b.deliver(b.signed(of(b, n)))
				b.now = b.now.Add(10 * time.Millisecond)
			}
			b.want(b.look(0))
			if items, bytes := b.state(); items > 3 || bytes > 20_000 {
				t.Errorf("%d items of %d bytes", items, bytes)
			}
			told := b.look(patience)
			if len(told) != 4 || !strings.HasSuffix(told[3], " +396") {
				t.Errorf("told %q", told)
			}
			b.want(b.look(10 * time.Minute))
		})
	}
}

// However often a run is cut off, and wherever, each gap is told once.
func TestARunThatIsCutOffIsMadeGoodAndTellsNothingTwice(t *testing.T) {
	for failAt := 1; ; failAt++ {
		b := newBook(t)
		b.bring("e1", 1, 4, 7)
		b.now = b.now.Add(10 * time.Minute)
		b.bring("e1", 9)
		b.now = b.now.Add(6 * time.Minute)
		b.failAt = b.writes + failAt
		_, err := b.looker.Look(t.Context(), b.now)
		b.failAt = 0
		b.look(time.Minute)
		b.want(b.look(patience)[:1], "e1 8-8 +0")
		var got []string
		for _, e := range b.told() {
			got = append(got, e.Data["from"]+"-"+e.Data["to"])
		}
		slices.Sort(got)
		b.want(got, "2-3", "5-6", "8-8")
		for k := range b.items {
			if strings.HasPrefix(k, "state|gap|") {
				t.Errorf("write %d: %s is left", failAt, k)
			}
		}
		if err == nil {
			if failAt < 6 {
				t.Errorf("a run has only %d writes", failAt)
			}
			return
		}
	}
}

func TestOfTwoLooksAtOnceOneGivesWay(t *testing.T) {
	for range 20 {
		b := newBook(t)
		b.bring("e1", 1, 4, 7)
		b.want(b.look(0))
		b.now = b.now.Add(patience)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if _, err := b.looker.Look(t.Context(), b.now); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		b.want(b.look(time.Minute))
		if all := b.told(); len(all) != 2 {
			t.Fatalf("%+v", all)
		}
	}
}

func TestManyAgentsAreToldOfInTurn(t *testing.T) {
	b := newBook(t)
	const agents = 300
	for n := range agents {
		b.host, b.own = b.cluster.Agent(nil, "web-1")
		b.bring("e1", 1, uint64(3+n))
	}
	b.now = b.now.Add(patience)
	var sources []string
	for _, most := range []int{250, 50, 0} {
		told, err := b.looker.Look(t.Context(), b.now)
		if err != nil || len(told) != most {
			t.Fatalf("%d told of, not %d: %v", len(told), most, err)
		}
		for _, g := range told { // those that wait longest come first
			if want := uint64(2 + len(sources)); g.Last != want {
				t.Fatalf("%d is told in place of %d", g.Last, want)
			}
			sources = append(sources, g.Source)
		}
	}
	slices.Sort(sources)
	if n := len(slices.Compact(sources)); n != agents || len(b.told()) != agents {
		t.Errorf("%d agents were told of", n)
	}
}

// refusing is a ledger that fails for every event about one agent.
type refusing struct {
	gap.Ledger
	about string
}

func (s refusing) Append(ctx context.Context, events ...audit.Event) error {
	if events[0].Target == s.about {
		return errDown
	}
	return s.Ledger.Append(ctx, events...)
}

func TestAnAgentThatCannotBeToldOfHoldsUpNoOther(t *testing.T) {
	b := newBook(t)
	b.bring("e1", 1, 3)
	first := b.host.ID
	b.host, b.own = b.cluster.Agent(nil, "web-1")
	b.bring("e1", 1, 5)
	b.now = b.now.Add(patience)
	trust := []document.Trust{b.cluster.Holder().Trust()}
	held := gap.New(gap.Config{
		DynamoDB: b, Events: "ledger", State: "state", Ledger: refusing{b.ledger, first}, Cluster: b.host.Cluster,
		Trust: func(context.Context) ([]document.Trust, error) { return trust, nil },
	})
	told, err := held.Look(t.Context(), b.now)
	if !errors.Is(err, errDown) || len(told) != 1 || told[0].Source != "agent/"+b.host.ID {
		t.Errorf("%+v, %v", told, err)
	}
	told, err = b.looker.Look(t.Context(), b.now.Add(time.Minute))
	if err != nil || len(told) != 1 || told[0].Source != "agent/"+first || len(b.told()) != 2 {
		t.Errorf("%+v, %v", told, err)
	}
}

// Without a trust document nobody's signature verifies: what was received then must not pass for looked at.
func TestWithoutATrustDocumentNothingIsLookedAt(t *testing.T) {
	b := newBook(t)
	var trust []document.Trust
	l := gap.New(gap.Config{
		DynamoDB: b, Events: "ledger", State: "state", Ledger: b.ledger, Cluster: b.host.Cluster,
		Trust: func(context.Context) ([]document.Trust, error) { return trust, nil },
	})
	b.bring("e1", 1, 3)
	if told, err := l.Look(t.Context(), b.now); told != nil || err != nil || b.queries > 0 {
		t.Errorf("%v, %v, %d queries", told, err, b.queries)
	}
	trust = append(trust, b.cluster.Holder().Trust())
	if told, err := l.Look(t.Context(), b.now.Add(patience)); err != nil || len(told) != 1 {
		t.Errorf("%v, %v", told, err)
	}
}

// What was numbered before anybody looked isn't asked for; what is numbered after that is.
func TestWhatWasBeforeTheFirstLookIsNoGap(t *testing.T) {
	b := newBook(t)
	b.now = b.now.Add(3 * time.Hour)
	b.own = b.cluster.Renewed(b.host, b.now.Add(-time.Minute))
	b.deliver(b.signed(b.event("e1", 57, "e0:9")))
	b.want(b.look(patience))
	b.bring("e1", 60)
	b.deliver(b.signed(b.event("e2", 2, "")))
	b.want(b.look(patience), "e1 58-59 +0", "e2 1-1 +0")
}

func TestALookNeverBeginsBehindWhatTheLedgerHolds(t *testing.T) {
	b := newBook(t)
	b.bring("e1", 1)
	b.want(b.look(0))
	b.now = b.now.Add(100 * 24 * time.Hour)
	b.own = b.cluster.Renewed(b.host, b.now.Add(-time.Minute))
	b.bring("e1", 500)
	before := b.queries
	b.want(b.look(patience))
	if n := b.queries - before; n > 400 {
		t.Errorf("%d queries", n)
	}
	b.bring("e1", 503)
	b.want(b.look(patience), "e1 501-502 +0")
}

// A look that can't read everything at once tells nothing meanwhile, since what it didn't read may fill a gap, and fails when it
// gets too far behind.
func TestALookThatIsBehindGoesOnAndSaysSo(t *testing.T) {
	b := newBook(t)
	b.want(b.look(0))
	b.bring("e1", 1, 3)
	b.flood(9000)
	b.now = b.now.Add(10 * time.Second)
	b.bring("e1", 2, 6)
	b.looker = b.looks(0)
	b.now = b.now.Add(patience)
	looks := 0
	for ; ; looks++ {
		told, err := b.looker.Look(t.Context(), b.now)
		if err != nil {
			t.Fatal(err)
		}
		if len(told) > 0 {
			if fmt.Sprint(told[0].First, told[0].Last) != "4 5" || len(told) != 1 {
				t.Errorf("told %+v", told)
			}
			break
		}
		if looks > 100 {
			t.Fatal("it doesn't get on")
		}
	}
	if looks < 3 {
		t.Errorf("it came to the end after %d looks", looks)
	}
	b.flood(9000)
	b.now = b.now.Add(2 * time.Hour)
	if _, err := b.looker.Look(t.Context(), b.now); err == nil || !strings.Contains(err.Error(), "more than is looked at") {
		t.Errorf("two hours behind: %v", err)
	}
}

// What is told is what a reader of the whole ledger finds, in whatever order events arrive and whenever somebody looks.
func TestWhatIsToldIsWhatAReaderOfAllFinds(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		b := newBook(t)
		b.want(b.look(0))
		type one struct {
			epoch, after string
			n            uint64
		}
		var sent []one
		after := ""
		for e := range 3 {
			epoch, last := fmt.Sprintf("e%d", e), uint64(1+r.IntN(12))
			for n := uint64(1); n <= last; n++ {
				if r.IntN(4) > 0 {
					sent = append(sent, one{epoch, after, n})
				}
				after = ""
			}
			after = fmt.Sprintf("%s:%d", epoch, last)
		}
		r.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
		for _, s := range sent {
			e := b.signed(b.event(s.epoch, s.n, s.after))
			for range 1 + r.IntN(2) { // some are delivered twice
				b.deliver(e)
				b.now = b.now.Add(time.Duration(r.IntN(4)) * time.Second)
			}
			if r.IntN(6) == 0 {
				b.want(b.look(0))
			}
		}
		missing := map[string]bool{}
		b.look(patience)
		for _, e := range b.told() {
			missing[e.Data["epoch"]+" "+e.Data["from"]+"-"+e.Data["to"]] = true
		}
		want, more := map[string]bool{}, 0
		for _, g := range reader.Judge(slices.Collect(maps.Values(b.items)), b.cluster.Holder().Trust()).Gaps {
			want[fmt.Sprintf("%s %d-%d", g.Epoch, g.First, g.Last)] = true
		}
		for _, e := range b.told() {
			n := 0
			_, _ = fmt.Sscan(e.Data["more"], &n)
			more += n
		}
		for g := range missing {
			if !want[g] {
				t.Errorf("%s is told and isn't missing", g)
			}
		}
		if len(missing)+more != len(want) || len(missing) < min(4, len(want)) {
			t.Errorf("told %v and %d more of %v", missing, more, want)
		}
	}
}
