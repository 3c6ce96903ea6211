package archive_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
)

// desk has the starts of sessions, and a yard of their recordings.
type desk struct {
	*yard
	pages   [][]audit.Event
	strange int
	down    error
	late    time.Duration // after the hour began, when it is looked at
}

func (d *desk) checker() *archive.Checker {
	return archive.NewChecker(archive.CheckerConfig{
		Entry: d.Get, Ledger: d, Cluster: "stile", Keeps: 30 * 24 * time.Hour, Now: func() time.Time { return now.Add(d.late) },
		Begun: func(_ context.Context, from, to time.Time, take func([]audit.Event) error) (int, error) {
			if !from.Equal(now) || !to.Equal(now.Add(time.Hour)) {
				d.t.Errorf("asked from %s to %s", from, to)
			}
			for _, page := range d.pages {
				if err := take(page); err != nil {
					return 0, err
				}
			}
			return d.strange, d.down
		},
	})
}

// Sessions that have no entry.
const (
	gone = "ses_01hx0000000000000000000001"
	off  = "ses_01hx0000000000000000000002"
	full = "ses_01hx0000000000000000000003"
)

func start(session, agent, how string) audit.Event {
	return audit.Event{
		Type: audit.SessionStart, Time: now, Source: "agent/" + agent, Actor: "user/ada", TargetKind: "node", Target: "node-1",
		Scope: "/a", SessionID: session, Data: map[string]string{"recording": how},
	}
}

func TestSessionsWithoutTheirRecordingsAreFound(t *testing.T) {
	d := &desk{yard: newYard(t)}
	kept, left, others := d.session(now), d.session(now), d.session(now)
	e := d.entries[left]
	e.Abandoned = true
	d.entries[left] = e
	d.pages = [][]audit.Event{
		{start(kept, "agt_a", "strict"), start(gone, "agt_a", "best-effort"), start(off, "agt_a", "off")},
		{start(full, "agt_a", "none: the spool was full"), start(left, "agt_a", "strict"), start(others, "agt_b", "strict"), start(kept, "agt_a", "strict")},
	}
	for range 2 { // the second writes the same
		s, err := d.checker().Hour(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		want := checked.Statement{Check: checked.Recordings, From: now, To: now.Add(time.Hour), Looked: 4, Found: 3}
		if s != want {
			t.Errorf("%+v", s)
		}
	}
	var told []string
	ids := map[string]bool{}
	for _, e := range d.events {
		ids[e.ID] = true
		told = append(told, fmt.Sprint(e.Type, " ", e.SessionID == others, " ", e.Data["agent"], " ", e.Data["recording"], " ", e.Scope))
	}
	want := "[recording.missing false agt_a best-effort /a recording.missing true agt_b strict /a]"
	if len(told) != 4 || fmt.Sprint(told[:2]) != want || fmt.Sprint(told[2:]) != want || len(ids) != 2 {
		t.Errorf("told %q under %d ids", told, len(ids))
	}
}

func TestWhoCannotTellStatesNothing(t *testing.T) {
	d := &desk{yard: newYard(t), pages: [][]audit.Event{{start(gone, "agt_a", "strict")}}, strange: 2}
	s, err := d.checker().Hour(t.Context(), now)
	if err != nil || s.Proves() || s.Unproved != "2 events that say that sessions began are signed by no agent" {
		t.Errorf("%+v, %v", s, err)
	}
	d.down = errors.New("down")
	if _, err := d.checker().Hour(t.Context(), now); !errors.Is(err, d.down) {
		t.Errorf("the ledger can't be read: %v", err)
	}
	d.down = nil
	d.fail["ledger"] = errors.New("down")
	if _, err := d.checker().Hour(t.Context(), now); err == nil {
		t.Error("what was found was told to nobody")
	}
}

// Whoever signs events chooses what is in them: one that can't be told of, or looked up, holds up no other.
func TestAStartThatNothingCanBeDoneWithHoldsUpNothing(t *testing.T) {
	long := start(full, "agt_a", "strict")
	long.Actor, long.Target, long.Scope = strings.Repeat("\x01", 5000), strings.Repeat("é", 3000), "/"+strings.Repeat("<", 3000)
	d := &desk{yard: newYard(t), pages: [][]audit.Event{{start("ses_x", "agt_a", "strict"), start("", "agt_a", "strict"), start(strings.Repeat("x", 3000), "agt_a", "strict"), long, start(gone, "agt_a", "strict"), start(gone, "agt_b", "strict")}}}
	s, err := d.checker().Hour(t.Context(), now)
	if err != nil || s.Looked != 3 || s.Found != 3 || s.Unproved != "3 sessions that began have ids that are none" {
		t.Errorf("%+v, %v", s, err)
	}
	ids := map[string]bool{}
	for _, e := range d.events {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
		ids[e.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d are told", len(ids))
	}
}

// An hour of which the ledger has forgotten something is not one in which nothing began.
func TestAnHourThatTheLedgerForgetsIsNotProven(t *testing.T) {
	d := &desk{yard: newYard(t), late: 29*24*time.Hour + time.Minute}
	if s, err := d.checker().Hour(t.Context(), now); err != nil || s.Proves() || s.Unproved == "" {
		t.Errorf("%+v, %v", s, err)
	}
	d.late = 29 * 24 * time.Hour
	if s, err := d.checker().Hour(t.Context(), now); err != nil || !s.Proves() {
		t.Errorf("%+v, %v", s, err)
	}
}
