package audit

import (
	"fmt"
	"slices"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

// What an agent may report: what happened at its own targets, and what happened to the documents that it holds or to its own
// events.
var (
	aboutTargets = []Type{SessionStart, SessionEnd, SessionDenied, SessionResize, RecordingChunk, RecordingEnd, RecordingDamaged}
	aboutItself  = []Type{DocumentRefused, DocumentsStale, DocumentsFresh, SessionDenialsCounted}
)

// Report fails when an event is not one that this agent may report: of another source, cluster or scope, about what it
// doesn't serve, or of a type that is not an agent's to tell. Proxies ask before they write, and readers ask again.
func Report(e Event, agent identity.Host) error {
	if e.Source != "agent/"+agent.ID || e.Cluster != agent.Cluster || e.Scope != agent.Scope {
		return fmt.Errorf("%s can't report what comes from %s, cluster %s, scope %s",
			agent.ID, clip(e.Source), clip(e.Cluster), clip(e.Scope))
	}
	// They become keys, and what looks after sessions reads times in them.
	if e.SessionID != "" && !identity.ValidID("ses", e.SessionID) || e.DecisionID != "" && !identity.ValidID("dec", e.DecisionID) {
		return fmt.Errorf("%s and %s are no ids of a session and a decision", clip(e.SessionID), clip(e.DecisionID))
	}
	switch target := (identity.Target{Kind: e.TargetKind, Name: e.Target}); {
	case slices.Contains(aboutTargets, e.Type):
		if !resource.IsTargetKind(target.Kind) || !agent.Serves(target) {
			return fmt.Errorf("the agent doesn't serve %s", clip(target.String()))
		}
	case slices.Contains(aboutItself, e.Type):
		if e.TargetKind != "" || e.Target != "" {
			return fmt.Errorf("an event %s names no target, so not %s", e.Type, clip(target.String()))
		}
	default:
		return fmt.Errorf("an agent may not report %q", clip(string(e.Type)))
	}
	return e.Received()
}

func clip(s string) string { return s[:min(len(s), 64)] }
