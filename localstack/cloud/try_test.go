package cloud_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/cloud"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/template"
)

const account, region = "111122223333", "us-east-1"

// trial is an account into which the stacks are deployed, one resource of which fails at a time. Everything is real but
// the functions, which never run: custom resources are answered at once.
type trial struct {
	*template.Deployer
	t     *testing.T
	cloud *cloud.Cloud
	fault fault
	there map[string]string // what the providers made: its properties, by type and physical id
}

// fault is a resource that fails once.
type fault struct {
	at    string // logical id
	fired bool
}

var errFault = errors.New("this resource fails in this test")

// hit reports whether it is this resource's turn to fail.
func (f *fault) hit(logicalID string) bool {
	if f.at != logicalID || f.fired {
		return false
	}
	f.fired = true
	return true
}

// watched is a provider whose resources may fail, and are written down.
type watched struct {
	resource.Provider
	trial *trial
}

func (w watched) Provision(r resource.Resource) (resource.Outcome, error) {
	if w.trial.fault.hit(r.LogicalID) {
		return resource.Outcome{}, errFault
	}
	out, err := w.Provider.Provision(r)
	if err == nil {
		text, _ := json.Marshal(r.Properties)
		w.trial.there[r.Type+" "+out.Ref] = string(text)
	}
	return out, err
}

func (w watched) Remove(r resource.Resource) error {
	err := w.Provider.Remove(r)
	if err == nil {
		delete(w.trial.there, r.Type+" "+r.PhysicalID)
	}
	return err
}

