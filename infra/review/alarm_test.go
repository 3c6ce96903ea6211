package review_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/infra/review"
	"github.com/stile-dev/stile/pkg/names"
)

var runbookOf = regexp.MustCompile(`docs/runbooks/[a-z-]+\.md`) // at the end of a URL

// spoken is what a rule or an alarm says to the topic; "" for what doesn't speak to it.
func spoken(a *review.Account, r review.Resource) string {
	switch r.Type {
	case "AWS::CloudWatch::Alarm":
		return a.Text(r, r.Properties["AlarmDescription"])
	case "AWS::Events::Rule":
		for _, item := range r.Properties["Targets"].([]any) {
			target := item.(map[string]any)
			if shape, ok := target["InputTransformer"].(map[string]any); ok && a.Text(r, target["Arn"]) == "<Alarms>" {
				return a.Text(r, shape["InputTemplate"])
			}
		}
	}
	return ""
}

// queued reports whether a rule's one target is a queue of ours.
func queued(a *review.Account, r review.Resource) bool {
	targets := r.Properties["Targets"].([]any)
	return len(targets) == 1 && slices.ContainsFunc(a.Resources("AWS::SQS::Queue"), func(q review.Resource) bool {
		return q.Stack == r.Stack && a.Text(r, targets[0].(map[string]any)["Arn"]) == "<"+q.ID+">"
	})
}

