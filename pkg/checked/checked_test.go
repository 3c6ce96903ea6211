package checked_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/checked"
)

func at(hour int) time.Time { return time.Date(2026, 11, 28, hour, 0, 0, 0, time.UTC) }

func of(check string, hour, looked, found int, unproved string) checked.Statement {
	return checked.Statement{Check: check, From: at(hour), To: at(hour + 1), Looked: looked, Found: found, Unproved: unproved}
}

func TestTheSumOfStatements(t *testing.T) {
	odd := of(checked.Lake, 12, 1, 0, "")
	odd.To = odd.To.Add(time.Minute)
	half := of(checked.Lake, 12, 1, 0, "")
	half.From, half.To = half.From.Add(time.Minute), half.To.Add(time.Minute)
	all := []checked.Statement{
		of(checked.Sequences, 9, 5, 0, ""), of(checked.Sequences, 10, 7, 0, ""), of(checked.Sequences, 11, 0, 0, ""), of(checked.Sequences, 12, 1, 0, ""),
		of(checked.Lake, 10, 8, 2, ""), of(checked.Lake, 11, 9, 0, ""), odd, half,
		of(checked.Signatures, 10, 1, 0, "no records"), of(checked.Signatures, 11, 2, 1, "no records"), of(checked.Signatures, 12, 4, 0, "other"),
		of(checked.Signatures, 12, 4, 0, ""), of(checked.Signatures, 14, 4, 0, ""),
	}
	column := of(checked.Canaries, 11, 24, 2, "")
	column.Which = "actor_roles, data"
	all = append(all, of(checked.Canaries, 10, 24, 0, ""), column, of(checked.Canaries, 12, 0, 0, "no canary"))
	got := checked.Sum(all, at(9).Add(time.Second), at(13).Add(59*time.Minute))
	want := []checked.Summary{
		{Check: checked.Sequences, Hours: 3, Proved: 3, Looked: 8},
		{
			Check: checked.Lake, Hours: 3, Proved: 1, Looked: 17, Found: []checked.Span{{at(10), at(11), 8, 2, "", ""}},
			Unproved: []checked.Span{{at(12), at(13), 0, 0, "", ""}},
		},
		{
			Check: checked.Canaries, Hours: 3, Proved: 1, Looked: 48, Found: []checked.Span{{at(11), at(12), 24, 2, "actor_roles, data", ""}},
			Unproved: []checked.Span{{at(12), at(13), 0, 0, "", "no canary"}},
		},
		{Check: checked.Recordings, Hours: 3, Unproved: []checked.Span{{at(10), at(13), 0, 0, "", ""}}},
		{
			Check: checked.Signatures, Hours: 3, Looked: 7, Found: []checked.Span{{at(11), at(12), 2, 1, "", "no records"}},
			Unproved: []checked.Span{{at(10), at(12), 3, 1, "", "no records"}, {at(12), at(13), 4, 0, "", "other"}},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, s := range checked.Sum(all, at(10).Add(time.Minute), at(11).Add(time.Minute)) {
		if s.Hours != 0 {
			t.Errorf("%+v is of an hour that isn't whole", s)
		}
	}
}

// What is brought by a deployment signs, records and delivers before it is all there: that hour is nobody's to state.
func TestTheFirstHourOfACheckBeginsTenMinutesAfterItsFirstLook(t *testing.T) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for minutes, hours := range map[int]int{0: 1, 1: 1, 50: 1, 51: 2, 59: 2} {
		if got := checked.First(at.Add(time.Duration(minutes) * time.Minute)); !got.Equal(at.Add(time.Duration(hours) * time.Hour)) {
			t.Errorf("%d minutes past: %s", minutes, got)
		}
	}
}

// However much could not be proved, it is stated.
func TestAStatementIsNeverTooLarge(t *testing.T) {
	for _, sign := range []string{"x", "é", "\x01", "<"} {
		s := checked.Statement{Check: checked.Lake, From: at(12), To: at(13), Unproved: strings.Repeat(sign, 20_000)}
		e := s.Event("c", "function/sweep", rand.Reader, at(14))
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
		if got, ok := checked.Read(e); !ok || got.Proves() || !strings.HasPrefix(s.Unproved, strings.TrimSuffix(got.Unproved, "…")) {
			t.Errorf("%+v, %v", got, ok)
		}
	}
}
