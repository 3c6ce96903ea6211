// Package metric writes what functions measure, in CloudWatch's embedded metric format: a line of a function's log, of which
// CloudWatch makes metrics by itself.
//
// Its entry point is [Write].
package metric

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/stile-dev/stile/pkg/names"
)

// Value is one measurement.
type Value struct {
	Name  string // a names.Metric…
	Unit  string // one of CloudWatch's, such as Count
	Value int64
}

// Write writes a line with what a function measured at a time.
func Write(w io.Writer, at time.Time, function string, values ...Value) error {
	line := map[string]any{names.MetricFunction: function}
	var metrics []map[string]string
	for _, v := range values {
		metrics = append(metrics, map[string]string{"Name": v.Name, "Unit": v.Unit})
		line[v.Name] = v.Value
	}
	line["_aws"] = map[string]any{"Timestamp": at.UnixMilli(), "CloudWatchMetrics": []any{map[string]any{
		"Namespace": names.Metrics, "Dimensions": [][]string{{names.MetricFunction}}, "Metrics": metrics,
	}}}
	raw, err := json.Marshal(line)
	if err == nil {
		_, err = w.Write(append(raw, '\n'))
	}
	if err != nil {
		return fmt.Errorf("writing what was measured: %w", err)
	}
	return nil
}