func TestEveryAlarmNamesItsPageAndEveryPageHasAnAlarm(t *testing.T) {
	const root = "../.."
	a := account(t)
	var pages []string
	for _, r := range a.Resources("AWS::CloudWatch::Alarm", "AWS::Events::Rule") {
		text := spoken(a, r)
		if text == "" {
			if r.Properties["ScheduleExpression"] == nil && r.Properties["EventBusName"] == nil && !queued(a, r) { // the rules of our own bus deliver
				t.Errorf("%s: neither a schedule, nor a delivery of our bus or to a queue, nor a message to the topic", r.ID)
			}
			continue
		}
		page := runbookOf.FindString(text)
		if page == "" {
			t.Errorf("%s names no page of docs/runbooks: %s", r.ID, text)
			continue
		}
		pages = append(pages, filepath.Base(page))
		body, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Errorf("%s names a page that isn't there: %v", r.ID, err)
			continue
		}
		if !strings.Contains(string(body), "`"+r.ID+"`") {
			t.Errorf("%s doesn't name its alarm `%s`", page, r.ID)
		}
		for _, part := range []string{"## What it means", "## What to look at", "## What to do"} {
			if !strings.Contains(string(body), part) {
				t.Errorf("%s has no part %q", page, part)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(root, "docs/runbooks"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(pages, e.Name()) && e.Name() != "README.md" { // which stands in front of all
			t.Errorf("docs/runbooks/%s: no alarm names this page", e.Name())
		}
	}
}

func TestEveryAlarmTellsTheTopicWhenItBeginsAndWhenItEnds(t *testing.T) {
	a := account(t)
	for _, r := range a.Resources("AWS::CloudWatch::Alarm") {
		for _, when := range []string{"AlarmActions", "OKActions"} {
			list, _ := r.Properties[when].([]any)
			if len(list) != 1 || a.Text(r, list[0]) != "<Alarms>" {
				t.Errorf("%s: %s is %v", r.ID, when, list)
			}
		}
	}
}

// An alarm that is switched off tells nobody, so that its change has to be heard of, whichever stack it is in.
func TestSec_S94_NoAlarmIsSilencedUnheard(t *testing.T) {
	a := account(t)
	heard := map[string][]string{} // parameter of a call → prefixes of names
	for _, r := range a.Resources("AWS::Events::Rule") {
		if r.ID != "AlarmChange" {
			continue
		}
		detail := r.Properties["EventPattern"].(map[string]any)["detail"].(map[string]any)
		for _, one := range detail["$or"].([]any) {
			for parameter, values := range one.(map[string]any)["requestParameters"].(map[string]any) {
				for _, v := range values.([]any) {
					prefix, _ := v.(map[string]any)["prefix"].(string)
					heard[parameter] = append(heard[parameter], prefix)
				}
			}
		}
	}
	for _, r := range a.Resources("AWS::CloudWatch::Alarm") {
		for _, parameter := range []string{"alarmName", "alarmNames"} {
			if !slices.Contains(heard[parameter], r.Stack+"-") {
				t.Errorf("nobody hears when %s of %s is changed by a call with %s", r.ID, r.Stack, parameter)
			}
		}
	}
	for _, r := range a.Resources("AWS::Events::Rule") {
		for _, parameter := range []string{"name", "rule"} {
			if spoken(a, r) != "" && !slices.Contains(heard[parameter], r.Stack+"-") {
				t.Errorf("nobody hears when %s of %s is changed by a call with %s", r.ID, r.Stack, parameter)
			}
		}
	}
}

// alarm is the alarm of that logical id.
func alarm(t *testing.T, a *review.Account, id string) review.Resource {
	t.Helper()
	for _, r := range a.Resources("AWS::CloudWatch::Alarm") {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("there is no %s", id)
	return review.Resource{}
}

// A table that nobody watches throttles in silence; a new one is here without anybody's thinking of it.
func TestEveryTableIsWatchedForThrottlesAndErrors(t *testing.T) {
	a := account(t)
	throttled := map[string]int{}
	for _, q := range alarm(t, a, "AlarmTablesThrottled").Properties["Metrics"].([]any) {
		stat, _ := q.(map[string]any)["MetricStat"].(map[string]any)
		if metric, ok := stat["Metric"].(map[string]any); ok {
			dimensions := metric["Dimensions"].([]any)
			if len(dimensions) != 1 || dimensions[0].(map[string]any)["Name"] != "TableName" {
				t.Errorf("%s has the dimensions %v, under which DynamoDB keeps nothing", metric["MetricName"], dimensions)
			}
			throttled[a.Text(review.Resource{Stack: "StileControl"}, dimensions[0].(map[string]any)["Value"])]++
		}
	}
	failing := alarm(t, a, "AlarmTablesFailing")
	asked := a.Text(failing, failing.Properties["Metrics"].([]any)[0].(map[string]any)["Expression"])
	for _, table := range a.Resources("AWS::DynamoDB::Table") {
		name := "<" + table.ID + ">"
		if throttled[name] != 2 {
			t.Errorf("%s: %d metrics of its throttles are watched, instead of reads and writes", table.ID, throttled[name])
		}
		if !strings.Contains(asked, "TableName = '"+name+"'") {
			t.Errorf("nobody hears of errors of %s: %s", table.ID, asked)
		}
		if table.Properties["GlobalSecondaryIndexes"] != nil {
			t.Errorf("%s has an index, whose throttles are metrics of their own", table.ID)
		}
	}
}

func TestProxiesAreMissedAsSoonAsThereAreFewerThanWanted(t *testing.T) {
	a := account(t)
	missing := alarm(t, a, "AlarmProxiesMissing")
	got := map[string]string{}
	for _, name := range []string{"Namespace", "MetricName", "Statistic", "ComparisonOperator", "Threshold", "TreatMissingData"} {
		got[name] = a.Text(missing, missing.Properties[name])
	}
	for _, d := range missing.Properties["Dimensions"].([]any) {
		d := d.(map[string]any)
		got[d["Name"].(string)] = a.Text(missing, d["Value"])
	}
	want := map[string]string{
		"Namespace": "AWS/NetworkELB", "MetricName": "HealthyHostCount", "Statistic": "Maximum", "LoadBalancer": "<Balancer.LoadBalancerFullName>",
		"TargetGroup": "<Targets.TargetGroupFullName>", "ComparisonOperator": "LessThanThreshold", "Threshold": "<DesiredCount>", "TreatMissingData": "breaching",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the alarm (-want +got):\n%s", diff)
	}
	if after, ok := missing.DependsOn.([]any); !ok || !slices.Contains(after, any("Service")) {
		t.Errorf("it comes after %v, so that it rings while the first proxies begin", missing.DependsOn)
	}
}

// CloudWatch compares a metric by its exact name and dimensions, and one without data is no error: so they are compared here
// with what functions/recording writes. Minutes are the shortest periods that there are of it.
func TestRecordingsThatDoNotReachS3AreHeardOfWithinAMinute(t *testing.T) {
	stuck := alarm(t, account(t), "AlarmRecordingsStuck")
	var got []string
	for _, q := range stuck.Properties["Metrics"].([]any) {
		q := q.(map[string]any)
		if stat, ok := q["MetricStat"].(map[string]any); ok {
			raw, err := json.Marshal(stat)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, q["Id"].(string)+" "+string(raw))
		} else {
			got = append(got, q["Expression"].(string))
		}
	}
	read := `{"Metric":{"Dimensions":[{"Name":"` + names.MetricFunction + `","Value":"recording"}],"MetricName":"%s","Namespace":"` + names.Metrics + `"},"Period":60,"Stat":"Sum"}`
	want := []string{
		"m0 " + fmt.Sprintf(read, names.MetricUploadsMissing), "m1 " + fmt.Sprintf(read, names.MetricUploadsGranted),
		"(m0 >= 3) AND (2 * m0 > m1)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is compared (-want +got):\n%s", diff)
	}
	p := stuck.Properties
	when := fmt.Sprintf("%v of %v, %v %v, without data %v", p["DatapointsToAlarm"], p["EvaluationPeriods"], p["ComparisonOperator"], p["Threshold"], p["TreatMissingData"])
	if when != "1 of 10, GreaterThanOrEqualToThreshold 1, without data notBreaching" {
		t.Errorf("it is raised by %s", when)
	}
}

func TestARecordingThatIsLeftIncompleteIsHeardOf(t *testing.T) {
	p := alarm(t, account(t), "AlarmRecordingsAbandoned").Properties
	raw, err := json.Marshal(p["Dimensions"])
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%v %v %s, %v of %v, %v %v", p["Namespace"], p["MetricName"], raw, p["DatapointsToAlarm"], p["EvaluationPeriods"], p["ComparisonOperator"], p["Threshold"])
	want := names.Metrics + " " + names.MetricRecordingsAbandoned + ` [{"Name":"` + names.MetricFunction + `","Value":"sweep"}], 1 of 1, GreaterThanOrEqualToThreshold 1`
	if got != want {
		t.Errorf("it is raised by %s, not by %s", got, want)
	}
}

// Every function that there is has its alarm: a new one gets it without anybody's thinking of it.
func TestEveryFunctionsErrorsRaiseAnAlarm(t *testing.T) {
	a := account(t)
	watched := map[string]bool{}
	for _, r := range a.Resources("AWS::CloudWatch::Alarm") {
		if r.Properties["MetricName"] == "Errors" {
			list, _ := r.Properties["Dimensions"].([]any)
			for _, d := range list {
				watched[a.Text(r, d.(map[string]any)["Value"])] = true
			}
		}
	}
	for _, f := range a.Resources("AWS::Lambda::Function") {
		name := a.Text(f, f.Properties["FunctionName"])
		if name == "stile-image" || name == "stile-stock" {
			continue // it runs in deployments alone, which fail with its reason
		}
		if !watched[name] {
			t.Errorf("nobody hears of errors of %s", name)
		}
	}
}

// A rule that cannot tell the topic is heard of by CloudWatch, which comes by another statement.
func TestEveryRuleOfTheTopicIsWatchedForFailures(t *testing.T) {
	a := account(t)
	var rules, watched []string
	for _, r := range a.Resources("AWS::CloudWatch::Alarm", "AWS::Events::Rule") {
		if r.Type == "AWS::Events::Rule" && spoken(a, r) != "" {
			rules = append(rules, "<"+r.ID+">")
		}
		if r.ID != "AlarmRulesUnheard" {
			continue
		}
		for _, q := range r.Properties["Metrics"].([]any) {
			stat, _ := q.(map[string]any)["MetricStat"].(map[string]any)
			if metric, ok := stat["Metric"].(map[string]any); ok && metric["MetricName"] == "FailedInvocations" {
				watched = append(watched, a.Text(r, metric["Dimensions"].([]any)[0].(map[string]any)["Value"]))
			}
		}
	}
	slices.Sort(rules)
	slices.Sort(watched)
	if diff := cmp.Diff(rules, watched); diff != "" {
		t.Errorf("rules whose failures are watched (-want +got):\n%s", diff)
	}
}

// EventBridge takes patterns of 2,048 characters; what AWS chooses is counted as the longest ARN here.
func TestPatternsOfRulesAreShortEnough(t *testing.T) {
	const limit = 2048
	longest := strings.Repeat("x", len("arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/00000000-0000-0000-0000-000000000000"))
	hole := regexp.MustCompile(`<[A-Z][^<>]*>`)
	pseudo := strings.NewReplacer("<partition>", "aws-us-gov", "<region>", "ap-southeast-1", "<account>", "111122223333")
	a := account(t)
	for _, r := range a.Resources("AWS::Events::Rule") {
		if r.Properties["EventPattern"] == nil {
			continue
		}
		raw, err := json.Marshal(plain(a, r, r.Properties["EventPattern"]))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(raw))
		if n := len(hole.ReplaceAllString(pseudo.Replace(text), longest)); n > limit {
			t.Errorf("%s: the pattern has up to %d characters, more than %d", r.ID, n, limit)
		}
	}
}

