package integration_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// deploy deploys the system with settings. Nothing is deleted.
func (s *system) deploy(t *testing.T, settings map[string]string) {
	t.Helper()
	if err := s.tryDeploy(t, settings); err != nil {
		t.Fatalf("deploying with %v: %v", settings, err)
	}
}

// tryDeploy deploys the system with settings, which the CDK app finds where the CDK's command line puts them.
func (s *system) tryDeploy(t *testing.T, settings map[string]string) error {
	t.Helper()
	context, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	app := exec.Command("go", "-C", filepath.Join(repository, "infra"), "run", ".", "-write", filepath.Join(s.Root, "infra/templates"))
	app.Env = append(os.Environ(), "CDK_CONTEXT_JSON="+string(context))
	if out, err := app.CombinedOutput(); err != nil {
		t.Fatalf("synthesising with %s: %v\n%s", context, err, out)
	}
	if err := s.ReaderRole(); err != nil {
		t.Fatal(err)
	}
	_, err = s.up()
	return err
}

// works waits until somebody's command runs on a node.
func (p *person) works(t *testing.T, node string) {
	t.Helper()
	eventually(t, 30*time.Second, func() string {
		if r := p.run(t, nil, "ssh", node, "--", "echo", "here"); r.status != 0 || r.out != "here\n" {
			return fmt.Sprintf("ssh ended with %d: %s%s", r.status, r.out, r.err)
		}
		return ""
	})
}

// A key of people is replaced by a deployment: what the one before signed is worth nothing, and people log in again.
func TestSec_S73_AReplacedKeyIsWorthNothingAfterTheNextDeployment(t *testing.T) {
	s := apart(t)
	p := s.person(t, engineer).login(t)
	p.works(t, "node-1")
	held := p.session(t, "node-1")

	s.deploy(t, map[string]string{"stile:generation:user-ssh": "2"})
	eventually(t, 30*time.Second, func() string { // until the agent has the new trust document
		if r := p.run(t, nil, "ssh", "node-1", "--", "true"); r.status == 0 {
			return "the node still takes a certificate of the key before"
		}
		return ""
	})
	p.run(t, nil, "ssh", "node-1", "--", "true").refused(t, 255, "not from this cluster's authority", "log in")
	p.must(t, "ls") // the API knows people by the other key
	if !held.lives() {
		t.Errorf("the session that was open has ended: %s", held.err.String())
	}
	p.login(t).works(t, "node-1")

	s.deploy(t, map[string]string{"stile:generation:user-ssh": "2", "stile:generation:user-x509": "2"})
	p.run(t, nil, "ls").refused(t, 3, "not from this cluster's authority", "log in")
	p.login(t).works(t, "node-1")
	p.must(t, "ls")
}

// When the policy key is replaced, sessions go on and nobody has to log in again.
func TestSec_S73_APolicyKeyIsReplacedAndNothingStops(t *testing.T) {
	s := apart(t)
	p := s.person(t, engineer).login(t)
	p.works(t, "node-1")
	held := p.session(t, "node-1")
	s.deploy(t, map[string]string{"stile:generation:policy": "2", "stile:former-keys": "1234abcd-12ab-34cd-56ef-1234567890ab"})
	s.person(t, admin).login(t).create(t, "kind: role\nmetadata: {name: later}\nspec:\n  allow: {logins: [x], node_labels: {a: b}}\n")
	p.must(t, "ls")
	p.works(t, "node-1")
	if !held.lives() {
		t.Errorf("the session that was open has ended: %s", held.err.String())
	}
	s.killed(t, "node-1")
	p.works(t, "node-1")
}

