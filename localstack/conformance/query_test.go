package conformance_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

// queryLimit is how long a small query takes at most.
const queryLimit = 2 * time.Minute

// begin starts a query of the lake.
func begin(t *testing.T, text string, more map[string]any) (id string) {
	t.Helper()
	outputs := lake(t)
	in := map[string]any{"QueryString": text, "WorkGroup": outputs["WorkGroup"], "QueryExecutionContext": map[string]any{"Database": outputs["Database"]}}
	maps.Copy(in, more)
	var out struct{ QueryExecutionID string }
	show(t, "athena", "AmazonAthena.StartQueryExecution", in, &out)
	return out.QueryExecutionID
}

// ended waits for the end of a query, and returns its state and the reason.
func ended(t *testing.T, id string) (state, reason string) {
	t.Helper()
	if err := poll(t.Context(), queryLimit, func() (bool, error) {
		var out struct {
			QueryExecution struct {
				Status struct{ State, StateChangeReason string }
			}
		}
		show(t, "athena", "AmazonAthena.GetQueryExecution", map[string]any{"QueryExecutionId": id}, &out)
		state, reason = out.QueryExecution.Status.State, out.QueryExecution.Status.StateChangeReason
		return state != "QUEUED" && state != "RUNNING", fmt.Errorf("query %s is %s", id, state)
	}); err != nil {
		t.Fatal(err)
	}
	return state, reason
}

// resultPage is a page of results.
type resultPage struct {
	NextToken string
	ResultSet struct {
		Rows []struct {
			Data []struct{ VarCharValue *string }
		}
		ResultSetMetadata struct{ ColumnInfo []struct{ Name, Type string } }
	}
}

// lines are the rows, with - for NULL.
func (a resultPage) lines() (out []string) {
	for _, row := range a.ResultSet.Rows {
		var cells []string
		for _, c := range row.Data {
			if c.VarCharValue == nil {
				cells = append(cells, "-")
				continue
			}
			cells = append(cells, *c.VarCharValue)
		}
		out = append(out, strings.Join(cells, "; "))
	}
	return out
}

// answers runs a query to its end and reads its results.
func answers(t *testing.T, text string, more map[string]any) (a resultPage) {
	t.Helper()
	id := begin(t, text, more)
	if state, reason := ended(t, id); state != "SUCCEEDED" {
		t.Fatalf("%s: %s %s", text, state, reason)
	}
	show(t, "athena", "AmazonAthena.GetQueryResults", map[string]any{"QueryExecutionId": id}, &a)
	return a
}

func TestAQuerysValuesAreText(t *testing.T) {
	t.Parallel()
	a := answers(t, `SELECT 'it''s' AS text, CAST(NULL AS varchar) AS nothing, CAST(7 AS bigint) AS whole, true AS yes, DOUBLE '0.5' AS half,
		TIMESTAMP '2026-01-02 03:04:05.678' AS moment, DATE '2026-01-02' AS day, ARRAY['a', 'b'] AS list, MAP(ARRAY['k'], ARRAY['v']) AS pairs, 1 + 1`, nil)
	var kinds []string
	for _, c := range a.ResultSet.ResultSetMetadata.ColumnInfo {
		kinds = append(kinds, c.Name+" "+c.Type)
	}
	saw(t, "athena/execution/values", strings.Join(append(a.lines(), kinds...), "\n"),
		"text; nothing; whole; yes; half; moment; day; list; pairs; _col9\n"+
			"it's; -; 7; true; 0.5; 2026-01-02 03:04:05.678; 2026-01-02; [a, b]; {k=v}; 2\n"+
			"text varchar\nnothing varchar\nwhole bigint\nyes boolean\nhalf double\nmoment timestamp\nday date\nlist array\npairs map\n_col9 integer")
}

func TestAViewIsQueried(t *testing.T) {
	t.Parallel()
	saw(t, "athena/execution/view", strings.Join(answers(t, "SELECT * FROM recent", nil).lines(), "\n"), "id; tags\none; [a]")
}

func TestParametersOfAQueryAreLiterals(t *testing.T) {
	t.Parallel()
	a := answers(t, "SELECT ? AS a, id FROM recent WHERE id = ?", map[string]any{"ExecutionParameters": []string{"7", "'one'"}})
	b := answers(t, "SELECT ? AS a", map[string]any{"ExecutionParameters": []string{"'it''s; SELECT 2 --'"}})
	saw(t, "athena/execution/parameters", strings.Join(append(a.lines(), b.lines()...), "\n"), "a; id\n7; one\na\nit's; SELECT 2 --")
}

func TestResultsComeByPages(t *testing.T) {
	t.Parallel()
	id := begin(t, "SELECT x FROM UNNEST(sequence(1, 1500)) AS t(x) ORDER BY x", nil)
	if state, reason := ended(t, id); state != "SUCCEEDED" {
		t.Fatal(state, reason)
	}
	var first, second resultPage
	show(t, "athena", "AmazonAthena.GetQueryResults", map[string]any{"QueryExecutionId": id}, &first)
	show(t, "athena", "AmazonAthena.GetQueryResults", map[string]any{"QueryExecutionId": id, "NextToken": first.NextToken}, &second)
	one, two := first.lines(), second.lines()
	saw(t, "athena/execution/page", fmt.Sprintf("%d rows, from %s to %s\n%d rows, from %s to %s, the last page %v",
		len(one), one[0], one[len(one)-1], len(two), two[0], two[len(two)-1], second.NextToken == ""),
		"1000 rows, from x to 999\n501 rows, from 1000 to 1500, the last page true")
}

