package lambda

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// trial is a delivery to a function that a test scripts; it keeps what happened, in order.
type trial struct {
	delivery
	log []string
	now time.Time
}

func newTrial(invoke func(batch string) (Result, error)) *trial {
	tr := &trial{now: time.Unix(1000, 0)}
	tr.delivery = delivery{
		invoke: func(_ context.Context, records []Record) (Result, error) {
			tr.log = append(tr.log, "invoke "+sequences(records))
			return invoke(sequences(records))
		},
		done: func(s string) error { tr.log = append(tr.log, "done "+s); return nil },
		giveUp: func(r []Record, _ verdict, tries int) {
			tr.log = append(tr.log, fmt.Sprintf("give up %s after %d", sequences(r), tries))
		},
		pause:   func(context.Context, int) error { return nil },
		now:     func() time.Time { return tr.now },
		retries: -1, maxAge: -1,
	}
	return tr
}

func sequences(records []Record) string {
	var b strings.Builder
	for _, r := range records {
		b.WriteString(r.Sequence)
	}
	return b.String()
}

func batchOf(text string) []Record {
	var records []Record
	for _, c := range text {
		records = append(records, Record{Sequence: string(c), Created: time.Unix(0, 0)})
	}
	return records
}

func fail() (Result, error) {
	return Result{Payload: []byte(`{"errorMessage":"x"}`), Failed: true}, nil
}
func succeed(s string) (Result, error) { return Result{Payload: []byte(s)}, nil }

func (tr *trial) expect(t *testing.T, batch string, want ...string) {
	t.Helper()
	if err := tr.deliver(t.Context(), batchOf(batch)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, tr.log); diff != "" {
		t.Error(diff)
	}
}

func TestABatchThatSucceedsMovesTheCheckpoint(t *testing.T) {
	newTrial(func(string) (Result, error) { return succeed("null") }).expect(t, "abcd", "invoke abcd", "done d")
}

func TestBisectFindsThePoisonedRecord(t *testing.T) {
	tr := newTrial(func(batch string) (Result, error) {
		if strings.Contains(batch, "c") {
			return fail()
		}
		return succeed("")
	})
	tr.bisect, tr.retries = true, 1
	tr.expect(t, "abcd", "invoke abcd", "invoke ab", "done b", "invoke cd", "invoke c", "invoke c", "give up c after 2", "done c", "invoke d", "done d")
}

func TestRetriesAreCounted(t *testing.T) {
	tr := newTrial(func(string) (Result, error) { return fail() })
	tr.retries = 2
	tr.expect(t, "ab", "invoke ab", "invoke ab", "invoke ab", "give up ab after 3", "done b")
}

func TestARetryThatSucceedsGoesOn(t *testing.T) {
	calls := 0
	tr := newTrial(func(string) (Result, error) {
		if calls++; calls < 3 {
			return Result{}, errors.New("busy")
		}
		return succeed("{}")
	})
	tr.expect(t, "ab", "invoke ab", "invoke ab", "invoke ab", "done b")
}

func TestRecordsThatAreTooOldAreGivenUp(t *testing.T) {
	tr := newTrial(func(string) (Result, error) { return fail() })
	tr.maxAge = time.Minute
	tr.expect(t, "ab", "invoke ab", "give up ab after 1", "done b")
}

// report is an answer that names records.
func report(sequences ...string) (Result, error) {
	var items []string
	for _, s := range sequences {
		items = append(items, fmt.Sprintf(`{"itemIdentifier":%q}`, s))
	}
	return succeed(`{"batchItemFailures":[` + strings.Join(items, ",") + `]}`)
}

// poisoned reports the records of a text as failed, as often as they come, and stops at the first of them.
func poisoned(text string) *trial {
	tr := newTrial(func(batch string) (Result, error) {
		if i := strings.IndexAny(batch, text); i >= 0 {
			return report(batch[i : i+1])
		}
		return report()
	})
	tr.reports = true
	return tr
}

func TestAReportMovesTheCheckpointAndTheRestIsTriedAgain(t *testing.T) {
	calls := 0
	tr := newTrial(func(string) (Result, error) {
		if calls++; calls == 1 {
			return report("d", "b", "c")
		}
		return report()
	})
	tr.reports = true
	tr.expect(t, "abcd", "invoke abcd", "done a", "invoke bcd", "done d")
}

func TestARecordThatIsReportedIsTriedAsOftenAsOneThatFails(t *testing.T) {
	tr := poisoned("c")
	tr.retries = 2
	tr.expect(t, "abcd", "invoke abcd", "done b", "invoke cd", "invoke cd", "give up cd after 3", "done d")
	tr = poisoned("bd")
	tr.retries = 0
	tr.expect(t, "abcd", "invoke abcd", "done a", "give up bcd after 1", "done d")
}

func TestRecordsBehindAReportAreGivenUpByTheAgeOfTheFirst(t *testing.T) {
	tr := poisoned("b")
	tr.maxAge = time.Minute
	tr.expect(t, "abc", "invoke abc", "done a", "give up bc after 1", "done c")
}

func TestAReportBisectsAtItsRecord(t *testing.T) {
	tr := poisoned("c")
	tr.bisect, tr.retries = true, 1
	tr.expect(t, "abcdef", "invoke abcdef", "done b", "invoke cdef", "invoke cdef", "give up cdef after 2", "done f")
}

func TestAFailureIsHalvedWhatEverIsReportedBesides(t *testing.T) {
	tr := newTrial(func(batch string) (Result, error) {
		switch {
		case batch == "abcd":
			return report("b")
		case strings.Contains(batch, "c"):
			return fail()
		}
		return report()
	})
	tr.reports, tr.bisect, tr.retries = true, true, 0
	tr.expect(t, "abcd", "invoke abcd", "done a", "invoke bcd", "invoke b", "done b", "invoke cd", "invoke c", "give up c after 1", "done c", "invoke d", "done d")
}

func TestAReportThatCannotBeUnderstoodIsHalvedAsAFailure(t *testing.T) {
	tr := newTrial(func(batch string) (Result, error) {
		if len(batch) > 1 {
			return report("z")
		}
		return report()
	})
	tr.reports, tr.bisect = true, true
	tr.expect(t, "ab", "invoke ab", "invoke a", "done a", "invoke b", "done b")
}

func TestADeliveryThatIsEndedKeepsItsPlace(t *testing.T) {
	tr := newTrial(func(string) (Result, error) { return fail() })
	stop := errors.New("stopped")
	tr.pause = func(context.Context, int) error { return stop }
	if err := tr.deliver(t.Context(), batchOf("ab")); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"invoke ab"}, tr.log); diff != "" {
		t.Error(diff)
	}
}
