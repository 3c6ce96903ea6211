package audit_test

import (
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

func TestAFilterChoosesByEachOfItsFields(t *testing.T) {
	for name, c := range map[string]struct {
		types, actor, target, outcome string
		match                         bool
	}{
		"nothing":              {match: true},
		"its type":             {types: "session.denied", match: true},
		"another type":         {types: "session.start"},
		"one of two types":     {types: "user.login,session.denied", match: true},
		"its group":            {types: "session", match: true},
		"another group":        {types: "recording,user"},
		"its actor":            {actor: "user/alice", match: true},
		"its user":             {actor: "alice", match: true},
		"another actor":        {actor: "user/bob"},
		"part of a name":       {actor: "user/ali"},
		"nobody known":         {actor: "unknown"},
		"an agent of the name": {actor: "agent/alice"},
		"its target":           {target: "node/node-1", match: true},
		"another target":       {target: "node/node-2"},
		"of another kind":      {target: "user/node-1"},
		"its kind as listed":   {target: "nodes/node-1", match: true},
		"its outcome":          {outcome: "denied", match: true},
		"another outcome":      {outcome: "success"},
		"all of its fields":    {types: "session", actor: "alice", target: "node/node-1", outcome: "denied", match: true},
		"all but one":          {types: "session", actor: "alice", target: "node/node-1", outcome: "failure"},
	} {
		f, err := audit.ParseFilter(c.types, c.actor, c.target, c.outcome)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f.Match(full()) != c.match {
			t.Errorf("%s: %v", name, !c.match)
		}
	}
}

func TestAFilterThatCanMatchNothingIsRefused(t *testing.T) {
	for _, c := range [][4]string{
		{"session.begun"},
		{"sessions"},
		{"session.start,"},
		{"session.start, user.login"},
		{"session."},
		{"S6000I"},
		{"", "Alice B"},
		{"", "user/"},
		{"", "robot/alice"},
		{"", "/"},
		{"", "", "web-1"},
		{"", "", "node/"},
		{"", "", "node/*"},
		{"", "", "node/WEB-1"},
		{"", "", "user/a b"},
		{"", "", "nodez/web-1"},
		{"", "", "/web-1"},
		{"", "", "", "ok"},
	} {
		if _, err := audit.ParseFilter(c[0], c[1], c[2], c[3]); fault.From(err) == nil || len(fault.From(err).Fields) != 1 {
			t.Errorf("%q: %v", c, err)
		}
	}
	for _, target := range []string{"iam_mapping/siem", "iam-mappings/siem", "mapping/siem"} {
		if f, err := audit.ParseFilter("", "", target, ""); err != nil || f.Target != "iam_mapping/siem" {
			t.Errorf("%s: %q, %v", target, f.Target, err)
		}
	}
	for _, target := range []string{"user/alice@example.com", "certificate/crt_1", "document/policy/0f", "audit/sql", "recording/ses_1", "agent/agt_1", "function/admin", "key/0f"} {
		if f, err := audit.ParseFilter("", "", target, ""); err != nil || f.Target != target {
			t.Errorf("%s: %q, %v", target, f.Target, err)
		}
	}
	if _, err := audit.ParseFilter("", "", "nodez/web-1", ""); !strings.Contains(err.Error(), "role, user, iam_mapping, token, settings, node") || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the kinds there are aren't said: %v", err)
	}
	if _, err := audit.ParseFilter("x", "", "y", "z"); fault.From(err) == nil || len(fault.From(err).Fields) != 3 {
		t.Errorf("%v", err)
	}
}