// athenaRefuses calls an operation that is refused, and returns the status with the error's code.
func athenaRefuses(t *testing.T, operation string, in map[string]any) string {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	got := raw{Method: http.MethodPost, Service: "athena", Body: string(body), Header: map[string]string{
		"X-Amz-Target": "AmazonAthena." + operation, "Content-Type": "application/x-amz-json-1.1",
	}}.send(t)
	return fmt.Sprint(got.Status, " ", regexp.MustCompile(`[A-Z][A-Za-z]+Exception`).FindString(got.Body))
}

func TestATokenStartsOneQuery(t *testing.T) {
	t.Parallel()
	outputs, token := lake(t), rand.Text()+rand.Text()
	first := begin(t, "SELECT 1", map[string]any{"ClientRequestToken": token})
	again := begin(t, "SELECT 1", map[string]any{"ClientRequestToken": token})
	other := athenaRefuses(t, "StartQueryExecution", map[string]any{
		"QueryString": "SELECT 2", "WorkGroup": outputs["WorkGroup"], "QueryExecutionContext": map[string]any{"Database": outputs["Database"]}, "ClientRequestToken": token,
	})
	saw(t, "athena/execution/idempotent", fmt.Sprintf("the same again: %v\nanother query: %s", first == again, other), "the same again: true\nanother query: 400 InvalidRequestException")
}

// slow is a query that takes minutes.
const slow = "SELECT count(*) FROM UNNEST(sequence(1, 10000)) AS a(x) CROSS JOIN UNNEST(sequence(1, 10000)) AS b(y) CROSS JOIN UNNEST(sequence(1, 10000)) AS c(z) WHERE sqrt(x) * y = z + 0.5"

func TestAQueryIsStopped(t *testing.T) {
	t.Parallel()
	id := begin(t, slow, nil)
	early := athenaRefuses(t, "GetQueryResults", map[string]any{"QueryExecutionId": id})
	var none struct{}
	show(t, "athena", "AmazonAthena.StopQueryExecution", map[string]any{"QueryExecutionId": id}, &none)
	state, _ := ended(t, id)
	saw(t, "athena/execution/stopped", state, "CANCELLED")
	empty := athenaRefuses(t, "StartQueryExecution", map[string]any{"QueryString": "SELECT 1", "WorkGroup": lake(t)["WorkGroup"], "ExecutionParameters": []string{}})
	saw(t, "athena/execution/refused", "results before the end: "+early+"\nan empty list: "+empty, "results before the end: 400 InvalidRequestException\nan empty list: 400 InvalidRequestException")
}

func TestARowOfAStreamIsQueried(t *testing.T) {
	t.Parallel()
	stream, id := lake(t)["Stream"], rand.Text()
	_, err := firehoseClient(here.Config).PutRecord(t.Context(), &firehose.PutRecordInput{DeliveryStreamName: &stream, Record: &types.Record{
		Data: []byte(`{"ID":"` + id + `","count":7,"Size":"9007199254740993","ok":true,"time":"2026-03-04T05:06:07Z","tags":["a","b"],"attributes":{"k":"v"}}`),
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, key := awaitRow(t, id)
	day := regexp.MustCompile(`day=([0-9-]{10})/`).FindStringSubmatch(key)
	if day == nil {
		t.Fatalf("the object's key is %s", key)
	}
	const columns = "SELECT count, size, ok, \"at\", tags, element_at(attributes, 'k') AS k FROM events WHERE id = ? AND day = ?"
	there := answers(t, columns, map[string]any{"ExecutionParameters": []string{"'" + id + "'", "'" + day[1] + "'"}})
	elsewhere := answers(t, columns, map[string]any{"ExecutionParameters": []string{"'" + id + "'", "'2026-01-01'"}})
	saw(t, "athena/execution/lake", strings.Join(append(there.lines(), elsewhere.lines()...), "\n"),
		"count; size; ok; at; tags; k\n7; 9007199254740993; true; 2026-03-04 05:06:07.000; [a, b]; v\ncount; size; ok; at; tags; k")
	injected(t, id, day[1])
}

// injected asks the table pieces, which has the same objects by another kind of partition.
func injected(t *testing.T, id, day string) {
	t.Helper()
	ask := func(piece string) []string {
		return answers(t, "SELECT n, piece FROM (SELECT count AS n, piece FROM pieces WHERE id = '"+id+"' AND piece = '"+piece+"' UNION ALL SELECT 0, 'none')", nil).lines()
	}
	there, elsewhere := ask(day), ask("2026-01-01")
	slices.Sort(there[1:])
	state, reason := ended(t, begin(t, "SELECT count FROM pieces WHERE id = '"+id+"'", nil))
	saw(t, "athena/execution/injected", strings.ReplaceAll(strings.Join(append(there, elsewhere...), "\n"), day, "<day>")+"\n"+state+" "+regexp.MustCompile("^[A-Z_]*").FindString(reason),
		"n; piece\n0; none\n7; <day>\nn; piece\n0; none\nFAILED CONSTRAINT_VIOLATION")
}
