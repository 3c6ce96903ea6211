package notice

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stile-dev/stile/localstack/property"
	"github.com/stile-dev/stile/localstack/resource"
)

// Limits of an alarm.
const (
	maxDescription = 1024
	maxActions     = 5
	maxMetrics     = 10
	day            = 86400 // seconds
)

// alarmSpec is AWS::CloudWatch::Alarm.
type alarmSpec struct {
	AlarmDescription        string
	AlarmActions, OKActions []string
	ComparisonOperator      string
	DatapointsToAlarm       property.Int
	EvaluationPeriods       property.Int
	Threshold               property.Text
	TreatMissingData        string

	Namespace, MetricName, Statistic string
	Dimensions                       []dimension
	Period                           property.Int
	Metrics                          []query
}

type dimension struct{ Name, Value string }

type query struct {
	ID         string `json:"Id"`
	Expression string
	Period     property.Int // of a query of Metrics Insights alone
	ReturnData property.Bool
	MetricStat *struct {
		Metric struct {
			Namespace, MetricName string
			Dimensions            []dimension
		}
		Stat   string
		Period property.Int
	}
}

func (s *Service) checkAlarm(r resource.Resource) (resource.Outcome, error) {
	var a alarmSpec
	if err := property.Decode(r.Properties, &a); err != nil {
		return resource.Outcome{}, err
	}
	if err := errors.Join(a.check(), s.checkActions(slices.Concat(a.AlarmActions, a.OKActions))); err != nil {
		return resource.Outcome{}, err
	}
	name := r.Name(255)
	return resource.Outcome{Ref: name, Attributes: map[string]any{"Arn": s.arn("cloudwatch", "alarm:"+name)}}, nil
}

// checkActions refuses an action that would tell nobody.
func (s *Service) checkActions(actions []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, arn := range actions {
		if s.topics[arn] == nil {
			return fmt.Errorf("an action names %s, and there is no such topic", arn)
		}
	}
	return nil
}

var (
	comparisons = []string{"GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold", "LessThanOrEqualToThreshold"}
	missing     = []string{"breaching", "notBreaching", "ignore", "missing"}
	statistics  = []string{"Average", "Maximum", "Minimum", "SampleCount", "Sum"}
)

// check refuses what CloudWatch refuses.
func (a alarmSpec) check() error {
	switch {
	case len(a.AlarmDescription) > maxDescription:
		return fmt.Errorf("property AlarmDescription: more than %d characters", maxDescription)
	case len(a.AlarmActions) > maxActions || len(a.OKActions) > maxActions:
		return fmt.Errorf("property AlarmActions: more than %d", maxActions)
	case !slices.Contains(comparisons, a.ComparisonOperator):
		return fmt.Errorf("property ComparisonOperator: %q is not supported here", a.ComparisonOperator)
	case !slices.Contains(missing, a.TreatMissingData):
		return fmt.Errorf("property TreatMissingData: %q is none of %q", a.TreatMissingData, missing)
	case a.Threshold == "":
		return errors.New("property Threshold is missing")
	case a.EvaluationPeriods < 1 || a.DatapointsToAlarm < 1 || a.DatapointsToAlarm > a.EvaluationPeriods:
		return errors.New("property DatapointsToAlarm: must be 1 to EvaluationPeriods")
	case (a.MetricName == "") == (len(a.Metrics) == 0):
		return errors.New("an alarm has either MetricName or Metrics")
	case a.MetricName != "":
		return a.checkStat(a.Namespace, a.Statistic, a.Period, a.Dimensions)
	}
	return a.checkQueries()
}

func (a alarmSpec) checkStat(namespace, statistic string, period property.Int, dimensions []dimension) error {
	switch {
	case namespace == "":
		return errors.New("property Namespace is missing")
	case !slices.Contains(statistics, statistic):
		return fmt.Errorf("property Statistic: %q is none of %q", statistic, statistics)
	}
	if err := a.checkPeriod(period); err != nil {
		return err
	}
	for _, d := range dimensions {
		if d.Name == "" || d.Value == "" {
			return errors.New("property Dimensions: a name or value is empty")
		}
	}
	return nil
}

