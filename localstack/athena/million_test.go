package athena_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/gate/gatetest"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/query/named"
)

// What the lake of the benchmark has: the events of the test, told again with other ids, people and sessions.
const (
	million  = 1_000_000
	lakeDays = 30
	hourly   = 24 // files of a day
)

// fill puts a million events into the lake, evenly over the days of the period.
func (w *world) fill() {
	var models []delivery
	each(w.t, func(r delivery, _ string) { models = append(models, r) })
	began := asked.Since
	step := lakeDays * 24 * time.Hour / million
	var rows []delivery
	for n := range million {
		at := began.Add(time.Duration(n) * step)
		rows = append(rows, again(models[n%len(models)], n, at))
		if next := at.Add(step); n == million-1 || next.Truncate(24*time.Hour/hourly).After(at) {
			file(w, fmt.Sprintf("%s/day=%s/%d.parquet", names.LakeTable, at.Format(time.DateOnly), n), rows...)
			rows = rows[:0]
		}
	}
}

// again is an event like another, of somebody else and later: one of 500 people on one of 2,000 nodes.
func again(of delivery, n int, at time.Time) delivery {
	other := func(text *string, suffix string) *string {
		if text == nil {
			return nil
		}
		changed := *text + suffix
		return &changed
	}
	id := fmt.Sprintf("01kk%022d", n)
	of.ID, of.Time, of.Received = &id, at, at.Add(time.Second)
	of.Receipt = ledger.Receipt(of.Received, []byte(id))
	if n >= 1000 { // those of before are found by name
		of.Actor, of.Target = other(of.Actor, fmt.Sprint(n%500)), other(of.Target, fmt.Sprint(n%2000))
		if revoked, has := of.Data["revoked"]; has {
			of.Data = maps.Clone(of.Data)
			of.Data["revoked"] = revoked + fmt.Sprint(n%500)
		}
		if of.Reason != nil {
			reason := strings.Replace(*of.Reason, " was ", fmt.Sprint(n%500, " was "), 1)
			of.Reason = &reason
		}
		of.SessionID, of.DecisionID = other(of.SessionID, fmt.Sprint(n)), other(of.DecisionID, fmt.Sprint(n))
	}
	return of
}

// BenchmarkAMillionEvents asks each named question of a lake with a million events in a month, and counts the rows of the same files
// beside it, to hold the others against. It says what the engine here takes, which is not Athena; the bytes are those that it read.
func BenchmarkAMillionEvents(b *testing.B) {
	w := newLake(b, func(c map[string]any) { c["BytesScannedCutoffPerQuery"] = json.Number("107374182400") })
	w.fill()
	call := gatetest.Ask(b, w.Service, w.authority, everything)
	run := func(name, text string, more map[string]any) {
		b.Run(name, func(b *testing.B) {
			var bytes int64
			for b.Loop() {
				e := wait(b, call, start(b, call, text, more), done).QueryExecution
				if e.Status.State != "SUCCEEDED" {
					b.Fatalf("%+v", e.Status)
				}
				bytes = e.Statistics.DataScannedInBytes
			}
			b.ReportMetric(float64(bytes)/(1<<20), "MiB")
		})
	}
	run("peer: rows of the files", "SELECT count(*) AS n FROM "+names.LakeTable, nil)
	run("peer: rows of events", w.composed("SELECT count(*) AS n FROM events"), nil)
	given := map[string]string{"node": "node-1", "id": "ses_2"}
	for _, q := range named.All() {
		values := map[string]string{}
		for _, p := range q.Parameters {
			if p.Default == "" {
				values[p.Name] = given[p.Name]
			}
		}
		sql, literals, err := q.Bind(values)
		if err != nil {
			b.Fatal(err)
		}
		var more map[string]any
		if len(literals) > 0 {
			more = map[string]any{"ExecutionParameters": literals}
		}
		run(strings.ReplaceAll(q.Name, "/", "-"), w.composed(sql), more)
	}
}
