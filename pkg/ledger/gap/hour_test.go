package gap_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/ledger/gap"
)

// inAnHour is a book to which events come in the hour that it returns, and whose looks began before.
func inAnHour(t *testing.T) (b *book, from time.Time) {
	b = newBook(t)
	if ends := b.now.Truncate(time.Hour).Add(time.Hour); ends.Sub(b.now) < time.Minute {
		b.now = ends
	}
	from = b.now.Truncate(time.Hour)
	came := b.now
	b.now = from.Add(-time.Minute)
	b.want(b.look(0))
	b.now = came
	return b, from
}

// states fails the test unless this is said of the hour.
func (b *book) states(from time.Time, looked, found int, unproved string) {
	b.t.Helper()
	s, ready, err := b.looker.Hour(b.t.Context(), from)
	if err != nil || !ready {
		b.t.Fatalf("ready: %v, %v", ready, err)
	}
	if s.Check != checked.Sequences || !s.From.Equal(from) || !s.To.Equal(from.Add(time.Hour)) || s.Looked != looked || s.Found != found {
		b.t.Errorf("%+v", s)
	}
	if unproved == "" && s.Unproved != "" || !strings.Contains(s.Unproved, unproved) {
		b.t.Errorf("%+v doesn't say %q", s, unproved)
	}
}

// waits fails the test if anything is said of the hour.
func (b *book) waits(from time.Time) {
	b.t.Helper()
	if s, ready, err := b.looker.Hour(b.t.Context(), from); err != nil || ready {
		b.t.Errorf("%+v, %v", s, err)
	}
}

func TestAnHourWithoutGapsIsProved(t *testing.T) {
	b, from := inAnHour(t)
	b.waits(from) // nobody has looked
	b.bring("e1", 1, 2, 3)
	b.want(b.look(time.Minute))
	b.want(b.look(time.Minute)) // sees them again
	b.now = from.Add(time.Hour + gap.Patience - time.Minute)
	b.want(b.look(0))
	b.waits(from) // a gap may still be filled
	b.want(b.look(time.Minute))
	b.states(from, 3, 0, "")
}

func TestTheGapsOfAnHourAreFound(t *testing.T) {
	b, from := inAnHour(t)
	b.bring("e1", 1, 4, 6)
	b.want(b.look(0))
	b.bring("e1", 9)
	b.now = from.Add(time.Hour + gap.Patience)
	b.want(b.look(0), "e1 2-3 +0", "e1 5-5 +0", "e1 7-8 +0")
	b.states(from, 4, 3, "")
	b.states(from.Add(-2*time.Hour), 0, 0, "was not counted") // the looks began within it
}

func TestAnHourWaitsForTheGapsThatAreToBeTold(t *testing.T) {
	b, from := inAnHour(t)
	b.bring("e1", 1, 4)
	b.want(b.look(0))
	b.now = from.Add(time.Hour + gap.Patience)
	b.failAt = b.writes + 3 // the look is kept, and what it tells isn't
	if _, err := b.looker.Look(t.Context(), b.now); err == nil {
		t.Fatal("the look didn't fail")
	}
	b.waits(from)
	b.failAt = 0
	b.want(b.look(0), "e1 2-3 +0")
	b.states(from, 2, 1, "")
}

func TestWhatNoAgentSignedLeavesAnHourUnproved(t *testing.T) {
	b, from := inAnHour(t)
	b.bring("e1", 1)
	forged := b.signed(b.event("e1", 2, ""))
	forged.Signature[len(forged.Signature)-1] ^= 1
	b.deliver(forged)
	b.now = from.Add(time.Hour + gap.Patience)
	b.want(b.look(0))
	b.states(from, 1, 0, "1 events among those of agents are signed by none")
}
