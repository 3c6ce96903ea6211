package query_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

func TestSQLThatCantBeKeptIsNotAsked(t *testing.T) {
	d, l, person := desk(t)
	l.full = errors.New("full")
	if _, err := d.Ask(t.Context(), person("ada", "asks"), sql("SELECT '"+strings.Repeat("x", 20<<10)+"'")); !errors.Is(err, l.full) || len(l.texts)+len(l.events) != 0 {
		t.Errorf("%v: %d started, %d events", err, len(l.texts), len(l.events))
	}
	if _, err := d.Ask(t.Context(), person("ada", "asks"), sql("SELECT 1")); err != nil || len(l.kept) != 1 {
		t.Errorf("what the event has room for: %v, %d kept", err, len(l.kept))
	}
}

func TestWhatAnEventHadNoRoomForIsForWhoSeesAllEventsAndLeavesOne(t *testing.T) {
	d, l, person := desk(t)
	l.bodies = map[string]string{"5e": "the whole"}
	body, err := d.Body(t.Context(), person("ada", "asks"), "5e")
	if err != nil || body.Text != "the whole" || body.Sha256 != "5e" || len(l.events) != 1 || l.counted != 1 {
		t.Fatalf("%+v, %v, %d events, counted %d", body, err, len(l.events), l.counted)
	}
	if e := l.events[0]; e.Type != audit.LakeRead || e.Target != "5e" || e.Actor != "user/ada" || e.Outcome != audit.Success {
		t.Errorf("%+v", e)
	}
	l.broken = errors.New("away")
	if body, err := d.Body(t.Context(), person("ada", "asks"), "5e"); err == nil || body.Text != "" {
		t.Errorf("without the ledger: %+v, %v", body, err)
	}
	l.broken, l.events = nil, nil
	if _, err := d.Body(t.Context(), person("ada", "asks"), "00"); !fault.Is(err, fault.NotFound) || len(l.events) != 0 {
		t.Errorf("%v, %d events", err, len(l.events))
	}
	for name, role := range map[string]string{"bob": "access", "below": "below"} {
		body, err := d.Body(t.Context(), person(name, role), "5e")
		if !fault.Is(err, fault.Denied) || body.Text != "" || l.events[len(l.events)-1].Outcome != audit.Denied {
			t.Errorf("%s: %+v, %v", name, body, err)
		}
	}
	l.slow = fault.New(fault.RateLimited, "too often", "wait")
	if _, err := d.Body(t.Context(), person("ada", "asks"), "5e"); !fault.Is(err, fault.RateLimited) {
		t.Error(err)
	}
}
