package stack

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/stile-dev/stile/pkg/names"
)

// metric is one of CloudWatch's metrics.
type metric struct {
	namespace, name, statistic string
	dimensions                 []dimension
}

type dimension struct {
	name  string
	value *string
}

// metricAlarm is an alarm on a metric, or on an expression over several. Each metric that an alarm reads costs $0.10 a month.
type metricAlarm struct {
	id, says, page string
	metrics        []metric
	expression     string // over m0, m1, …, or a query of Metrics Insights if there are none; "" for the one metric
	compare        string
	threshold      *float64
	bad, of        float64 // periods
	period         float64 // seconds; 0 is usual
	missing        string
}

// What a period without data means.
const (
	missingIsBad  = "breaching"
	missingIsGood = "notBreaching"
)

const (
	below   = "LessThanThreshold"
	atLeast = "GreaterThanOrEqualToThreshold"
	above   = "GreaterThanThreshold"
)

// Periods, in seconds.
const (
	usual  = 300
	minute = 60 // the shortest of a metric of standard resolution
)

// metricAlarms are all alarms; rules are those that tell the topic.
func metricAlarms(rules []awsevents.CfnRule) []metricAlarm {
	all := []metricAlarm{
		{
			id: "LoginFailing", says: "the synthetic login failed, or didn't run, twice in fifteen minutes", page: "login-failing",
			metrics: []metric{{names.Metrics, names.MetricLoginSucceeded, "Minimum", []dimension{{names.MetricFunction, new(fnCanary)}}}},
			compare: below, threshold: new(1.0), bad: 2, of: 3, missing: missingIsBad,
		},
		{
			id: "PublicationOld", says: "no publication succeeded for ten minutes: changes and revocations are not in force", page: "publication-old",
			metrics:    []metric{ofFunction(fnPublish, "Invocations", "Sum"), ofFunction(fnPublish, "Errors", "Sum")},
			expression: "m0 - FILL(m1, 0)", compare: below, threshold: new(1.0), bad: 2, of: 2, missing: missingIsBad,
		},
		{
			id: "StreamBehind", says: "changes of the state table wait for publish", page: "stream-behind",
			metrics: []metric{ofFunction(fnPublish, "IteratorAge", "Maximum")},
			compare: above, threshold: new(300_000.0), bad: 2, of: 2, missing: missingIsGood, // milliseconds
		},
		{
			id: "FailedBatchLost", says: "a batch that publish never took could not be kept", page: "failed-batch",
			metrics: []metric{ofFunction(fnPublish, "DestinationDeliveryFailures", "Sum")},
			compare: atLeast, threshold: new(1.0), bad: 1, of: 1, missing: missingIsGood,
		},
		{
			id: "ApiErrors", says: "more than one in twenty calls of the API were answered by a 5xx", page: "api-errors",
			metrics: []metric{{"AWS/ApiGateway", "5XXError", "Average", []dimension{{"ApiName", new(apiName)}, {"Stage", new(stage)}}}},
			compare: above, threshold: new(0.05), bad: 2, of: 3, missing: missingIsGood,
		},
		{
			// Lambda's metric over all functions of the account in this Region: they share the concurrency.
			id: "Throttled", says: "functions are throttled", page: "functions-throttled",
			metrics: []metric{{"AWS/Lambda", "Throttles", "Sum", nil}},
			compare: atLeast, threshold: new(1.0), bad: 2, of: 3, missing: missingIsGood,
		},
		{
			id: "RecordingsAbandoned", says: "recordings were left incomplete: nothing is heard of their agents any more", page: "recordings-abandoned",
			metrics: []metric{{names.Metrics, names.MetricRecordingsAbandoned, "Sum", []dimension{{names.MetricFunction, new(fnSweep)}}}},
			compare: atLeast, threshold: new(1.0), bad: 1, of: 1, missing: missingIsGood,
		},
		{
			id: "LedgerGaps", says: "audit events that agents numbered are not in the ledger", page: "ledger-gaps",
			metrics: []metric{{names.Metrics, names.MetricLedgerGaps, "Sum", []dimension{{names.MetricFunction, new(fnSweep)}}}},
			compare: atLeast, threshold: new(1.0), bad: 1, of: 1, missing: missingIsGood,
		},
		{
			id: "EvidenceUnproved", says: "an hourly check of the evidence found something, could not prove it, or doesn't run", page: "evidence-unproved",
			metrics: []metric{{names.Metrics, names.MetricEvidenceUnproved, "Sum", []dimension{{names.MetricFunction, new(fnSweep)}}}},
			compare: atLeast, threshold: new(1.0), bad: 1, of: 1, missing: missingIsGood,
		},
		{
			id: "SignaturesUnclaimed", says: "a CA key signed, and no function says that it asked for it", page: "signatures-unclaimed",
			metrics: []metric{{names.Metrics, names.MetricSignaturesUnclaimed, "Sum", []dimension{{names.MetricFunction, new(fnSweep)}}}},
			compare: atLeast, threshold: new(1.0), bad: 1, of: 1, missing: missingIsGood,
		},
		{
			id: "SignaturesUnrecorded", says: "CloudTrail's records of signatures don't come: who else signs can't be known", page: "signatures-unrecorded",
			metrics: []metric{{names.Metrics, names.MetricSignaturesUnrecorded, "Sum", []dimension{{names.MetricFunction, new(fnSweep)}}}},
			compare: atLeast, threshold: new(1.0), bad: 1, of: 1, missing: missingIsGood,
		},
		{
			id: "LakeDiffers", says: "the lake lacks audit events that were sent again, or has some that the ledger doesn't have", page: "lake-differs",
			metrics: []metric{{names.Metrics, names.MetricLakeDiffers, "Sum", []dimension{{names.MetricFunction, new(fnSweep)}}}},
			compare: atLeast, threshold: new(1.0), bad: 1, of: 1, missing: missingIsGood,
		},
		stuck(), tablesThrottled(), tablesFailing(), undelivered(rules),
	}
	for _, f := range functions {
		bad, of := 2.0, 3.0
		if f.name == fnRotate { // runs once a day, and again after a minute and after two more when it fails
			bad, of = 1, 1
		}
		all = append(all, metricAlarm{
			id: "Errors" + camel(f.name), says: "function " + f.name + " fails, crashes or runs out of time", page: "function-errors",
			metrics: []metric{ofFunction(f.name, "Errors", "Sum")},
			compare: atLeast, threshold: new(1.0), bad: bad, of: of, missing: missingIsGood,
		})
	}
	return all
}

