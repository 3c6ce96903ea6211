package notice_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/notice"
	"github.com/stile-dev/stile/localstack/resource"
)

const account = "111122223333"

// desk is a service with the topic "alarms".
type desk struct {
	*notice.Service
	dir, topic string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	d := &desk{dir: t.TempDir()}
	d.Service = notice.New(notice.Config{Dir: d.dir, Authority: a})
	d.topic = d.put(t, "AWS::SNS::Topic", map[string]any{"TopicName": "alarms", "DisplayName": "Alarms"})
	return d
}

func (d *desk) put(t *testing.T, kind string, properties map[string]any) string {
	t.Helper()
	out, err := d.Provision(resource.Resource{Stack: "S", LogicalID: "R", Type: kind, Properties: properties})
	if err != nil {
		t.Fatal(err)
	}
	return out.Ref
}

func (d *desk) policy(statements string) resource.Resource {
	var document map[string]any
	if err := json.Unmarshal([]byte(`{"Version":"2012-10-17","Statement":`+statements+`}`), &document); err != nil {
		panic(err) // a test's own text
	}
	return resource.Resource{Stack: "S", LogicalID: "P", Type: "AWS::SNS::TopicPolicy", Properties: map[string]any{
		"Topics": []any{d.topic}, "PolicyDocument": document,
	}}
}

const (
	mayEvents   = `{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sns:Publish","Resource":"*"}`
	conditional = `{"Effect":"Allow","Principal":{"Service":["cloudwatch.amazonaws.com","events.amazonaws.com"]},"Action":"sns:Publish","Resource":"*",` +
		`"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"}}}`
	mayCloudWatch = `{"Effect":"Allow","Principal":{"Service":"cloudwatch.amazonaws.com"},"Action":"sns:Publish","Resource":"*",` +
		`"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"}}}`
)

