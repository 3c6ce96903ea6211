package cmd_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/cli/cmd"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/wire"
)

func TestALineOfAnEventSaysHowItWasRecordedAndWhatRan(t *testing.T) {
	e := audit.New(audit.SessionStart, strings.NewReader(strings.Repeat("x", 64)), time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC))
	e.Actor, e.TargetKind, e.Target, e.Outcome = "user/ada", "node", "web-1", audit.Success
	e.Data = map[string]string{
		"login": "root", "recording": "none, no room", "trace_id": "ktgewvfpy2hpum27hsrr62c7tw",
		"command":       "echo '\x1b]0;title\a'\nrm \"x\" " + strings.Repeat("y", 1000),
		"command_bytes": "5000",
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	line, err := cmd.EventLine(wire.LedgerEvent{Event: string(text), Standing: "proven"})
	if err != nil {
		t.Fatal(err)
	}
	want := `user/ada  node/web-1  login="root"  recording="none, no room"  command="echo '\x1b]0;title\a'\nrm \"x\" yyy`
	if !strings.Contains(line, want) || strings.Count(line, "\n") != 1 || !strings.Contains(line, `yyy"…  command_bytes="5000"`) || strings.Contains(line, "trace_id") {
		t.Errorf("the line is %q", line)
	}
	if len(line) > 400 {
		t.Errorf("a command of more than 1,000 characters has a line of %d", len(line))
	}
}

func TestAnEventIsARecordOfOCSFWithItsStanding(t *testing.T) {
	e := audit.New(audit.SessionStart, strings.NewReader(strings.Repeat("x", 64)), time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC))
	e.Cluster, e.Source, e.Actor, e.TargetKind, e.Target = "c", "agent/agt_1", "user/ada", "node", "web-1"
	e.Data = map[string]string{"certificate": "crt_1"}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := cmd.EventRecord(wire.LedgerEvent{Event: string(text), Standing: "unproven"})
	var r struct {
		ClassUID int `json:"class_uid"`
		Unmapped struct{ Standing string }
	}
	if err != nil || json.Unmarshal([]byte(out), &r) != nil || r.ClassUID != 4007 || r.Unmapped.Standing != "unproven" || strings.Count(out, "\n") != 1 {
		t.Errorf("%q, %v", out, err)
	}
	for _, bad := range []string{"{", `{"type":"session.start"}`, `{"type":"made.up"}`} {
		out, errs, err := cmd.EventRecord(wire.LedgerEvent{Event: bad})
		if out != "" || errs == "" || err != nil {
			t.Errorf("%s: %q, %q, %v", bad, out, errs, err)
		}
	}
}