// stuck hears within a minute that S3 takes no recordings, as when a permission or the bucket's key is gone.
//
// An agent puts what it was granted and asks about what S3 didn't confirm: at 0, 1, 3, 7, 15 and 31 s at the latest, and then
// ever more seldom, up to every five minutes. However the clock's minutes cut that, three of its questions are in one of them,
// be there a single object. More than half of what was granted is missing only if little else arrives.
//
// Of CloudWatch it is documented that a comparison treats as 0 what one of two series lacks, that a series may be compared with
// a number, and that AND joins comparisons to 0 or 1. FILL is left out on purpose: its values for a minute whose data comes late
// would pass for the newest, so that nothing would ever be bad. For the same reason one bad minute of the last ten is enough,
// which also keeps the alarm up between two tries that are five minutes apart.
func stuck() metricAlarm {
	of := []dimension{{names.MetricFunction, new(fnRecording)}}
	return metricAlarm{
		id: "RecordingsStuck", says: "recordings don't reach S3: what was shown is on the nodes' disks alone", page: "recordings-stuck",
		metrics:    []metric{{names.Metrics, names.MetricUploadsMissing, "Sum", of}, {names.Metrics, names.MetricUploadsGranted, "Sum", of}},
		expression: "(m0 >= 3) AND (2 * m0 > m1)", compare: atLeast, threshold: new(1.0), bad: 1, of: 10, period: minute, missing: missingIsGood,
	}
}

// tables are those of StileData, by the name that each has, a restored one too.
func tables() []*string {
	var out []*string
	for _, table := range sorted(restorable) {
		out = append(out, imported(Data, restorable[table]+"Name"))
	}
	return out
}

// tablesThrottled reads the metrics of events, since ThrottledRequests is kept for each operation, and counts a batch
// only when all of it was throttled. No table has an index, which would have metrics of its own.
func tablesThrottled() metricAlarm {
	a := metricAlarm{
		id: "TablesThrottled", says: "DynamoDB throttles a table", page: "tables-failing",
		compare: atLeast, threshold: new(1.0), bad: 2, of: 3, missing: missingIsGood,
	}
	for _, table := range tables() {
		for _, name := range []string{"ReadThrottleEvents", "WriteThrottleEvents"} {
			a.metrics = append(a.metrics, metric{"AWS/DynamoDB", name, "Sum", []dimension{{"TableName", table}}})
		}
	}
	a.expression = sumOf(len(a.metrics))
	return a
}

