package query_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/query/holding"
)

func TestAFunctionsQuestionIsAskedWithoutAnEvent(t *testing.T) {
	d, l, _ := desk(t)
	begun, err := d.Holding(t.Context(), holding.Call{Holding: holding.Request{Ask: holding.Keys, From: now.Add(-time.Hour), To: now}})
	if err != nil || begun.ID == "" || begun.Done || len(l.events) != 0 || l.counted != 0 || !holding.Ours(l.texts[begun.ID]) || !strings.HasPrefix(l.token, "stile-holding-") {
		t.Fatalf("%+v, %v: %q by %q, %d events", begun, err, l.texts, l.token, len(l.events))
	}
	for state, want := range map[string]holding.Answer{
		"queued":    {ID: begun.ID},
		"running":   {ID: begun.ID},
		"succeeded": {ID: begun.ID, Done: true, Next: "n"},
		"stopped":   {ID: begun.ID, Done: true, Why: "the query stopped: line"},
	} {
		l.state = state
		got, err := d.Holding(t.Context(), holding.Call{Holding: holding.Request{ID: begun.ID}})
		if err != nil || got.ID != want.ID || got.Done != want.Done || got.Next != want.Next || !strings.HasPrefix(got.Why, want.Why) {
			t.Errorf("%s: %+v, %v", state, got, err)
		}
	}
	_, err = d.Holding(t.Context(), holding.Call{Holding: holding.Request{Ask: "SELECT 1", From: now.Add(-time.Hour), To: now}})
	if f := fault.From(err); f == nil || f.Code != fault.BadInput || len(l.texts) != 1 {
		t.Errorf("a text of the asker's: %v, %q", err, l.texts)
	}
}

// A function's right to ask shows it nothing of what people asked.
func TestWhatAPersonAskedIsNotToldToAFunction(t *testing.T) {
	d, _, person := desk(t)
	asked, err := d.Ask(t.Context(), person("ada", "asks"), sql("SELECT 1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{asked.ID, "none"} {
		got, err := d.Holding(t.Context(), holding.Call{Holding: holding.Request{ID: id}})
		if !fault.Is(err, fault.NotFound) || got.ID != "" || got.Done {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
}