func (a alarmSpec) checkPeriod(period property.Int) error {
	switch {
	case period < 60 || period%60 != 0:
		return fmt.Errorf("property Period: %d is no multiple of 60 seconds", period)
	case int(period)*int(a.EvaluationPeriods) > day:
		return errors.New("property EvaluationPeriods: together with Period more than a day")
	}
	return nil
}

var (
	queryID = regexp.MustCompile(`^[a-z][A-Za-z0-9_]*$`)
	words   = regexp.MustCompile(`\b[a-z][A-Za-z0-9_]*\b`) // functions of expressions are in capitals
)

// checkQueries refuses queries of which not exactly one is compared, or that name no other.
func (a alarmSpec) checkQueries() error {
	var ids []string
	metrics, compared := 0, 0
	for _, q := range a.Metrics {
		if !queryID.MatchString(q.ID) || slices.Contains(ids, q.ID) {
			return fmt.Errorf("property Metrics: %q is no id, or one that another query has", q.ID)
		}
		ids = append(ids, q.ID)
		if q.ReturnData {
			compared++
		}
		if (q.MetricStat == nil) == (q.Expression == "") {
			return fmt.Errorf("property Metrics: %s has to have either MetricStat or Expression", q.ID)
		}
		if q.MetricStat == nil {
			if err := a.checkExpression(q); err != nil {
				return fmt.Errorf("property Metrics: %s: %w", q.ID, err)
			}
			continue
		}
		metrics++
		m := q.MetricStat
		if m.Metric.MetricName == "" {
			return fmt.Errorf("property Metrics: %s has no MetricName", q.ID)
		}
		if err := a.checkStat(m.Metric.Namespace, m.Stat, m.Period, m.Metric.Dimensions); err != nil {
			return fmt.Errorf("property Metrics: %s: %w", q.ID, err)
		}
	}
	switch {
	case compared != 1:
		return fmt.Errorf("property Metrics: %d queries have ReturnData, and an alarm compares one", compared)
	case metrics > maxMetrics:
		return fmt.Errorf("property Metrics: %d metrics, and an alarm reads %d", metrics, maxMetrics)
	}
	for _, q := range a.Metrics {
		if q.asks() {
			continue
		}
		for _, word := range words.FindAllString(q.Expression, -1) {
			if !slices.Contains(ids, word) {
				return fmt.Errorf("property Metrics: the expression of %s names %s, which is no query", q.ID, word)
			}
		}
	}
	return nil
}

// insight is what of Metrics Insights is known here: one sum of one of AWS's metrics, where a dimension has certain values.
var insight = regexp.MustCompile(`^SELECT SUM\([A-Za-z0-9]+\) FROM "AWS/[A-Za-z]+" WHERE [A-Za-z]+ = '[^']+'( OR [A-Za-z]+ = '[^']+')*$`)

// maxExpression is of characters.
const maxExpression = 2048

// asks reports whether the expression is a query of Metrics Insights.
func (q query) asks() bool { return strings.HasPrefix(q.Expression, "SELECT ") }

// checkExpression holds that a query of Metrics Insights says its period, which mathematics takes from its metrics.
func (a alarmSpec) checkExpression(q query) error {
	switch {
	case len(q.Expression) > maxExpression:
		return fmt.Errorf("more than %d characters of an expression", maxExpression)
	case !q.asks() && q.Period != 0:
		return errors.New("a Period is of MetricStat or of a query of Metrics Insights")
	case !q.asks():
		return nil
	case !insight.MatchString(q.Expression):
		return errors.New(`queries other than SELECT SUM(…) FROM "AWS/…" WHERE … = '…' OR … are not supported here`)
	}
	return a.checkPeriod(q.Period)
}