// A table is restored under another name, and takes the place of the one before with the next deployment.
func TestARestoredTableTakesTheFormerOnesPlace(t *testing.T) {
	const name = "stile-state-restored"
	s := apart(t)
	p := s.person(t, engineer).login(t)
	boss := s.person(t, admin).login(t)
	boss.create(t, "kind: role\nmetadata: {name: kept}\nspec:\n  allow: {logins: [x], node_labels: {a: b}}\n")
	db := dynamodb.NewFromConfig(s.readerConfig(t))
	former := s.environment(t, s.aProxy(t))["STILE_TABLE_STATE"]
	restore(t, db, former, name)
	prepare(t, db, name)
	s.deploy(t, map[string]string{"stile:table:state": name, "stile:epoch": "2"})

	if now := s.environment(t, s.aProxy(t))["STILE_TABLE_STATE"]; now != name {
		t.Errorf("the proxy has the table %s, which was %s", now, former)
	}
	p.login(t).works(t, "node-1")
	boss.login(t) // nobody's certificate of before is good
	if out := boss.must(t, "get", "role/kept"); !strings.Contains(out, "kept") {
		t.Errorf("the restored role is %s", out)
	}
	before := itemsOf(t, db, former)
	if before["role/kept"] == "" {
		t.Error("the former table is not retained")
	}
	boss.create(t, "kind: role\nmetadata: {name: later}\nspec:\n  allow: {logins: [x], node_labels: {a: b}}\n")
	if got := itemsOf(t, db, name)["role/later"]; got == "" {
		t.Error("a new role is not in the restored table")
	}
	if after := itemsOf(t, db, former); len(after) != len(before) || after["role/later"] != "" {
		t.Errorf("something was written to the former table: %d items after %d", len(after), len(before))
	}
}

// restore makes what a restore to a point in time makes: the items under another name, without stream, expiry and protection.
func restore(t *testing.T, db *dynamodb.Client, from, to string) {
	t.Helper()
	key := func(name string, kind types.KeyType) types.KeySchemaElement {
		return types.KeySchemaElement{AttributeName: &name, KeyType: kind}
	}
	text := func(name string) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS}
	}
	if _, err := db.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &to, BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{key("pk", types.KeyTypeHash), key("sk", types.KeyTypeRange)},
		AttributeDefinitions: []types.AttributeDefinition{text("pk"), text("sk")},
	}); err != nil {
		t.Fatal(err)
	}
	pages := dynamodb.NewScanPaginator(db, &dynamodb.ScanInput{TableName: &from, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			if _, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &to, Item: item}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// prepare switches on what docs/deploy.md says.
func prepare(t *testing.T, db *dynamodb.Client, name string) {
	t.Helper()
	if _, err := db.UpdateTable(t.Context(), &dynamodb.UpdateTableInput{
		TableName:           &name,
		StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages},
	}); err != nil {
		t.Fatal(err)
	}
	prepareExpiry(t, db, name)
}

// prepareExpiry switches on what it says of a table without a stream.
func prepareExpiry(t *testing.T, db *dynamodb.Client, name string) {
	t.Helper()
	if _, err := db.UpdateTable(t.Context(), &dynamodb.UpdateTableInput{TableName: &name, DeletionProtectionEnabled: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.UpdateTimeToLive(t.Context(), &dynamodb.UpdateTimeToLiveInput{
		TableName:               &name,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)},
	}); err != nil {
		t.Fatal(err)
	}
}

// itemsOf is one table's items by pk/sk.
func itemsOf(t *testing.T, db *dynamodb.Client, table string) map[string]string {
	t.Helper()
	all := map[string]string{}
	pages := dynamodb.NewScanPaginator(db, &dynamodb.ScanInput{TableName: &table, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			all[text(item["pk"])+"/"+text(item["sk"])] = plain(item)
		}
	}
	return all
}

// An API gets a domain of its own later: the next deployment tells it to the proxies, and to whoever reads the output.
func TestAnAPIURLThatIsAdoptedLaterReachesTheProxies(t *testing.T) {
	s := apart(t)
	p := s.person(t, engineer)
	first, err := url.Parse(p.Env["STILE_API"])
	if err != nil {
		t.Fatal(err)
	}
	if got := s.environment(t, s.aProxy(t))["STILE_API"]; got != first.String() {
		t.Errorf("the proxy has %s, people %s", got, first)
	}
	own := "https://localhost:" + first.Port() + first.Path

	s.deploy(t, map[string]string{"stile:api-url": own})
	eventually(t, 30*time.Second, func() string {
		if got := s.environment(t, s.aProxy(t))["STILE_API"]; got != own {
			return fmt.Sprintf("the proxy still has %s, not %s", got, own)
		}
		return ""
	})
	later := s.person(t, engineer)
	if later.Env["STILE_API"] != own {
		t.Errorf("people are told %s", later.Env["STILE_API"])
	}
	later.login(t).works(t, "node-1")
}
