package compare_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/compare"
	"github.com/stile-dev/stile/pkg/table"
)

// ripe is when the first hour is looked at.
var ripe = start.Add(time.Hour + compare.Patience)

// in runs a test with its own clock.
func in(t *testing.T, test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

func TestWhatTheLakeLacksIsSentAgainAndNotTold(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		var lost []string
		for n := range 60 {
			if key := w.receive(start.Add(time.Duration(n)*time.Minute), n%20 == 0); n%20 == 0 {
				lost = append(lost, key)
			}
		}
		// the first and the last millisecond, and those that are another hour's
		lost = append(lost, w.receive(start, true), w.receive(start.Add(time.Hour-time.Millisecond), true))
		w.receive(start.Add(-time.Millisecond), true)
		w.receive(start.Add(time.Hour), true)
		w.lake = append(w.lake, w.lake...) // deliveries come more than once
		w.must(ripe.Add(-time.Second))
		if len(w.begun) != 0 {
			t.Fatal("an hour is looked at while its events are on their way")
		}
		if r := w.must(ripe); r.Sent != len(lost) || r.Found != 0 || w.stated() != "" {
			t.Fatalf("%+v, %v", r, w.stated())
		}
		if left := w.lacks(lost...); len(left) != 0 || len(w.sent) != len(lost) {
			t.Fatalf("not sent: %v; sent: %v", left, w.sent)
		}
		asked := len(w.begun)
		if w.must(ripe.Add(compare.Settle - time.Second)); len(w.begun) != asked {
			t.Error("what was sent has no time to arrive")
		}
		if r := w.must(ripe.Add(compare.Settle)); r.Sent != 0 || r.Found != 0 || r.Owed != 0 || w.stated() != "20T23 62 0 " {
			t.Errorf("%+v, %v", r, w.stated())
		}
		if len(w.told) != 0 {
			t.Errorf("told: %+v", w.told)
		}
	})
}

func TestWhatIsMissingStillIsToldOnceAndOwed(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.receive(start, false)
		key := w.receive(start.Add(time.Minute), true)
		w.lost = true
		w.must(ripe)
		r := w.must(ripe.Add(compare.Settle))
		if r.Found != 1 || r.Sent != 0 || r.Owed != 1 || w.stated() != "20T23 2 1 " {
			t.Fatalf("%+v, %s", r, w.stated())
		}
		e := w.told[0]
		if len(w.told) != 1 || e.Type != audit.LakeMissing || e.Outcome != audit.Failure || e.Data["from"] != "2026-11-20T23:00:00Z" || e.Data["to"] != "2026-11-21T00:00:00Z" || e.Data["count"] != "1" || e.Data["examples"] != key {
			t.Fatalf("%+v", w.told)
		}
		w.lost = false
		at := ripe.Add(2 * compare.Settle)
		if r := w.must(at); r.Sent != 1 || r.Owed != 1 || len(w.lacks(key)) != 0 {
			t.Fatalf("%+v", r)
		}
		if r := w.must(at.Add(compare.Settle)); r.Sent != 0 || r.Owed != 0 || r.Found != 0 || len(w.told) != 1 {
			t.Errorf("%+v, %+v", r, w.told)
		}
	})
}

// An outage of the lake that is longer than anything that tries again ends with all of it there.
func TestAfterAnOutageOfADayAllIsSentAgain(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		const hours, out = 40, 25
		end := start.Add((2 + out) * time.Hour)
		var keys []string
		for n := range hours * 6 {
			at := start.Add(time.Duration(n) * 10 * time.Minute)
			keys = append(keys, w.receive(at, at.After(start.Add(2*time.Hour)) && at.Before(end)))
		}
		for at := start; at.Before(start.Add((hours + 3) * time.Hour)); at = at.Add(10 * time.Minute) {
			w.lost = at.After(start.Add(2*time.Hour)) && at.Before(end)
			w.must(at)
		}
		if left := w.lacks(keys...); len(left) != 0 {
			t.Errorf("%d of %d are missing", len(left), len(keys))
		}
		for key, n := range w.sent {
			if n > 6 { // until the next hour shows that nothing arrives, and when it does again
				t.Errorf("%s was sent %d times", key, n)
			}
		}
		if r := w.must(start.Add((hours + 3) * time.Hour)); r.Owed != 0 || len(w.statements) < hours || w.statements[10].Found != 6 || w.statements[35].Found != 0 {
			t.Errorf("%+v\n%s", r, w.stated())
		}
		if len(w.told) < out-2 || len(w.told) > out+1 {
			t.Errorf("%d hours are told", len(w.told))
		}
	})
}