func newTrial(t *testing.T) *trial {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range functions(t) {
		write(t, path("bin/"+name), "never runs")
	}
	c, err := cloud.Open(cloud.Config{
		Account: account, Region: region, Partition: "aws", Dir: path("aws"), BinDir: path("bin"), LogDir: path("log"), RunDir: path("run"), HomeDir: path("home"),
		Balancer: path("balancer.json"), TrustFile: path("root.pem"), Endpoint: "http://127.0.0.1:9", Port: freePort, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"log", "run"} {
		if err := os.MkdirAll(path(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tr := &trial{t: t, cloud: c, there: map[string]string{}}
	t.Cleanup(func() {
		if err := c.Supervisor.Stop(context.Background(), "stile-proxy-0"); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	state, err := template.OpenState(path("aws/stacks.json"))
	if err != nil {
		t.Fatal(err)
	}
	config := template.Config{Account: account, Region: region, Partition: "aws", State: state, Log: slog.New(slog.DiscardHandler), Custom: tr.custom()}
	for _, p := range append(c.Providers(), template.NewRecorded(config)) {
		config.Providers = append(config.Providers, watched{p, tr})
	}
	if tr.Deployer, err = template.New(config); err != nil {
		t.Fatal(err)
	}
	return tr
}

func write(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func freePort(string) (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// custom answers custom resources, in place of their functions.
func (tr *trial) custom() template.Custom {
	answers := make(chan []byte, 1)
	return template.Custom{
		CodeHash: func(string) (string, error) { return "build", nil },
		Program: func(string) (string, func(context.Context, string, string) error, error) {
			return "program", func(context.Context, string, string) error { return nil }, nil
		},
		Mailbox: func(context.Context, string) (string, func(context.Context) ([]byte, bool, error), error) {
			return "", func(context.Context) ([]byte, bool, error) {
				select {
				case raw := <-answers:
					return raw, true, nil
				default:
					return nil, false, nil
				}
			}, nil
		},
		Invoke: func(_ context.Context, _ string, payload []byte) error {
			var e map[string]any
			if err := json.Unmarshal(payload, &e); err != nil {
				return err
			}
			raw, err := json.Marshal(tr.answer(e))
			answers <- raw
			return err
		},
	}
}

func (tr *trial) answer(e map[string]any) map[string]any {
	id := fmt.Sprint(e["LogicalResourceId"])
	out := map[string]any{
		"Status": "SUCCESS", "PhysicalResourceId": "made-" + id, "StackId": e["StackId"], "RequestId": e["RequestId"], "LogicalResourceId": id,
		"Data": map[string]any{"Uri": "111122223333.dkr.ecr.us-east-1.amazonaws.com/proxy@sha256:0", "Key": "agent/0"}, // nobody uses either
	}
	name := fmt.Sprint(e["ResourceType"], " made-", id)
	switch {
	case e["RequestType"] == "Delete":
		delete(tr.there, name)
	case tr.fault.hit(id):
		out["Status"], out["Reason"] = "FAILED", errFault.Error()
	default:
		raw, _ := json.Marshal(e["ResourceProperties"])
		tr.there[name] = string(raw)
	}
	return out
}

// stack is a stack of infra/templates, and a second version of it.
type stack struct {
	name       string
	parameters map[string]string
	one, two   *template.Template
}

// change is a property that the second version of every resource of a type has, so that an update changes or replaces it.
// Types that are missing have nothing that could change by itself, or refer to what changes.
var change = map[string]map[string]any{
	"AWS::ApiGateway::Deployment":              {"Description": "two"},
	"AWS::ApiGateway::RestApi":                 {"Description": "two"},
	"AWS::DynamoDB::Table":                     {"BillingMode": "PROVISIONED"},
	"AWS::EC2::SecurityGroup":                  {"GroupDescription": "two"},
	"AWS::EC2::Subnet":                         {"AvailabilityZone": "us-east-1c"},
	"AWS::ECS::TaskDefinition":                 {"Cpu": "1024"},
	"AWS::ECS::Service":                        {"HealthCheckGracePeriodSeconds": "7"},
	"AWS::ElasticLoadBalancingV2::TargetGroup": {"HealthCheckIntervalSeconds": "7"},
	"AWS::Events::Rule":                        {"Description": "two"},
	"AWS::IAM::Role":                           {"Description": "two"},
	"AWS::KMS::Key":                            {"Description": "two"},
	"AWS::Lambda::EventSourceMapping":          {"BatchSize": "7"},
	"AWS::Lambda::Function":                    {"Description": "two"},
	"AWS::Lambda::Permission":                  {"SourceArn": "arn:aws:events:us-east-1:111122223333:rule/two"},
	"AWS::Logs::LogGroup":                      {"RetentionInDays": "7"},
	"AWS::S3::Bucket":                          {"VersioningConfiguration": map[string]any{"Status": "Suspended"}},
	"AWS::SNS::Topic":                          {"DisplayName": "two"},
	"AWS::SQS::Queue":                          {"MessageRetentionPeriod": "777"},
}

// document is a template as encoding/json reads it.
func document(t *testing.T, name string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "infra", "templates", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// functions lists the programs that the templates name.
func functions(t *testing.T) (names []string) {
	for _, stack := range []string{"StileControl", "StileFleet"} {
		for _, r := range document(t, stack)["Resources"].(map[string]any) {
			metadata, _ := r.(map[string]any)["Metadata"].(map[string]any)
			if name, ok := metadata["stile:binary"].(string); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

func parse(t *testing.T, doc map[string]any) *template.Template {
	t.Helper()
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := template.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// stacks are those of infra/templates. Tables are as protected as it says.
func stacks(t *testing.T, protected bool) []stack {
	list := []stack{
		{name: "StileData"},
		{name: "StileControl", parameters: map[string]string{
			"BootstrapAdmin": "{}", "ApiAccessLogs": "on", "WebAclArn": "arn:aws:wafv2:us-east-1:111122223333:regional/webacl/acl/11111111-2222-3333-4444-555555555555",
		}},
		{name: "StileFleet", parameters: map[string]string{"DesiredCount": "0"}},
	}
	for i, s := range list {
		doc := document(t, s.name)
		if conditions, _ := doc["Conditions"].(map[string]any); conditions["WantsProxies"] != nil {
			conditions["WantsProxies"] = map[string]any{"Fn::Equals": []any{"", ""}} // no proxy is started, and what goes with them is there
		}
		each := func(do func(typ string, properties map[string]any)) {
			for _, r := range doc["Resources"].(map[string]any) {
				do(r.(map[string]any)["Type"].(string), r.(map[string]any)["Properties"].(map[string]any))
			}
		}
		each(func(typ string, properties map[string]any) {
			if typ == "AWS::DynamoDB::Table" {
				properties["DeletionProtectionEnabled"] = protected
			}
		})
		list[i].one = parse(t, doc)
		each(func(typ string, properties map[string]any) {
			maps.Copy(properties, change[typ])
			if template.IsCustom(typ) {
				properties["Build"] = "two"
			}
		})
		list[i].two = parse(t, doc)
	}
	return list
}

func (tr *trial) deploy(s stack, version *template.Template) error {
	_, err := tr.Deploy(tr.t.Context(), template.Stack{Name: s.name, Template: version, Parameters: s.parameters})
	return err
}

func (tr *trial) must(s stack, version *template.Template) {
	tr.t.Helper()
	if err := tr.deploy(s, version); err != nil {
		tr.t.Fatal(err)
	}
}

// fails has a deployment fail at a resource, and holds what there is afterwards against want.
func (tr *trial) fails(s stack, version *template.Template, id string, status template.Status, want map[string]string) {
	tr.t.Helper()
	tr.fault = fault{at: id}
	err := tr.deploy(s, version)
	tr.fault = fault{}
	if err == nil || !strings.Contains(err.Error(), errFault.Error()) || tr.State.Status(s.name) != status {
		tr.t.Fatalf("%s: the stack is in %s after: %v", id, tr.State.Status(s.name), err)
	}
	if diff := cmp.Diff(want, tr.there); diff != "" {
		tr.t.Errorf("after %s failed and was rolled back (-want +got):\n%s", id, diff)
	}
}

func TestEveryStackCanBeDeployedAfterAnyOfItsResourcesFailed(t *testing.T) {
	tr := newTrial(t)
	for _, s := range stacks(t, false) {
		for _, id := range slices.Sorted(maps.Keys(s.one.Resources)) {
			before := maps.Clone(tr.there)
			tr.fails(s, s.one, id, template.RollbackComplete, before)
			tr.must(s, s.one)
			if _, err := tr.Delete(t.Context(), s.name); err != nil {
				t.Fatalf("%s: %v", id, err)
			}
		}
		tr.must(s, s.one)
		one, two := s.one, s.two
		for _, id := range slices.Sorted(maps.Keys(s.one.Resources)) {
			before := maps.Clone(tr.there)
			tr.fails(s, two, id, template.UpdateRollbackComplete, before)
			tr.must(s, two)
			one, two = two, one
		}
	}
	for _, name := range []string{"StileFleet", "StileControl", "StileData"} {
		if _, err := tr.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tr.cloud.Authority.Role("stile-sign-user-" + region); !errors.Is(err, iam.ErrNotFound) {
		t.Errorf("a role of a stack that was deleted: %v", err)
	}
}

// Without stile:first=true the tables are protected when the creation fails, so that they can't be taken away. They are
// left behind, and in nobody's way.
func TestTablesThatAreProtectedFailARollbackButNotTheNextCreation(t *testing.T) {
	tr := newTrial(t)
	data := stacks(t, true)[0]
	tr.fault = fault{at: "TableState"} // the last one
	err := tr.deploy(data, data.one)
	if err == nil || !strings.Contains(err.Error(), "ROLLBACK_FAILED") || !strings.Contains(err.Error(), "currently protected against deletion") {
		t.Fatalf("the creation ended with: %v", err)
	}
	var left []string
	for name := range tr.there {
		left = append(left, strings.Fields(name)[0])
	}
	if diff := cmp.Diff([]string{"AWS::DynamoDB::Table", "AWS::DynamoDB::Table", "AWS::DynamoDB::Table"}, left); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
	tr.must(data, data.one)
	if tr.State.Status(data.name) != template.CreateComplete {
		t.Errorf("the stack is in %s", tr.State.Status(data.name))
	}
}

// Key policies match roles by aws:PrincipalArn, so that a role that is deleted and made again, with another id, still signs.
func TestAKeySignsForARoleThatWasMadeAgain(t *testing.T) {
	tr := newTrial(t)
	list := stacks(t, false)
	data, control := list[0], list[1]
	tr.must(data, data.one)
	gate := httptest.NewServer(tr.cloud.Gate)
	defer gate.Close()
	ids := map[string]bool{}
	for range 2 {
		tr.must(control, control.one)
		role, err := tr.cloud.Authority.Role("stile-sign-user-" + region)
		if err != nil {
			t.Fatal(err)
		}
		ids[role.ID] = true
		minted, err := tr.cloud.Authority.Mint(role.ARN, "fn", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		client := kms.New(kms.Options{
			Region: region, BaseEndpoint: &gate.URL, RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(minted.AccessKeyID, minted.SecretAccessKey, minted.SessionToken),
		})
		if _, err := client.Sign(t.Context(), &kms.SignInput{
			KeyId: new(tr.State.Outputs("StileData")["OutKeyUserSshArn"]), Message: make([]byte, 32), MessageType: types.MessageTypeDigest,
			SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
		}); err != nil {
			t.Errorf("role %s: %v", role.ID, err)
		}
		if _, err := tr.Delete(t.Context(), control.name); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != 2 {
		t.Errorf("the role that was made again has the id of the one before: %v", ids)
	}
}
