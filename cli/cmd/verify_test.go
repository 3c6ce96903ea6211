package cmd_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// hour is one of the day of noon, by when it begins.
func hour(n int) time.Time { return noon.Truncate(24 * time.Hour).Add(time.Duration(n) * time.Hour) }

// states has sweep state an hour.
func (b *books) states(check string, n, looked, found int, unproved string) {
	s := checked.Statement{Check: check, From: hour(n), To: hour(n + 1), Looked: looked, Found: found, Unproved: unproved}
	b.tells(s, "function/sweep", "proven")
}

func (b *books) tells(s checked.Statement, writer, standing string) {
	b.t.Helper()
	at := s.To.Add(40 * time.Minute)
	e := s.Event("c", writer, rand.Reader, at)
	text, err := json.Marshal(e)
	if err != nil {
		b.t.Fatal(err)
	}
	b.put(at, wire.LedgerEvent{Event: string(text), Received: at, Standing: standing})
}

// proves has all checks but those that are left out prove hours of the day of noon.
func (b *books) proves(from, to int, but ...string) {
	for _, check := range checked.Checks {
		for n := from; n < to && (len(but) == 0 || check != but[0]); n++ {
			b.states(check, n, 3, 0, "")
		}
	}
}

// verify asks about the nine hours before nine o'clock, which all have their statements at noon.
func (x *exporter) verify(args ...string) (said string, status int) {
	x.t.Helper()
	var out bytes.Buffer
	status, err := x.Verify(x.t.Context(), x.now, &out, append([]string{"--since", "12h"}, args...)...)
	if err != nil {
		x.t.Fatal(err)
	}
	return out.String(), status
}

func TestHoursThatAreProvenAreSaidToBe(t *testing.T) {
	x := newExporter(t)
	x.proves(0, 9)
	said, status := x.verify()
	if want := "in 9 of 9 hours: 27 looked at"; status != 0 || strings.Count(said, want) != len(checked.Checks) || !strings.HasSuffix(said, "\nAll is as it should be, as far as these checks go\n") {
		t.Errorf("%d: %s", status, said)
	}
}

func TestWhatIsFoundIsShownWithWhereToLook(t *testing.T) {
	x := newExporter(t)
	x.proves(0, 9, checked.Recordings)
	for n := range 9 {
		x.states(checked.Recordings, n, 5, n/8, "")
	}
	said, status := x.verify()
	if status != 1 || !strings.Contains(said, "1 of 5; see: stile audit ls --since 2026-11-27T08:00:00Z --type recording.missing,recording.abandoned\n") || !strings.HasSuffix(said, "\nSomething is wrong, or missing\n") {
		t.Errorf("%d: %s", status, said)
	}
}

func TestColumnsThatDoNotArriveAreNamed(t *testing.T) {
	x := newExporter(t)
	x.proves(0, 9, checked.Canaries)
	for n := range 9 {
		s := checked.Statement{Check: checked.Canaries, From: hour(n), To: hour(n + 1), Looked: 24}
		if n == 8 {
			s.Found, s.Which = 2, "actor_roles, \x1b[31mdata"
		}
		x.tells(s, "function/sweep", "proven")
	}
	said, status := x.verify()
	if status != 1 || !strings.Contains(said, "2 of 24: actor_roles, ") || !strings.Contains(said, "; see: stile audit ls --since 2026-11-27T08:00:00Z --type evidence.checked\n") || strings.Contains(said, "\x1b") {
		t.Errorf("%d: %q", status, said)
	}
}

// A check that doesn't run must not look like one that finds nothing.
func TestHoursWithoutStatementsAreNotProven(t *testing.T) {
	x := newExporter(t)
	x.proves(0, 9, checked.Sequences)
	x.states(checked.Sequences, 0, 1, 0, "")
	x.states(checked.Sequences, 1, 1, 0, "2 events were \x1b[31m signed by nobody")
	forged := checked.Statement{Check: checked.Sequences, From: hour(2), To: hour(3)}
	x.tells(forged, "agent/agt_1", "proven") // by somebody else
	x.tells(forged, "function/sweep", "unproven")
	x.book(hour(3), func(e *audit.Event) {
		e.Type, e.Data = audit.EvidenceChecked, map[string]string{"check": checked.Sequences}
	})
	said, status := x.verify()
	if status != 1 || !strings.HasSuffix(said, "\nNothing is wrong, but not everything could be proven\n") || strings.Contains(said, "\x1b") {
		t.Errorf("%d: %q", status, said)
	}
	said, status = x.verify("--format", "json")
	var p struct {
		Wrong, Whole bool
		Findings     []struct {
			Kind, Check, Text string
			Since, Until      time.Time
		}
	}
	if err := json.Unmarshal([]byte(said), &p); err != nil || status != 1 || p.Wrong || p.Whole {
		t.Fatalf("%d, %v: %s", status, err, said)
	}
	unproven := 0
	for _, f := range p.Findings {
		if f.Kind != "unproven" {
			continue
		}
		unproven++
		switch {
		case f.Check != checked.Sequences:
			t.Errorf("%+v", f)
		case f.Since.Equal(hour(1)) && f.Until.Equal(hour(2)) && strings.HasPrefix(f.Text, "2 events"):
		case f.Since.Equal(hour(2)) && f.Until.Equal(hour(9)) && strings.HasPrefix(f.Text, "not checked"):
		default:
			t.Errorf("%+v", f)
		}
	}
	if unproven != 2 {
		t.Errorf("%+v", p.Findings)
	}
}

func TestWhoSeesNoStatementsIsToldSo(t *testing.T) {
	x := newExporter(t)
	_, err := x.Verify(t.Context(), x.now, &bytes.Buffer{}, "--since", "12h")
	if f := fault.From(err); f == nil || f.Code != fault.NotFound || f.Hint == "" {
		t.Errorf("%v", err)
	}
	x.proves(0, 9)
	for _, args := range [][]string{{"--since", "3h"}, {"--since", "10h", "--until", "9h30m"}, {"--since", ""}} {
		_, err := x.Verify(t.Context(), x.now, &bytes.Buffer{}, args...)
		if f := fault.From(err); f == nil || f.Code != fault.BadInput || f.Hint == "" {
			t.Errorf("%q: %v", args, err)
		}
	}
}
