package integration_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What docs/audit.md scans the ledger for has the event of a denial, with the decision's id.
func TestADecisionIsFoundAsTheDocumentationSays(t *testing.T) {
	doc, err := os.ReadFile("../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^stile (audit ls .*) \| grep dec_…$`).FindSubmatch(doc)
	r := shared.person(t, engineer).login(t).run(t, nil, "get", "users")
	r.refused(t, 4)
	said := regexp.MustCompile(`stile: decision: (dec_\w+)`).FindStringSubmatch(r.err)
	if command == nil || said == nil {
		t.Fatalf("command %q, decision %q in %s", command, said, r.err)
	}
	var found []string
	for line := range strings.Lines(shared.person(t, admin).login(t).must(t, strings.Fields(string(command[1]))...)) {
		if strings.Contains(line, said[1]) {
			found = append(found, line)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d events: %v", len(found), found)
	}
	for _, want := range []string{`"decision_id":"` + said[1] + `"`, `"actor":"user/alice"`, `"target_kind":"user"`, `"reason":"alice may not list user`, `"standing":"proven"`} {
		if !strings.Contains(found[0], want) {
			t.Errorf("no %s in %s", want, found[0])
		}
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