// plain resolves what AWS or another stack chooses in a value.
func plain(a *review.Account, r review.Resource, value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			if len(v) == 1 && (key == "Ref" || strings.HasPrefix(key, "Fn::")) {
				return a.Text(r, v)
			}
		}
		out := map[string]any{}
		for key, inner := range v {
			out[key] = plain(a, r, inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = plain(a, r, inner)
		}
		return out
	}
	return value
}

// With a condition nothing arrives, and nobody is told; without its statement neither.
func TestSec_S86_TheTopicTakesWhatEventBridgeAndCloudWatchSay(t *testing.T) {
	got := map[string][]string{}
	for _, s := range account(t).Policies() {
		if s.Where != "StileControl.AlarmsPolicy" {
			continue
		}
		if s.Effect != "Allow" || !slices.Equal(s.Actions, []string{"sns:Publish"}) || !slices.Equal(s.Resources, []string{"<Alarms>"}) {
			t.Errorf("statement %s: %s %v on %v", s.Sid, s.Effect, s.Actions, s.Resources)
		}
		for _, who := range s.Principal["Service"] {
			got[who] = []string{}
			for _, c := range s.Condition {
				got[who] = append(got[who], c.String())
			}
		}
	}
	want := map[string][]string{
		"events.amazonaws.com": {},
		"cloudwatch.amazonaws.com": {
			"ArnLike aws:SourceArn=arn:<partition>:cloudwatch:<region>:<account>:alarm:*", "StringEquals aws:SourceAccount=<account>",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who may publish, on which conditions (-want +got):\n%s", diff)
	}
}

// A function that a schedule seldom runs fails once and then is silent: its alarm can't wait for a second bad period.
func TestAFunctionThatSeldomRunsRaisesItsAlarmByOneBadPeriod(t *testing.T) {
	a := account(t)
	seldom := map[string]bool{}
	for _, r := range a.Resources("AWS::Events::Rule") {
		every, _ := r.Properties["ScheduleExpression"].(string)
		if every == "" || regexp.MustCompile(`^rate\((\d+ minutes?)\)$`).MatchString(every) {
			continue
		}
		for _, item := range r.Properties["Targets"].([]any) {
			_, function, _ := strings.Cut(a.Text(r, item.(map[string]any)["Arn"]), ":function:")
			seldom[function] = true
		}
	}
	for _, r := range a.Resources("AWS::CloudWatch::Alarm") {
		if r.Properties["MetricName"] != "Errors" {
			continue
		}
		of := r.Properties["Dimensions"].([]any)[0].(map[string]any)["Value"].(string)
		if bad := r.Properties["DatapointsToAlarm"].(float64); seldom[of] && bad != 1 {
			t.Errorf("%s wants %v bad periods of %s, which runs too seldom for that", r.ID, bad, of)
		}
		delete(seldom, of)
	}
	if len(seldom) > 0 {
		t.Errorf("no alarm on the errors of %v", seldom)
	}
}