func TestATopicKeepsWhatItsPolicyLetsIn(t *testing.T) {
	d := newDesk(t)
	if err := d.Publish("events.amazonaws.com", d.topic, []byte("early")); err == nil {
		t.Error("a topic without a policy takes messages of EventBridge")
	}
	if _, err := d.Provision(d.policy(mayCloudWatch)); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish("events.amazonaws.com", d.topic, []byte("early")); err == nil || !strings.Contains(err.Error(), "may not publish") {
		t.Errorf("error %v", err)
	}
	if _, err := d.Provision(d.policy("[" + mayEvents + "," + mayCloudWatch + "]")); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish("events.amazonaws.com", d.topic, []byte(`{"a":"b"}`)); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(d.dir, "topic-alarms.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ TopicArn, Message string }
	if err := json.Unmarshal(raw, &m); err != nil || m.Message != `{"a":"b"}` || m.TopicArn != d.topic {
		t.Errorf("%s, %v", raw, err)
	}
	if err := d.Publish("events.amazonaws.com", d.topic+"-other", nil); err == nil || !strings.Contains(err.Error(), "no such topic") {
		t.Errorf("error %v", err)
	}
}

func TestAConditionForEventBridgeIsRefusedWithThePageThatSaysSo(t *testing.T) {
	d := newDesk(t)
	for name, statements := range map[string]string{"alone": conditional, "beside another": "[" + mayEvents + "," + conditional + "]"} {
		if _, err := d.Provision(d.policy(statements)); err == nil || !strings.Contains(err.Error(), "docs.aws.amazon.com/eventbridge") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestWhatWasRemovedTakesNothing(t *testing.T) {
	d := newDesk(t)
	p := d.policy(mayEvents)
	if _, err := d.Provision(p); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(p); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish("events.amazonaws.com", d.topic, nil); err == nil || !strings.Contains(err.Error(), "may not publish") {
		t.Errorf("error %v", err)
	}
	for range 2 {
		if err := d.Remove(resource.Resource{Type: "AWS::SNS::Topic", PhysicalID: d.topic}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Publish("events.amazonaws.com", d.topic, nil); err == nil || !strings.Contains(err.Error(), "no such topic") {
		t.Errorf("error %v", err)
	}
}

// one and many are alarms as CloudWatch takes them.
func (d *desk) one() map[string]any {
	return map[string]any{
		"AlarmDescription": "x", "AlarmActions": []any{d.topic}, "OKActions": []any{d.topic}, "ComparisonOperator": "LessThanThreshold",
		"DatapointsToAlarm": "2", "EvaluationPeriods": "3", "Threshold": "1", "TreatMissingData": "breaching",
		"Namespace": "Stile", "MetricName": "LoginSucceeded", "Statistic": "Minimum", "Period": "300",
		"Dimensions": []any{map[string]any{"Name": "Function", "Value": "canary"}},
	}
}

func query(id string) map[string]any {
	return map[string]any{"Id": id, "ReturnData": false, "MetricStat": map[string]any{
		"Metric": map[string]any{"Namespace": "AWS/Lambda", "MetricName": "Errors"}, "Stat": "Sum", "Period": "300",
	}}
}

func (d *desk) many(queries ...any) map[string]any {
	p := d.one()
	for _, name := range []string{"Namespace", "MetricName", "Statistic", "Period", "Dimensions"} {
		delete(p, name)
	}
	p["Metrics"] = queries
	return p
}

func TestAlarmsThatCloudWatchWouldRefuseAreRefused(t *testing.T) {
	d := newDesk(t)
	sum := map[string]any{"Id": "all", "Expression": "m0 + FILL(m1, 0)", "ReturnData": true}
	asked := func(expression, period string) map[string]any {
		return d.many(map[string]any{"Id": "all", "Expression": expression, "Period": period, "ReturnData": true})
	}
	const failing = `SELECT SUM(SystemErrors) FROM "AWS/DynamoDB" WHERE TableName = 'a-1' OR TableName = 'b.2'`
	d.put(t, "AWS::CloudWatch::Alarm", asked(failing, "300"))
	d.put(t, "AWS::CloudWatch::Alarm", d.one())
	d.put(t, "AWS::CloudWatch::Alarm", d.many(query("m0"), query("m1"), sum))
	with := func(key string, value any) map[string]any {
		p := maps.Clone(d.one())
		p[key] = value
		return p
	}
	eleven := []any{map[string]any{"Id": "all", "Expression": "m0", "ReturnData": true}}
	for i := range 11 {
		eleven = append(eleven, query("m"+string(rune('0'+i%10))+strings.Repeat("x", i/10)))
	}
	both := d.one()
	both["Metrics"] = []any{query("m0")}
	for name, c := range map[string]struct {
		properties map[string]any
		want       string
	}{
		"an unknown property":        {with("Unit", "Count"), "Unit"},
		"no comparison":              {with("ComparisonOperator", "Below"), "ComparisonOperator"},
		"nothing of missing data":    {with("TreatMissingData", ""), "TreatMissingData"},
		"more bad periods than all":  {with("DatapointsToAlarm", "4"), "DatapointsToAlarm"},
		"an odd period":              {with("Period", "90"), "Period"},
		"more than a day":            {with("EvaluationPeriods", "289"), "more than a day"},
		"an unknown statistic":       {with("Statistic", "Mean"), "Statistic"},
		"an empty dimension":         {with("Dimensions", []any{map[string]any{"Name": "Function", "Value": ""}}), "Dimensions"},
		"a topic that isn't there":   {with("AlarmActions", []any{d.topic + "x"}), "no such topic"},
		"a metric and an expression": {both, "either MetricName or Metrics"},
		"a query without a period":   {d.many(map[string]any{"Id": "all", "Expression": failing, "ReturnData": true}), "no multiple of 60"},
		"a query of another form":    {asked(failing+" ORDER BY SUM()", "300"), "not supported here"},
		"a query of no table":        {asked(`SELECT SUM(SystemErrors) FROM "AWS/DynamoDB" WHERE TableName = ''`, "300"), "not supported here"},
		"a query that is too long":   {asked(failing+strings.Repeat(" OR TableName = 'x'", 120), "300"), "more than 2048"},
		"a period of mathematics":    {d.many(query("m0"), map[string]any{"Id": "all", "Expression": "m0", "Period": "300", "ReturnData": true}), "a Period is of"},
		"an unknown query":           {d.many(query("m0"), sum), "names m1"},
		"nothing compared":           {d.many(query("m0")), "0 queries have ReturnData"},
		"the same id twice":          {d.many(query("m0"), query("m0"), sum), "no id, or one"},
		"eleven metrics":             {d.many(eleven...), "11 metrics"},
		"neither metric nor formula": {d.many(map[string]any{"Id": "a", "ReturnData": true}), "either MetricStat or Expression"},
	} {
		_, err := d.Provision(resource.Resource{Stack: "S", LogicalID: "A", Type: "AWS::CloudWatch::Alarm", Properties: c.properties})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want …%s…", name, err, c.want)
		}
	}
}
