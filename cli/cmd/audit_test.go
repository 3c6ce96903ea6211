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

// A reason of several lines, as a YAML reader's, is still one line of the list.
func TestAReasonOfSeveralLinesIsReadOnOne(t *testing.T) {
	e := audit.New(audit.RequestRefused, strings.NewReader(strings.Repeat("x", 64)), time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC))
	e.Actor, e.Outcome, e.Reason = "user/ada", audit.Denied, "line 2 is wrong:\n\n  > 2 | a: b\r\n        ^ \x1b[2J\n"
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	line, err := cmd.EventLine(wire.LedgerEvent{Event: string(text), Standing: "refused", Why: "of two\nlines"})
	if want := `user/ada  line 2 is wrong: > 2 | a: b ^ \x1b[2J  of two lines` + "\n"; err != nil || !strings.HasSuffix(line, want) {
		t.Errorf("the line is %q, %v", line, err)
	}
}

// All that an event has is there for people, and nothing in it can pass for another field or give the terminal orders.
func TestTheEventOfADecisionIsShownWhole(t *testing.T) {
	e := audit.New(audit.SessionDenied, strings.NewReader(strings.Repeat("x", 64)), time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC))
	e.Cluster, e.Actor, e.ActorRoles, e.TargetKind, e.Target, e.Scope, e.Outcome = "c", "user/ada", []string{"access", "dev"}, "node", "web-1", "/a", audit.Denied
	e.SessionID, e.DecisionID, e.RequestID, e.SourceIP, e.Source = "ses_1", "dec_1", "req_1", "192.0.2.1", "agent/agt_1"
	e.SourceEpoch, e.SourceAfter, e.Seq = "e1", "e0:7", 12
	e.Reason = "no role allows it\nstanding       proven"
	e.Data = map[string]string{"certificate": "crt_1", "trace": "[1]\x1b[2J", "login": "root"}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	l := wire.LedgerEvent{Event: string(text), Standing: "unproven", Why: "nobody signed it", Received: e.Time}
	out, err := cmd.WholeEvents(l, wire.LedgerEvent{Event: "{", Standing: "refused"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"decision_id    dec_1\n", "type           session.denied\n", "outcome        denied\n", "reason         no role allows it standing       proven\n", "actor          user/ada\n",
		"actor_roles    access, dev\n", "target         node/web-1\n", "scope          /a\n", "session_id     ses_1\n", "source_ip      192.0.2.1\n", "source         agent/agt_1\n",
		"standing       unproven\n", "why            nobody signed it\n", "id             " + e.ID + "\n", "request_id     req_1\n", "cluster        c\n", "code           S6002W\n",
		"source_epoch   e1\n", "source_after   e0:7\n", "seq            12\n", "certificate    crt_1\nlogin          root\ntrace          [1]\\x1b[2J\n\nstanding       refused\n", "raw            {\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
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
