package integration_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What docs/audit.md says finds the event of a denial by the decision's id: for who sees the event, and for nobody else.
func TestADecisionIsFoundAsTheDocumentationSays(t *testing.T) {
	doc, err := os.ReadFile("../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^stile (audit ls --decision) dec_…$`).FindSubmatch(doc)
	alice, boss := shared.person(t, engineer).login(t), shared.person(t, admin).login(t)
	r := alice.run(t, nil, "get", "users")
	r.refused(t, 4)
	said := regexp.MustCompile(`stile: decision: (dec_\w+)`).FindStringSubmatch(r.err)
	if command == nil || said == nil {
		t.Fatalf("command %q, decision %q in %s", command, said, r.err)
	}
	look := append(strings.Fields(string(command[1])), said[1])
	for who, p := range map[string]*person{"an administrator": boss, "whom it is about": alice} {
		found := p.must(t, look...)
		for _, want := range []string{"decision_id", said[1], "user/alice", "request.refused", "alice may not list user: ", "proven", "certificate"} {
			if !strings.Contains(found, want) {
				t.Errorf("%s finds no %s in\n%s", who, want, found)
			}
		}
		if found = p.must(t, append(look, "--format", "ndjson")...); strings.Count(found, "\n") != 1 || !strings.Contains(found, `"decision_id":"`+said[1]+`"`) {
			t.Errorf("%s finds %s", who, found)
		}
	}
	other := boss.mallory(t)
	unseen, none := other.run(t, nil, look...), other.run(t, nil, "audit", "ls", "--decision", "dec_01hv0000000000000000000000")
	unseen.refused(t, none.status, "that your roles let you see")
	if strings.ReplaceAll(unseen.err, said[1], "") != strings.ReplaceAll(none.err, "dec_01hv0000000000000000000000", "") || unseen.out != "" {
		t.Errorf("another user can tell\n%s from\n%s", unseen.err, none.err)
	}
}

func TestWhatGetPrintsIsTakenByCreate(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	for kind, builtin := range map[string]string{"roles": "role/editor", "iam_mappings": "iam_mapping/bootstrap"} {
		r := boss.run(t, strings.NewReader(boss.must(t, "get", kind, "--format", "yaml")), "create", "--replace", "-f", "-")
		if r.status != 0 || !strings.Contains(r.out, builtin+" unchanged") {
			t.Errorf("%s: %d\n%s%s", kind, r.status, r.out, r.err)
		}
	}
	secret := "kind: token\nmetadata: {name: past}\nspec:\n  method: token\n  resources: [node]\n  names: [past]\n  expires: 2020-01-01T00:00:00Z\n"
	boss.run(t, strings.NewReader(secret), "create", "-f", "-").refused(t, 2, "line 7, column 3: spec.expires: it must be in the future")
}

// As rsync and git call it, with the login before the node.
func TestTheLoginMayStandInAnOption(t *testing.T) {
	p := shared.person(t, engineer).login(t)
	me := strings.TrimSpace(p.must(t, "ssh", "node-1", "--", "id", "-un"))
	if got := p.must(t, "ssh", "-l", me, "nobody@node-1", "id", "-un"); strings.TrimSpace(got) != me {
		t.Errorf("got %q", got)
	}
	p.run(t, nil, "ssh", "-l", "nobody", me+"@node-1", "true").refused(t, 255, "nobody")
}