// tablesFailing is a query, since DynamoDB keeps SystemErrors for each table and operation, more than the ten metrics that
// an expression may read. The one of the account's UserErrors is no alarm: a condition that doesn't hold is part of it.
func tablesFailing() metricAlarm {
	var which []string
	for _, table := range tables() {
		which = append(which, "TableName = '"+*table+"'")
	}
	return metricAlarm{
		id: "TablesFailing", says: "DynamoDB answers with its own errors", page: "tables-failing",
		expression: `SELECT SUM(SystemErrors) FROM "AWS/DynamoDB" WHERE ` + strings.Join(which, " OR "),
		compare:    atLeast, threshold: new(1.0), bad: 2, of: 3, missing: missingIsGood,
	}
}

// sumOf adds n metrics, of which any may have no data.
func sumOf(n int) string {
	var sum []string
	for i := range n {
		sum = append(sum, fmt.Sprintf("FILL(m%d, 0)", i))
	}
	return strings.Join(sum, " + ")
}

// undelivered is the alarm that hears of rules whose messages don't arrive. It comes by CloudWatch, which another
// statement of the topic's policy lets in.
func undelivered(rules []awsevents.CfnRule) metricAlarm {
	a := metricAlarm{
		id: "RulesUnheard", says: "a rule could not tell the topic", page: "rules-unheard",
		compare: atLeast, threshold: new(1.0), bad: 1, of: 1, missing: missingIsGood,
	}
	for _, r := range rules {
		a.metrics = append(a.metrics, metric{"AWS/Events", "FailedInvocations", "Sum", []dimension{{"RuleName", r.Ref()}}})
	}
	a.expression = sumOf(len(a.metrics))
	return a
}

func ofFunction(function, name, statistic string) metric {
	return metric{"AWS/Lambda", name, statistic, []dimension{{"FunctionName", functionName(function)()}}}
}

// alarm declares it; topic is the ARN of the topic that it tells, and page the URL of its page.
func (a metricAlarm) alarm(s awscdk.Stack, topic *string, page string) awscloudwatch.CfnAlarm {
	told := anyList(topic)
	props := &awscloudwatch.CfnAlarmProps{
		AlarmDescription: new("Stile: " + a.says + ". What to do: " + page),
		AlarmActions:     told, OkActions: told,
		ComparisonOperator: &a.compare, Threshold: a.threshold,
		DatapointsToAlarm: &a.bad, EvaluationPeriods: &a.of, TreatMissingData: &a.missing,
	}
	if a.expression == "" {
		m := a.metrics[0]
		props.Namespace, props.MetricName, props.Statistic, props.Period = &m.namespace, &m.name, &m.statistic, a.every()
		props.Dimensions = m.render()
	} else {
		props.Metrics = a.queries()
	}
	return awscloudwatch.NewCfnAlarm(s, new("Alarm"+a.id), props)
}

// every is the alarm's period.
func (a metricAlarm) every() *float64 { return new(cmp.Or(a.period, usual)) }

// queries are the metrics with the expression over them, which alone is compared.
func (a metricAlarm) queries() *[]any {
	var out []any
	for i, m := range a.metrics {
		out = append(out, &awscloudwatch.CfnAlarm_MetricDataQueryProperty{
			Id: new(fmt.Sprintf("m%d", i)), ReturnData: new(false),
			MetricStat: &awscloudwatch.CfnAlarm_MetricStatProperty{
				Metric: &awscloudwatch.CfnAlarm_MetricProperty{Namespace: &m.namespace, MetricName: &m.name, Dimensions: m.render()},
				Stat:   &m.statistic, Period: a.every(),
			},
		})
	}
	all := &awscloudwatch.CfnAlarm_MetricDataQueryProperty{Id: new("all"), Expression: &a.expression, ReturnData: new(true)}
	if len(a.metrics) == 0 {
		all.Period = a.every() // a query has no metric to take it from
	}
	out = append(out, all)
	return &out
}

func (m metric) render() *[]any {
	if len(m.dimensions) == 0 {
		return nil
	}
	var out []any
	for _, d := range m.dimensions {
		out = append(out, &awscloudwatch.CfnAlarm_DimensionProperty{Name: &d.name, Value: d.value})
	}
	return &out
}
