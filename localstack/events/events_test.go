package events_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/events"
	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

const account = "111122223333"

// open returns the service, and a client whose role may put events on the bus "audit" only.
func open(t *testing.T, dir string, onRule func(events.Rule) error, onEvent ...func(events.Rule, events.Target, []byte) error) (*events.Service, *eventbridge.Client) {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	role, err := a.PutRole(iam.Role{
		Name:  "relay",
		Trust: json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Statement":{"Effect":"Allow","Action":"events:PutEvents",` +
			`"Resource":["arn:aws:events:us-east-1:` + account + `:event-bus/audit","arn:aws:events:us-east-1:` + account + `:event-bus/gone"]}}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Mint(role.ARN, "fn", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	config := events.Config{Dir: dir, Authority: a, OnRule: onRule}
	if len(onEvent) > 0 {
		config.OnEvent = onEvent[0]
	}
	s, err := events.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(gate.Config{Authority: a, Services: []gate.Service{s}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(func() {
		server.Close()
		for _, err := range []error{s.Close(), a.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return s, eventbridge.New(eventbridge.Options{
		Region: "us-east-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1, HTTPClient: http.DefaultClient,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
	})
}

// Single entries that are ordered to be refused are, and the others of their call are taken.
func TestAnEntryIsRefusedAsOrdered(t *testing.T) {
	dir := t.TempDir()
	s, c := open(t, dir, nil)
	if _, err := s.Provision(bus("audit")); err != nil {
		t.Fatal(err)
	}
	order := func(method, body string, status int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, *c.Options().BaseEndpoint+"/_local/fault", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != status {
			t.Fatal(answer.Status, err)
		}
	}
	put := func() (codes []string) {
		t.Helper()
		in := &eventbridge.PutEventsInput{}
		for range 3 {
			in.Entries = append(in.Entries, types.PutEventsRequestEntry{
				EventBusName: aws.String("audit"), Source: aws.String("stile"), DetailType: aws.String("session.start"), Detail: aws.String("{}"),
			})
		}
		out, err := c.PutEvents(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Entries {
			codes = append(codes, aws.ToString(e.ErrorCode))
		}
		if codes[0]+codes[1]+codes[2] == "" != (out.FailedEntryCount == 0) {
			t.Errorf("%d failed of %q", out.FailedEntryCount, codes)
		}
		return codes
	}
	order(http.MethodPost, `{"service":"events","operation":"PutEvents","kind":"entry","count":2}`, http.StatusCreated)
	if diff := cmp.Diff([]string{"InternalFailure", "InternalFailure", ""}, put()); diff != "" {
		t.Error(diff)
	}
	order(http.MethodPost, `{"service":"events","operation":"PutEvents","kind":"entry","count":1,"code":"MalformedDetail"}`, http.StatusCreated)
	if diff := cmp.Diff([]string{"MalformedDetail", "", ""}, put()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"", "", ""}, put()); diff != "" {
		t.Error(diff)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "events.ndjson"))
	if err != nil || strings.Count(string(raw), "\n") != 6 {
		t.Errorf("taken were\n%s%v", raw, err)
	}
}

func bus(name string) resource.Resource {
	return resource.Resource{Stack: "Data", LogicalID: "Bus", Type: "AWS::Events::EventBus", Properties: map[string]any{"Name": name}}
}

func TestEventsAreWrittenDownAsTargetsWouldGetThem(t *testing.T) {
	dir := t.TempDir()
	s, client := open(t, dir, nil)
	out, err := s.Provision(bus("audit"))
	if err != nil || out.Attributes["Arn"] != "arn:aws:events:us-east-1:"+account+":event-bus/audit" {
		t.Fatalf("%v %v", out, err)
	}
	when := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	entry := types.PutEventsRequestEntry{
		EventBusName: aws.String(out.Attributes["Arn"].(string)), Source: aws.String("stile"), DetailType: aws.String("user.login"),
		Detail: aws.String(`{"id":"01J","n":12345678901234567890}`), Time: &when, Resources: []string{"arn:x"},
	}
	put, err := client.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{entry}})
	if err != nil || put.FailedEntryCount != 0 {
		t.Fatalf("%+v %v", put, err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "events.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	var got events.Event
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := events.Event{
		Version: "0", ID: *put.Entries[0].EventId, DetailType: "user.login", Source: "stile", Account: account, Time: when, Region: "us-east-1",
		Resources: []string{"arn:x"}, Detail: json.RawMessage(`{"id":"01J","n":12345678901234567890}`), Bus: "audit",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestABusThatIsNoneFailsItsEntry(t *testing.T) {
	s, client := open(t, t.TempDir(), nil)
	if _, err := s.Provision(bus("audit")); err != nil {
		t.Fatal(err)
	}
	entry := types.PutEventsRequestEntry{EventBusName: aws.String("gone"), Source: aws.String("stile"), DetailType: aws.String("x"), Detail: aws.String(`{}`)}
	put, err := client.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{entry}})
	if err != nil || put.FailedEntryCount != 1 || aws.ToString(put.Entries[0].ErrorCode) != "ResourceNotFoundException" {
		t.Errorf("%+v %v", put, err)
	}
	entry.EventBusName = nil // the default bus, which exists but is not permitted
	if _, err := client.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{entry}}); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("the default bus: %v", err)
	}
}

func TestRulesAreHandedOn(t *testing.T) {
	var got []events.Rule
	s, _ := open(t, t.TempDir(), func(r events.Rule) error { got = append(got, r); return nil })
	rule := resource.Resource{Stack: "Control", LogicalID: "Backstop", Type: "AWS::Events::Rule", Properties: map[string]any{
		"ScheduleExpression": "rate(1 minute)", "State": "ENABLED",
		"Targets": []any{map[string]any{"Id": "Target0", "Arn": "arn:aws:lambda:us-east-1:1:function:f"}},
	}}
	if _, err := s.Provision(rule); err != nil {
		t.Fatal(err)
	}
	want := []events.Rule{{
		Name: rule.Name(64), ARN: "arn:aws:events:us-east-1:" + account + ":rule/" + rule.Name(64), Schedule: "rate(1 minute)", Enabled: true,
		Targets: []events.Target{{ID: "Target0", ARN: "arn:aws:lambda:us-east-1:1:function:f"}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, edit := range map[string]func(map[string]any){
		"EventBusName":       func(p map[string]any) { p["EventBusName"] = "nobody" },
		"ScheduleExpression": func(p map[string]any) { delete(p, "ScheduleExpression") },
		"Targets[0].SqsPara": func(p map[string]any) {
			p["Targets"] = []any{map[string]any{"Id": "a", "Arn": "b", "SqsParameters": map[string]any{}}}
		},
		"State": func(p map[string]any) { p["State"] = "PAUSED" },
	} {
		bad := rule
		bad.Properties = maps.Clone(rule.Properties)
		edit(bad.Properties)
		if _, err := s.Provision(bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want …%s…", err, name)
		}
	}
}
