package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

// The state table is restored to an earlier time and put in place with a new epoch: agents take its documents without joining
// again, and nobody's certificate of before is good, whether it was revoked since or not.
func TestSec_S89_ATableOfAnEarlierTimeIsPutInPlaceByAnEpoch(t *testing.T) {
	s := apart(t)
	boss := s.person(t, admin).login(t)
	boss.create(t, simpleRole("kept"))
	early := s.person(t, engineer).login(t)
	early.works(t, "node-1")
	db := dynamodb.NewFromConfig(s.readerConfig(t))
	former := s.environment(t, s.aProxy(t))["STILE_TABLE_STATE"]
	restore(t, db, former, "stile-state-2") // the backup

	boss.create(t, simpleRole("later"))
	boss.create(t, record("alice", "auditor"))
	boss.must(t, "rm", "user/alice")
	early.run(t, nil, "ls").refused(t, 3, "revoked", "stile login")
	late := s.person(t, engineer).login(t)
	late.works(t, "node-1")
	joined := s.joined(t)

	prepare(t, db, "stile-state-2")
	s.deploy(t, map[string]string{"stile:table:state": "stile-state-2", "stile:epoch": "2"})
	for who, p := range map[string]*person{"revoked after the backup": early, "logged in after it": late} {
		t.Log(who)
		p.run(t, nil, "ls").refused(t, 3, "revoked", "stile login")
		p.run(t, nil, "ssh", "node-1", "--", "true").refused(t, 255, "revoked", "stile login")
	}
	boss.login(t)
	boss.must(t, "get", "role/kept")
	boss.run(t, nil, "get", "role/later").refused(t, 5, "no role")
	early.login(t).works(t, "node-1")
	s.decidesBy(t, "trust=2.1 policy=2.")
	if again := s.joined(t); again != joined {
		t.Errorf("%d joins were recorded, %d before", again, joined)
	}

	// Restored once more: the table knows nothing of epoch 2, and the bucket does.
	restore(t, db, former, "stile-state-3")
	prepare(t, db, "stile-state-3")
	err := s.tryDeploy(t, map[string]string{"stile:table:state": "stile-state-3", "stile:epoch": "2"})
	if err == nil || !strings.Contains(err.Error(), "stile:epoch=3") {
		t.Fatalf("an epoch was begun twice: %v", err)
	}
	s.deploy(t, map[string]string{"stile:table:state": "stile-state-3", "stile:epoch": "3"})
	early.login(t).works(t, "node-1")
	s.decidesBy(t, "trust=3.1 policy=3.")
}

// TestSec_S92_AnAgentThatRenewedSinceTheBackupGoesOn: both tables are restored under other names. Its first renewal in the new
// epoch passes, with an event, and after that a copy of its older key is one; so is what was superseded before the backup.
func TestSec_S92_AnAgentThatRenewedSinceTheBackupGoesOn(t *testing.T) {
	s := apart(t)
	db := dynamodb.NewFromConfig(s.readerConfig(t))
	p, other := node{s.person(t, "env.node"), "node-restored"}, node{s.person(t, "env.node"), "node-elder"}
	superseded := other.next(t, nil)
	elder := other.next(t, other.next(t, superseded))
	backedUp := p.next(t, nil)
	settings := map[string]string{"stile:epoch": "2"}
	for _, table := range []string{"state", "secrets"} {
		name := "stile-" + table + "-2"
		restore(t, db, s.table(t, db, table), name) // the backup
		settings["stile:table:"+table] = name
	}
	between := p.next(t, backedUp)
	own := p.next(t, between)

	prepare(t, db, "stile-state-2")
	prepareExpiry(t, db, "stile-secrets-2")
	s.deploy(t, settings)
	now := p.next(t, own)
	if now.credential.ID != backedUp.credential.ID {
		t.Errorf("%s became %s", backedUp.credential.ID, now.credential.ID)
	}
	now = p.next(t, p.next(t, now))
	of := func(kind audit.Type, id string) []audit.Event {
		return s.recorded(t, func(e audit.Event) bool { return e.Type == kind && e.Actor == "agent/"+id })
	}
	if all := of(audit.AgentUnjudged, now.credential.ID); len(all) != 1 || all[0].Data["shown"] != own.credential.CertificateID ||
		all[0].Data["restored"] != backedUp.credential.CertificateID || all[0].Data["epoch"] != "2" {
		t.Errorf("recorded is %+v", all)
	}
	_, err := p.renew(t, between)
	refusedAs(t, err, fault.Quarantined)
	_, err = p.renew(t, now)
	refusedAs(t, err, fault.Quarantined)

	_, err = other.renew(t, superseded)
	refusedAs(t, err, fault.Quarantined)
	_, err = other.renew(t, elder)
	refusedAs(t, err, fault.Quarantined)
	for _, id := range []string{now.credential.ID, elder.credential.ID} {
		if all := of(audit.AgentCopied, id); len(all) != 1 {
			t.Errorf("recorded of %s is %+v", id, all)
		}
	}
}

// table is the name of one of the deployment's tables.
func (s *system) table(t *testing.T, db *dynamodb.Client, purpose string) string {
	t.Helper()
	out, err := db.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range out.TableNames {
		if strings.Contains(strings.ToLower(name), purpose) {
			return name
		}
	}
	t.Fatalf("no table of %s among %v", purpose, out.TableNames)
	return ""
}

func simpleRole(name string) string {
	return fmt.Sprintf("kind: role\nmetadata: {name: %s}\nspec:\n  allow: {logins: [x], node_labels: {a: b}}\n", name)
}

// joined counts the joins of agents in the ledger.
func (s *system) joined(t *testing.T) int {
	t.Helper()
	return len(s.recorded(t, func(e audit.Event) bool { return e.Type == audit.AgentJoin }))
}

// decidesBy waits until the ledger holds a session that an agent has admitted by documents of these versions.
func (s *system) decidesBy(t *testing.T, versions string) {
	t.Helper()
	eventually(t, 30*time.Second, func() string {
		if len(s.recorded(t, func(e audit.Event) bool {
			return e.Type == audit.SessionStart && strings.HasPrefix(e.Data["versions"], versions)
		})) == 0 {
			return "no session was admitted by " + versions
		}
		return ""
	})
}