func TestWhatTheLedgerDoesntHaveIsTold(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.receive(start, false)
		w.receive(start.Add(59*time.Minute), false)
		there := w.lake[0]
		for _, r := range []row{
			{ledger.Receipt(start.Add(time.Minute), []byte("forged")), "agent", "id"},
			{there.receipt, there.writer, "another"},
			{there.receipt, "agent", there.id},
			{strings.ToUpper(ledger.Receipt(start.Add(time.Minute), nil)), "agent", "not a receipt, and not of the hour"},
			{there.receipt[:8] + "~", "agent", "no receipt"},
			{there.receipt[:6] + "~", "", ""},
			{w.lake[1].receipt[:5] + "z", "agent", "at no time"},
		} {
			w.lake = append(w.lake, r, r)
		}
		r := w.must(ripe)
		if r.Found != 5 || r.Sent != 0 || r.Owed != 0 || w.stated() != "20T23 2 5 " {
			t.Fatalf("%+v, %s", r, w.stated())
		}
		e := w.told[0]
		if len(w.told) != 1 || e.Type != audit.LakeForeign || e.Data["foreign"] != "5" || e.Data["altered"] != "0" || !strings.Contains(e.Data["examples"], there.receipt+" function/admin another") {
			t.Errorf("%+v", w.told)
		}
	})
}

func TestWhatWasOverwrittenIsTold(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		for n := range 3 {
			w.receive(start.Add(time.Duration(n)*time.Minute), false)
		}
		overwrite := func(r row, event func(string) string) {
			for pk, all := range w.items {
				for _, i := range slices.Clone(all) {
					if i.Text("sk") == r.receipt {
						w.put(table.Item{"pk": table.String(pk), "sk": i["sk"], "received_ms": i["received_ms"], "event": table.String(event(i.Text("event")))})
					}
				}
			}
		}
		overwrite(w.lake[0], func(e string) string { return strings.ReplaceAll(e, "user/ada", "user/eve") }) // the id is as it was
		overwrite(w.lake[1], func(e string) string { return strings.ReplaceAll(e, w.lake[1].id, "01hv0000000000000000000000") })
		w.lake = append(w.lake, row{w.lake[1].receipt, "function/admin", "01hv0000000000000000000000"}) // which the relay delivered as well
		r := w.must(ripe)
		if r.Found != 3 || r.Sent != 0 || w.stated() != "20T23 3 3 " {
			t.Fatalf("%+v, %s", r, w.stated())
		}
		if e := w.told[0]; len(w.told) != 1 || e.Data["foreign"] != "1" || e.Data["altered"] != "2" {
			t.Errorf("%+v", w.told)
		}
		for pk, all := range w.items { // what is no event is nothing that could be sent
			for _, i := range slices.Clone(all) {
				w.put(table.Item{"pk": table.String(pk), "sk": i["sk"], "received_ms": i["received_ms"], "event": table.String("{")})
			}
		}
	})
}

// Whatever fails, and wherever a run is cut off, the hour is stated once, with what was there, and nothing is left behind.
func TestARunThatFailsIsMadeGoodByTheNext(t *testing.T) {
	play := func(t *testing.T, failAt int, halves bool) int {
		t.Helper()
		var count atomic.Int64 // partitions are read at once
		in(t, func(t *testing.T, w *world) {
			w.page = 2
			var keys []string
			for n := range 30 {
				keys = append(keys, w.receive(start.Add(time.Duration(n)*2*time.Minute), n%7 == 0))
			}
			foreign := row{ledger.Receipt(start.Add(time.Minute), []byte("forged")), "agent", "id"}
			w.lake = append(w.lake, foreign)
			w.step = func(what string) error {
				if count.Add(1) == int64(failAt) {
					if halves && what == "look" {
						w.rows = func(r [][]string) [][]string {
							w.rows = func(r [][]string) [][]string { return r }
							return r[:(len(r)+1)/2] // of one row, all: nothing would show it
						}
						return nil
					}
					return fmt.Errorf("%s: %w", what, errDown)
				}
				return nil
			}
			for n := range 12 {
				_, err := w.run(ripe.Add(time.Duration(n) * compare.Settle))
				if err != nil && !strings.Contains(err.Error(), "down") && !strings.Contains(err.Error(), "rows came, of") {
					t.Fatal(err)
				}
			}
			if left := w.lacks(keys...); len(left) != 0 || w.statements[0].Looked != 30 || w.statements[0].Found != 1 || len(w.told) != 1 || len(w.statements) < 2 {
				t.Errorf("step %d: missing %v; stated\n%s\ntold %+v", failAt, left, w.stated(), w.told)
			}
		})
		return int(count.Load())
	}
	all := play(t, 0, false)
	if all < 50 {
		t.Fatalf("%d steps", all)
	}
	for n := range all {
		play(t, n+1, false)
		play(t, n+1, true)
	}
}

