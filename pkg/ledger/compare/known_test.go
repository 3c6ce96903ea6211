package compare_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/compare"
	"github.com/stile-dev/stile/pkg/ledger/compare/owed"
)

// known is what is known of the lake, the lacks one after another.
func (w *world) known() string {
	w.t.Helper()
	compared, lacks, err := owed.NewReader(w, "state").Known(w.t.Context(), w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	out := "never"
	if !compared.IsZero() {
		out = compared.Format("02T15")
	}
	for _, l := range lacks {
		out += fmt.Sprintf(" %s-%s", l.From.Format("02T15"), l.To.Format("02T15"))
	}
	return out
}

func TestWhatTheLakeLacksIsKnownUntilItIsThere(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		if got := w.known(); got != "never" {
			t.Errorf("before the first comparison: %s", got)
		}
		for n := range 6 {
			w.receive(start.Add(time.Duration(n)*time.Hour), n == 1 || n == 2 || n == 4)
		}
		for n := range 7 {
			at := ripe.Add(time.Duration(n) * time.Hour)
			w.lost = n < 5
			w.must(at)
			w.must(at.Add(compare.Settle))
			if n == 4 {
				if got := w.known(); got != "21T04 21T00-21T02 21T03-21T04" {
					t.Errorf("while the lake lacks something: %s", got)
				}
			}
		}
		for n := range 8 {
			w.must(ripe.Add(time.Duration(7+n) * time.Hour))
		}
		if got := w.known(); got != "21T14" {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// An hour is known to lack something from when it is stated, though the run that was to owe it was cut off.
func TestAnHourThatIsStatedAndNotOwedYetIsKnown(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.receive(start, true)
		w.lost = true
		w.must(ripe)
		stated := false
		w.step = func(what string) error {
			if what == "state" {
				stated = true
			} else if stated && what == "save" {
				return errors.New("cut off")
			}
			return nil
		}
		if _, err := w.run(ripe.Add(compare.Settle)); err == nil || len(w.statements) != 1 {
			t.Fatalf("%v, %d statements", err, len(w.statements))
		}
		if got := w.known(); got != "21T00 20T23-21T00" {
			t.Error(got)
		}
		w.step = func(what string) error {
			if what == "until" {
				return errors.New("throttled")
			}
			return nil
		}
		if _, _, err := owed.NewReader(w, "state").Known(t.Context(), w.now); err == nil {
			t.Error("what can't be read is known")
		}
	})
}

// An hour of which something is too much to be compared isn't known to be there.
func TestAnHourThatIsTooMuchToCompareStaysOwed(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.receive(start, false)
		for n := range 150_001 {
			w.lake = append(w.lake, row{ledger.Receipt(start, fmt.Append(nil, n)), "function/admin", fmt.Sprint(n)})
		}
		w.page = 200_000
		w.must(ripe)
		for n := range 4 {
			if r := w.must(ripe.Add(time.Duration(n) * 20 * time.Minute)); r.Owed != 1 {
				t.Errorf("look %d: %d hours are owed, %s", n, r.Owed, w.stated())
			}
		}
		if got := w.known(); got != "21T01 20T23-21T00" && got != "21T00 20T23-21T00" {
			t.Error(got)
		}
	})
}
