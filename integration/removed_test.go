package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is created after StileData was deleted is another cluster. Nobody who knew the old one takes it for that one, and
// each is told what to do.
func TestAClusterThatWasRemovedAndCreatedAgainIsAnother(t *testing.T) {
	s := apart(t)
	p := s.person(t, engineer).login(t)
	for _, stack := range []string{"StileFleet", "StileControl", "StileData"} {
		out, err := s.Localstack(t.Context(), "delete", stack)
		if err != nil || !strings.HasPrefix(out, stack+" is deleted\n") {
			t.Fatalf("%v: %s", err, out)
		}
		if kept := strings.Count(out, "  kept AWS::DynamoDB::Table "); stack == "StileData" && kept != 4 {
			t.Errorf("%d tables were kept:\n%s", kept, out)
		}
	}
	p.run(t, nil, "ls").refused(t, 6, "there is no Stile API at")

	const another = "the API now shows another cluster's keys than at your last login"
	if _, err := s.up(); err == nil || !strings.Contains(err.Error(), another) {
		t.Fatalf("up with an administrator who knows the old cluster: %v", err)
	}
	known, err := s.Person(admin, s.AgentHome("ada"))
	if err != nil {
		t.Fatal(err)
	}
	boss := &person{known}
	boss.run(t, nil, "login", "--iam").refused(t, 3, another, "stile logout --forget")
	p.run(t, nil, "login", "--iam").refused(t, 4, "no iam_mapping admits") // until the administrator has set it up
	eventually(t, time.Minute, func() string {
		log, err := os.ReadFile(filepath.Join(s.State, "log/node-1.log"))
		if err != nil {
			return err.Error()
		}
		if !strings.Contains(string(log), "the certificate is not from this cluster's authority") {
			return "the agent doesn't say that the proxy is of another cluster"
		}
		return ""
	})

	boss.must(t, "logout", "--forget")
	p.must(t, "logout", "--forget")
	if err := s.down(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.AgentHome("node-1"), "state")); err != nil {
		t.Fatal(err)
	}
	if out, err := s.up(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.login(t)
	if out := p.must(t, "ssh", "node-1", "--", "echo", "again"); out != "again\n" {
		t.Errorf("the node answered %q", out)
	}
}
