package holding_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/query/holding"
)

var at = time.Date(2026, 11, 20, 23, 0, 0, 0, time.UTC)

func TestAQuestionIsAboutReceiptsFromItsFirstMillisecondToItsLast(t *testing.T) {
	for _, ask := range []string{holding.Digests, holding.Keys} {
		text, literals, err := holding.Request{Ask: ask, From: at, To: at.Add(time.Hour)}.Compose()
		if err != nil || !holding.Ours(text) || len(literals) != strings.Count(text, "?") {
			t.Fatalf("%v: %s, %v", err, text, literals)
		}
		first, end := strings.Trim(literals[1], "'"), strings.Trim(literals[2], "'")
		for received, within := range map[time.Time]bool{
			at.Add(-time.Millisecond): false, at: true, at.Add(59*time.Minute + 59*time.Second): true,
			at.Add(time.Hour - time.Millisecond): true, at.Add(time.Hour): false,
		} {
			receipt := ledger.Receipt(received, []byte("{}"))
			if got := receipt >= first && receipt < end; got != within {
				t.Errorf("%s: what was received at %s is in it: %v", ask, received, got)
			}
			if !strings.HasPrefix(receipt, holding.SpanAt(received)) || holding.Span(receipt) != holding.SpanAt(received) {
				t.Errorf("%s: its span is %s", receipt, holding.SpanAt(received))
			}
		}
		if literals[0] != "'2026-11-20'" {
			t.Errorf("it reads from %s on", literals[0])
		}
	}
	// what was received just after midnight may have arrived, by another clock, before
	_, literals, err := holding.Request{Ask: holding.Keys, From: at.Add(time.Hour), To: at.Add(2 * time.Hour)}.Compose()
	if err != nil || literals[0] != "'2026-11-20'" {
		t.Errorf("%v, %v", literals, err)
	}
}

func TestNothingElseIsAsked(t *testing.T) {
	for name, r := range map[string]holding.Request{
		"no question":   {From: at, To: at.Add(time.Hour)},
		"another":       {Ask: "SELECT 1", From: at, To: at.Add(time.Hour)},
		"no time":       {Ask: holding.Keys, From: at, To: at},
		"the wrong way": {Ask: holding.Keys, From: at, To: at.Add(-time.Hour)},
		"too much":      {Ask: holding.Digests, From: at, To: at.Add(25 * time.Hour)},
	} {
		if text, _, err := r.Compose(); !fault.Is(err, fault.BadInput) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	text, _, err := holding.Request{Ask: holding.Keys, From: at, To: at.Add(time.Hour)}.Compose()
	if err != nil || holding.Ours(text+" ") || holding.Ours("") {
		t.Errorf("another query passes for one: %v", err)
	}
}

func TestADigestIsOfWhatIsThereAndNotOfItsOrder(t *testing.T) {
	sum := func(keys ...string) string {
		var s holding.Sum
		for _, k := range keys {
			s.Add(k)
		}
		_, digest := s.Digest()
		return digest
	}
	if sum("a", "b", "c") != sum("c", "a", "b", "a") {
		t.Error("the order or a repetition changes it")
	}
	for _, other := range [][]string{{"a", "b"}, {"a", "b", "d"}, {"ab", "c", ""}, {"a", "b", "c", "d"}, {}} {
		if sum(other...) == sum("a", "b", "c") {
			t.Errorf("%q has the same", other)
		}
	}
	if holding.Span("01") != "01" {
		t.Error("a short key has no span")
	}
}