func TestALakeThatAnswersNonsenseIsNotBelieved(t *testing.T) {
	for name, rows := range map[string][][]string{
		"columns":   {{"01hv000", "1", "AA"}},
		"no number": {{"01hv000", "many", "AA", "1"}},
	} {
		in(t, func(t *testing.T, w *world) {
			w.receive(start, false)
			w.rows = func([][]string) [][]string { return rows }
			if _, err := w.run(ripe); err == nil || len(w.statements) != 0 || len(w.sent) != 0 {
				t.Errorf("%s: %v, %s", name, err, w.stated())
			}
		})
	}
}

func TestAQuestionThatIsSlowIsWaitedForByTheNextRun(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.receive(start, false)
		w.slow = 40 // more than a run waits for
		if r := w.must(ripe); r.Found != 0 || w.stated() != "" || len(w.begun) != 1 {
			t.Fatalf("%+v, %s, %d questions", r, w.stated(), len(w.begun))
		}
		if w.must(ripe.Add(10 * time.Minute)); w.stated() != "20T23 1 0 " || len(w.begun) != 1 {
			t.Errorf("%s after %d questions", w.stated(), len(w.begun))
		}
	})
}

func TestAnHourThatCouldNotBeComparedIsStatedAsThatAndOwed(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.receive(start, false)
		lost := w.receive(start.Add(time.Minute), true)
		w.receive(start.Add(2*time.Hour), false)
		away := true
		w.step = func(what string) error {
			if away && what == "ask" {
				return errDown
			}
			return nil
		}
		for at := ripe; at.Before(start.Add(4 * time.Hour)); at = at.Add(10 * time.Minute) {
			if _, err := w.run(at); err == nil || w.stated() != "" {
				t.Fatalf("%v, %s", err, w.stated())
			}
		}
		if _, err := w.run(start.Add(4*time.Hour + time.Minute)); err == nil || len(w.statements) != 1 || !strings.Contains(w.statements[0].Unproved, "down") || w.statements[0].Proves() {
			t.Fatalf("%v, %s", err, w.stated())
		}
		away = false
		for n := range 6 {
			w.must(start.Add(4*time.Hour + time.Duration(n+2)*compare.Settle))
		}
		if len(w.lacks(lost)) != 0 || len(w.told) != 0 || w.must(start.Add(6*time.Hour)).Owed != 0 {
			t.Errorf("%v, %+v", w.lacks(lost), w.told)
		}
	})
}

func TestWhatAnHourThatWasOwedLacksIsTold(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.receive(start, false)
		w.receive(start.Add(time.Minute), true)
		w.lake = append(w.lake, row{ledger.Receipt(start, []byte("forged")), "agent", "id"})
		w.lost = true
		w.step = func(what string) error {
			if what == "ask" {
				return errDown
			}
			return nil
		}
		if _, err := w.run(start.Add(5 * time.Hour)); err == nil {
			t.Fatal("the lake is away")
		}
		w.step = func(string) error { return nil }
		for n := range 20 {
			w.must(start.Add(5*time.Hour + time.Duration(n+1)*compare.Settle))
		}
		if len(w.told) != 2 || w.told[0].Type != audit.LakeMissing || w.told[1].Type != audit.LakeForeign {
			t.Errorf("%+v", w.told)
		}
	})
}

func TestBeingBehindFails(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.receive(start, true)
		w.lost = true
		late := start.Add(4*time.Hour + time.Minute)
		if _, err := w.run(late); err == nil || !strings.Contains(err.Error(), "behind") {
			t.Errorf("%v", err)
		}
	})
}

// What the ledger forgets is no forgery in the lake.
func TestAnHourThatExpiredIsNotCompared(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.receive(start, false)
		w.items = map[string][]table.Item{}
		r := w.must(start.Add(ledger.Keep))
		if r.Found != 0 || len(w.told) != 0 || w.statements[0].Unproved == "" || len(r.GivenUp) == 0 || r.Owed != 0 {
			t.Errorf("%+v\n%.300s", r, w.stated())
		}
	})
}

func TestWhatTheLakeNeverTakesIsGivenUpWithTheLedger(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.receive(start, false)
		key := w.receive(start.Add(time.Minute), true)
		w.lost = true
		var given []time.Time
		for at := ripe; at.Before(start.Add(ledger.Keep)); at = at.Add(time.Hour) {
			given = append(given, w.must(at).GivenUp...)
		}
		if n := w.sent[key]; n < 10 || n > 60 {
			t.Errorf("it was sent %d times", n)
		}
		if len(given) != 1 || !given[0].Equal(start) || len(w.told) != 1 {
			t.Errorf("given up: %v; told: %+v", given, w.told)
		}
	})
}

func TestOfTwoThatCompareOneGivesWay(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.receive(start, false)
		w.step = func(what string) error {
			if what == "ask" {
				w.step = func(string) error { return nil }
				w.must(ripe)
			}
			return nil
		}
		if w.must(ripe); w.stated() != "20T23 1 0 " {
			t.Errorf("%s", w.stated())
		}
	})
}
