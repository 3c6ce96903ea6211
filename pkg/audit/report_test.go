package audit_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
)

func TestSec_S63_AnAgentReportsOnlyWhatIsItsOwn(t *testing.T) {
	agent := identity.Host{
		Kind: identity.KindAgent, ID: "agt_01hv0000000000000000000000", Cluster: "c", Scope: "/payments",
		Targets: []identity.Target{{Kind: "node", Name: "web-1"}, {Kind: "db", Name: "orders"}},
	}
	report := func(kind audit.Type, target, name string, change ...func(*audit.Event)) error {
		e := audit.New(kind, rand.Reader, now)
		e.Actor, e.Cluster, e.Source, e.Scope, e.TargetKind, e.Target = "user/ada", "c", "agent/"+agent.ID, "/payments", target, name
		e.Outcome, e.Reason, e.Data = audit.Failure, "because", always(kind)
		for _, c := range change {
			c(&e)
		}
		return audit.Report(e, agent)
	}
	for name, err := range map[string]error{
		"a session":          report(audit.SessionStart, "node", "web-1"),
		"by the agent's id":  report(audit.SessionDenied, "node", agent.ID),
		"of another kind":    report(audit.SessionEnd, "db", "orders"),
		"a terminal's size":  report(audit.SessionResize, "node", "web-1"),
		"a refused document": report(audit.DocumentRefused, "", ""),
		"stale documents":    report(audit.DocumentsStale, "", ""),
		"fresh ones":         report(audit.DocumentsFresh, "", ""),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := report(audit.SessionStart, "node", "web-1", func(e *audit.Event) { e.Data["of_tomorrow"] = "x" }); err != nil {
		t.Errorf("what an agent of a newer release says of a session's start is refused: %v", err)
	}
	for name, err := range map[string]error{
		"another's target":        report(audit.SessionStart, "node", "web-2"),
		"another target's size":   report(audit.SessionResize, "node", "web-2"),
		"a target of other kind":  report(audit.SessionStart, "db", "web-1"),
		"what is no target":       report(audit.SessionStart, "role", "editor"),
		"its id as no target":     report(audit.SessionStart, "role", agent.ID),
		"no target":               report(audit.SessionStart, "", ""),
		"documents of a target":   report(audit.DocumentsStale, "node", "web-1"),
		"a login":                 report(audit.UserLogin, "", ""),
		"what nobody knows":       report("made.up", "node", "web-1"),
		"in another's name":       report(audit.SessionStart, "node", "web-1", func(e *audit.Event) { e.Source = "agent/agt_2" }),
		"a session of no id":      report(audit.SessionStart, "node", "web-1", func(e *audit.Event) { e.SessionID = "ses_x" }),
		"a session too long":      report(audit.SessionStart, "node", "web-1", func(e *audit.Event) { e.SessionID = "ses_" + strings.Repeat("0", 3000) }),
		"a decision of no id":     report(audit.SessionDenied, "node", "web-1", func(e *audit.Event) { e.DecisionID = "dec_x" }),
		"a number beyond columns": report(audit.SessionStart, "node", "web-1", func(e *audit.Event) { e.Seq = 1 << 63 }),
		"a time beyond all":       report(audit.SessionStart, "node", "web-1", func(e *audit.Event) { e.Time = e.Time.AddDate(500, 0, 0) }),
		"of another cluster":      report(audit.SessionStart, "node", "web-1", func(e *audit.Event) { e.Cluster = "d" }),
		"in another scope":        report(audit.SessionStart, "node", "web-1", func(e *audit.Event) { e.Scope = "/" }),
		"a key of no shape":       report(audit.SessionStart, "node", "web-1", func(e *audit.Event) { e.Data["Of\x1b"] = "x" }),
		"a lack of what it must":  report(audit.SessionStart, "node", "web-1", func(e *audit.Event) { delete(e.Data, "certificate"); e.Data["more"] = "x" }),
		"an event without actors": report(audit.SessionStart, "node", "web-1", func(e *audit.Event) { e.Actor = "" }),
	} {
		if err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
