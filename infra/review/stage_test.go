package review_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/infra/review"
)

// stageOf is the API's one stage.
func stageOf(t *testing.T) review.Resource {
	t.Helper()
	stages := account(t).Resources("AWS::ApiGateway::Stage")
	if len(stages) != 1 {
		t.Fatalf("%d stages", len(stages))
	}
	return stages[0]
}

// TestSec_S82_EveryRouteThatAnybodyMayCallHasAThrottleOfItsOwn, as the API's document says who may call it.
func TestSec_S82_EveryRouteThatAnybodyMayCallHasAThrottleOfItsOwn(t *testing.T) {
	text, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]any
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"* /*": "200 a second, 400 at once"}
	for path, item := range doc.Paths {
		for method, operation := range item {
			fields, _ := operation.(map[string]any)
			if fields["x-stile-caller"] == "anonymous" {
				want[strings.ToUpper(method)+" /"+strings.ReplaceAll(path, "/", "~1")] = "<OpenRouteRate> a second, 200 at once"
			}
		}
	}
	if len(want) < 6 {
		t.Fatalf("only %d open routes were found: the test looks in the wrong place", len(want)-1)
	}
	got := map[string]string{}
	stage := stageOf(t)
	settings, _ := stage.Properties["MethodSettings"].([]any)
	for _, one := range settings {
		s := one.(map[string]any)
		rate := fmt.Sprint(s["ThrottlingRateLimit"])
		if m, ok := s["ThrottlingRateLimit"].(map[string]any); ok {
			rate = fmt.Sprintf("<%v>", m["Ref"])
		}
		got[fmt.Sprintf("%v %v", s["HttpMethod"], s["ResourcePath"])] = fmt.Sprintf("%s a second, %v at once", rate, s["ThrottlingBurstLimit"])
		if s["MetricsEnabled"] != false {
			t.Errorf("%v has metrics of each method, at $0.30 a month each, which nobody looks at", s)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("throttles (-want +got):\n%s", diff)
	}
}

// kept are the variables that a line of the access log may have. What the caller chooses, such as path, headers, query and
// body, and what an authoriser or a function says, may hold a secret, or break the line.
var kept = []string{
	"$context.error.responseType", "$context.httpMethod", "$context.identity.sourceIp", "$context.integration.error",
	"$context.integration.latency", "$context.integration.status", "$context.requestId", "$context.requestTimeEpoch",
	"$context.resourcePath", "$context.responseLatency", "$context.responseLength", "$context.status",
}

func TestSec_S50_TheAccessLogHoldsNothingThatACallerChooses(t *testing.T) {
	choice, _ := stageOf(t).Properties["AccessLogSetting"].(map[string]any)["Fn::If"].([]any)
	if len(choice) != 3 || choice[0] != "HasApiAccessLogs" {
		t.Fatalf("the access log hangs on %v", choice)
	}
	format, _ := choice[1].(map[string]any)["Format"].(string)
	got := regexp.MustCompile(`\$[A-Za-z.]+`).FindAllString(format, -1)
	slices.Sort(got)
	if diff := cmp.Diff(kept, got); diff != "" {
		t.Errorf("what is logged (-want +got):\n%s", diff)
	}
	var line map[string]string
	if err := json.Unmarshal([]byte(format), &line); err != nil || len(line) != len(kept) {
		t.Errorf("the format is no JSON object of texts: %v", err)
	}
	a := account(t)
	arn := choice[1].(map[string]any)["DestinationArn"]
	if got := a.Text(stageOf(t), arn); strings.HasSuffix(got, ":*") || !strings.Contains(got, ":log-group:<LogApiAccess>") {
		t.Errorf("it is written to %s", got)
	}
}

// TestTheStackTouchesNothingThatIsTheAccounts: one setting of API Gateway holds the role by which every API of an account
// and Region writes its logs. A stack that made it would take it from the others, and leave it pointing at nothing.
func TestTheStackTouchesNothingThatIsTheAccounts(t *testing.T) {
	for _, r := range account(t).Resources("AWS::ApiGateway::Account", "AWS::WAFv2::LoggingConfiguration", "AWS::Logs::AccountPolicy") {
		t.Errorf("%s.%s is a %s, of which the account has one", r.Stack, r.ID, r.Type)
	}
	raw, err := os.ReadFile("../templates/StileControl.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Parameters map[string]struct{ Default any }
		Resources  map[string]struct{ Condition string }
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	conditions := map[string]string{}
	for id, r := range doc.Resources {
		if r.Condition != "" {
			conditions[id] = r.Condition
		}
	}
	defaults := map[string]any{}
	for name, p := range doc.Parameters {
		defaults[name] = p.Default
	}
	maps.DeleteFunc(defaults, func(name string, _ any) bool { return !slices.Contains([]string{"ApiAccessLogs", "WebAclArn"}, name) })
	if diff := cmp.Diff(map[string]any{"ApiAccessLogs": "off", "WebAclArn": ""}, defaults); diff != "" {
		t.Errorf("a deployment that says nothing needs something of the account (-want +got):\n%s", diff)
	}
	for id, condition := range map[string]string{"LogApiAccess": "HasApiAccessLogs", "ApiWebAcl": "HasWebAcl"} {
		if conditions[id] != condition {
			t.Errorf("%s is made when %q holds, want %s", id, conditions[id], condition)
		}
	}
}
