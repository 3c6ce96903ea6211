package book_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/checked/book"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/store/storetest"
)

var now = time.Date(2026, 11, 28, 12, 45, 0, 0, time.UTC)

const patience = 30 * time.Minute

func at(hour int) time.Time { return time.Date(2026, 11, 28, hour, 0, 0, 0, time.UTC) }

func kept() (*storetest.Tables, *book.Book) {
	db, _ := storetest.New()
	b := book.New(book.Config{
		DynamoDB: db, State: "state", Cluster: "stile", Writer: "function/sweep", Entropy: rand.Reader,
		Ledger: ledger.New(ledger.Config{DynamoDB: db, Table: "ledger"}),
	})
	if _, ok, err := b.Next(context.Background(), checked.Lake, at(10).Add(40*time.Minute), patience); ok || err != nil {
		panic(fmt.Sprint("the first look has an hour to state, or fails: ", err))
	}
	return db, b
}

// next fails the test unless this hour is next; -1 is none.
func next(t *testing.T, b *book.Book, now time.Time, hour int) {
	t.Helper()
	from, ok, err := b.Next(t.Context(), checked.Lake, now, patience)
	if err != nil {
		t.Fatal(err)
	}
	if ok != (hour >= 0) || ok && !from.Equal(at(hour)) {
		t.Errorf("next is %s, %v, not hour %d", from, ok, hour)
	}
}

func of(hour int) checked.Statement {
	return checked.Statement{Check: checked.Lake, From: at(hour), To: at(hour + 1), Looked: 7}
}

// stated returns the statements that the ledger has.
func stated(t *testing.T, db *storetest.Tables) (all []checked.Statement) {
	t.Helper()
	for place, item := range db.Items {
		if !strings.HasPrefix(place, "ledger|") {
			continue
		}
		var e audit.Event
		if err := json.Unmarshal([]byte(item.Text("event")), &e); err != nil {
			t.Fatal(err)
		}
		s, ok := checked.Read(e)
		if !ok {
			t.Errorf("%+v is no statement", e)
		}
		if (e.Outcome == audit.Success) != s.Proves() {
			t.Errorf("%+v has the outcome %s", s, e.Outcome)
		}
		all = append(all, s)
	}
	return all
}

func TestEachHourIsStatedOnceAndInOrder(t *testing.T) {
	db, b := kept()
	next(t, b, now, 11) // ended 45 minutes ago
	next(t, b, now.Add(3*time.Hour), 11)
	if err := b.State(t.Context(), of(11)); err != nil {
		t.Fatal(err)
	}
	next(t, b, now, -1)
	next(t, b, at(13).Add(patience-time.Second), -1)
	next(t, b, at(13).Add(patience), 12)
	if err := b.State(t.Context(), of(11)); err != nil { // by one that was slower
		t.Fatal(err)
	}
	next(t, b, now.Add(24*time.Hour), 12)
	if all := stated(t, db); len(all) != 1 || all[0] != of(11) {
		t.Errorf("stated %+v", all)
	}
}

// What was before a check is not its to state, nor what was during the deployment that brought it.
func TestACheckBeginsWithTheFirstWholeHour(t *testing.T) {
	for minute, first := range map[int]int{0: 13, 1: 13, 50: 13, 51: 14} {
		_, b := kept()
		look := at(12).Add(time.Duration(minute) * time.Minute)
		for hour := range 24 {
			from, ok, err := b.Next(t.Context(), checked.Recordings, look, patience)
			if err != nil || ok && !from.Equal(at(first)) || ok != !look.Before(at(first+1).Add(patience)) {
				t.Fatalf("minute %d, %d hours later: %s, %v, %v", minute, hour, from, ok, err)
			}
			if behind, err := b.Behind(t.Context(), checked.Recordings, look); err != nil || behind != max(0, look.Sub(at(first))) {
				t.Errorf("minute %d, %d hours later: behind %s, %v", minute, hour, behind, err)
			}
			look = look.Add(time.Hour)
		}
	}
}

func TestAStatementSaysWhatWasFoundAndWhatCouldNotBeProved(t *testing.T) {
	db, b := kept()
	next(t, b, at(12).Add(patience), 11)
	both, found := of(11), of(12)
	both.Found, both.Unproved, found.Found = 2, "the lake could not be asked", 1 // what is found needs no other reason
	found.Which = "actor_roles"
	for _, want := range []checked.Statement{both, found} {
		if err := b.State(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if all := stated(t, db); !slices.Contains(all, want) || want.Proves() {
			t.Errorf("stated %+v", all)
		}
	}
}

// An hour whose statement could not be written is checked again.
func TestAnHourIsOverWhenItsStatementIsKept(t *testing.T) {
	db, b := kept()
	next(t, b, now, 11)
	db.Fail = errors.New("down")
	if err := b.State(t.Context(), of(11)); err == nil {
		t.Error("a statement that wasn't kept is none")
	}
	next(t, b, now, 11)
	db.Fail = errors.New("down")
	if _, _, err := b.Next(context.Background(), checked.Lake, now, patience); err == nil {
		t.Error("nobody knows which hour is next")
	}
}

func TestHoursWaitForOneThatCannotBeJudged(t *testing.T) {
	_, b := kept()
	until, down := 13, error(nil)
	judge := func(_ context.Context, from time.Time) (checked.Statement, bool, error) {
		return of(from.Hour()), from.Hour() < until, down
	}
	run := func(hours ...int) {
		t.Helper()
		all, err := b.Run(t.Context(), checked.Lake, at(18), patience, judge)
		if !errors.Is(err, down) || len(all) != len(hours) {
			t.Fatalf("%+v, %v", all, err)
		}
		for i, hour := range hours {
			if all[i] != of(hour) {
				t.Errorf("%+v is not of hour %d", all[i], hour)
			}
		}
	}
	next(t, b, now, 11)
	run(11, 12)
	run()
	until, down = 24, errors.New("down")
	run()
	if behind, err := b.Behind(t.Context(), checked.Lake, at(18)); err != nil || behind != 5*time.Hour {
		t.Errorf("behind %s, %v", behind, err)
	}
	down = nil
	run(13, 14, 15, 16)
	if behind, err := b.Behind(t.Context(), checked.Recordings, at(18)); err != nil || behind != 0 {
		t.Errorf("one that hasn't begun is behind %s, %v", behind, err)
	}
}
