package events_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/events"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

func rule(id, state string, pattern map[string]any, target map[string]any) resource.Resource {
	target["Id"], target["Arn"] = "topic", "arn:aws:sns:us-east-1:"+account+":"+id
	return resource.Resource{Stack: "Control", LogicalID: id, Type: "AWS::Events::Rule", Properties: map[string]any{
		"State": state, "EventPattern": pattern, "Targets": []any{target},
	}}
}

func TestARuleTellsItsTargetsWhatItHears(t *testing.T) {
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	s, err := events.Open(events.Config{Dir: t.TempDir(), Authority: a, OnEvent: func(_ events.Rule, target events.Target, message []byte) error {
		told[target.ARN[strings.LastIndex(target.ARN, ":")+1:]] += string(message)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	const all, changes = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", "ENABLED"
	kms := map[string]any{"source": []any{"aws.kms"}}
	shape := map[string]any{"InputTransformer": map[string]any{"InputTemplate": `{"page":"p","event":<aws.events.event.json>}`}}
	for _, r := range []resource.Resource{
		rule("Reads", all, kms, map[string]any{}), rule("Changes", changes, kms, shape), rule("Others", all, map[string]any{"source": []any{"aws.s3"}}, map[string]any{}),
	} {
		if _, err := s.Provision(r); err != nil {
			t.Fatal(err)
		}
	}
	heard := func(readOnly bool) []string {
		clear(told)
		if err := s.Emit("aws.kms", "AWS API Call via CloudTrail", time.Now(), map[string]any{"readOnly": readOnly, "eventName": "X"}, "arn:r"); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, name := range []string{"Reads", "Changes", "Others"} {
			if told[name] != "" {
				out = append(out, name)
			}
		}
		return out
	}
	if diff := cmp.Diff([]string{"Reads"}, heard(true)); diff != "" {
		t.Errorf("who hears of a read (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Reads", "Changes"}, heard(false)); diff != "" {
		t.Errorf("who hears of a change (-want +got):\n%s", diff)
	}
	var message struct {
		Page  string
		Event events.Event
	}
	if err := json.Unmarshal([]byte(told["Changes"]), &message); err != nil {
		t.Fatal(err)
	}
	if message.Page != "p" || message.Event.Source != "aws.kms" || string(message.Event.Detail) != `{"eventName":"X","readOnly":false}` || message.Event.Resources[0] != "arn:r" {
		t.Errorf("message %s", told["Changes"])
	}
	for _, err := range []error{s.Close(), a.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestWhatIsPutOnAnotherBusIsNotHeardOnTheDefaultOne(t *testing.T) {
	heard := 0
	s, client := open(t, t.TempDir(), nil, func(events.Rule, events.Target, []byte) error { heard++; return nil })
	if _, err := s.Provision(bus("audit")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Provision(rule("All", "ENABLED", map[string]any{"source": []any{"stile"}}, map[string]any{})); err != nil {
		t.Fatal(err)
	}
	if putOne(t, client, "audit"); heard != 0 {
		t.Errorf("heard %d times", heard)
	}
}

// putOne puts an event of the source stile on a bus.
func putOne(t *testing.T, client *eventbridge.Client, bus string) {
	t.Helper()
	entry := types.PutEventsRequestEntry{EventBusName: &bus, Source: aws.String("stile"), DetailType: aws.String("x"), Detail: aws.String(`{}`)}
	if out, err := client.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{entry}}); err != nil || out.FailedEntryCount != 0 {
		t.Errorf("%+v %v", out, err)
	}
}

func TestARuleThatEventBridgeWouldRefuseIsRefused(t *testing.T) {
	s, _ := open(t, t.TempDir(), nil)
	shape := func(template string) map[string]any {
		return map[string]any{"InputTransformer": map[string]any{"InputTemplate": template}}
	}
	for want, r := range map[string]resource.Resource{
		"2048":             rule("Long", "ENABLED", map[string]any{"source": []any{strings.Repeat("x", 2048)}}, map[string]any{}),
		"is not supported": rule("Odd", "ENABLED", map[string]any{"source": []any{map[string]any{"cidr": "10.0.0.0/8"}}}, map[string]any{}),
		"placeholder":      rule("Path", "ENABLED", map[string]any{"source": []any{"a"}}, shape(`{"a":<name>}`)),
		"no JSON":          rule("Text", "ENABLED", map[string]any{"source": []any{"a"}}, shape(`see <aws.events.event.json>`)),
	} {
		if _, err := s.Provision(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want …%s…", r.LogicalID, err, want)
		}
	}
}
