package athena_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/stile-dev/stile/localstack/athena"
	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/s3"
)

// engine is what make duck builds.
const engine = "../../bin/duck"

// lake is buckets and a catalog in memory.
type lake struct {
	dir    string
	tables map[string]glue.Table
	found  []s3.Stored
	put    map[string][]byte
	denied error // what nobody may, if anything
}

func (l *lake) Put(_ *iam.Principal, bucket, key string, body []byte) error {
	l.put[bucket+"/"+key] = body
	return nil
}

func (l *lake) Get(_ *iam.Principal, bucket, key string) ([]byte, error) {
	body, there := l.put[bucket+"/"+key]
	if !there {
		return nil, errors.New("no such object")
	}
	return body, nil
}

func (l *lake) Find(_ *iam.Principal, _, _ string) ([]s3.Stored, error) { return l.found, l.denied }

func (l *lake) table(name string) (glue.Table, error) {
	t, there := l.tables[name]
	if !there {
		return t, glue.ErrNotFound
	}
	return t, nil
}

// catalog is the lake's other face.
type catalog struct{ *lake }

func (c catalog) Find(_, name string) (glue.Table, error) { return c.table(name) }

func (c catalog) Read(_ *iam.Principal, _, name string) (glue.Table, error) { return c.table(name) }

// file adds an object with rows to a day of the table.
func file[R any](t *testing.T, l *lake, day string, rows ...R) {
	t.Helper()
	var b bytes.Buffer
	if err := parquet.Write(&b, rows); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(l.dir, fmt.Sprint(len(l.found)))
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	l.found = append(l.found, s3.Stored{Key: "events/day=" + day + "/" + fmt.Sprint(len(l.found)), Size: int64(b.Len()), Path: path})
}

// asking is a service with a table, and what asks it.
func asking(t *testing.T) (*lake, func(operation, body string) (int, string)) {
	t.Helper()
	if _, err := os.Stat(engine); err != nil {
		t.Fatal("build the engine first, by make duck: ", err)
	}
	path, err := filepath.Abs(engine)
	if err != nil {
		t.Fatal(err)
	}
	return askingBy(t, path)
}

// askingBy is asking with another engine.
func askingBy(t *testing.T, path string) (*lake, func(operation, body string) (int, string)) {
	t.Helper()
	l := &lake{dir: t.TempDir(), put: map[string][]byte{}, tables: map[string]glue.Table{"deliveries": {
		Database: "stile", Name: "deliveries", Type: "EXTERNAL_TABLE", Location: "s3://lake/events/",
		Columns:    []glue.Column{{Name: "id", Type: "string"}, {Name: "time", Type: "timestamp"}, {Name: "n", Type: "bigint"}, {Name: "roles", Type: "array<string>"}, {Name: "data", Type: "map<string,string>"}},
		Partitions: []glue.Column{{Name: "day", Type: "string"}},
		Parameters: map[string]string{
			"projection.enabled": "true", "projection.day.type": "date", "projection.day.format": "yyyy-MM-dd", "projection.day.range": "2026-01-01,NOW+1DAY",
			"storage.location.template": "s3://lake/events/day=${day}/",
		},
	}}}
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	s, err := athena.Open(athena.Config{Dir: t.TempDir(), Authority: a, Now: func() time.Time { return when }, Buckets: l, Catalog: catalog{l}, Engine: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), a.Close()); err != nil {
			t.Error(err)
		}
	})
	provision(t, s, group(nil))
	return l, ask(t, s, a, allowed("athena:*", "audit"))
}

// execution is what GetQueryExecution says.
type execution struct {
	Query  string
	Status struct{ State, StateChangeReason string }
	Result struct{ OutputLocation string }    `json:"ResultConfiguration"`
	Stats  struct{ DataScannedInBytes int64 } `json:"Statistics"`
}

// start starts a query and waits for its end.
func start(t *testing.T, call func(operation, body string) (int, string), sql string, values ...string) (string, execution) {
	t.Helper()
	in := map[string]any{"QueryString": sql, "WorkGroup": "audit", "QueryExecutionContext": map[string]any{"Database": "stile"}}
	if len(values) > 0 {
		in["ExecutionParameters"] = values
	}
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	status, answer := call("AmazonAthena.StartQueryExecution", string(body))
	var begun struct {
		ID string `json:"QueryExecutionId"`
	}
	if err := json.Unmarshal([]byte(answer), &begun); err != nil || status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	return begun.ID, wait(t, call, begun.ID)
}

func wait(t *testing.T, call func(operation, body string) (int, string), id string) execution {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		_, answer := call("AmazonAthena.GetQueryExecution", `{"QueryExecutionId": "`+id+`"}`)
		var got struct{ QueryExecution execution }
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(answer)
		}
		if s := got.QueryExecution.Status.State; s != "QUEUED" && s != "RUNNING" {
			return got.QueryExecution
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %s", answer)
		}
	}
}

// results are all rows of a query's answer, the names first; nil is "∅".
func results(t *testing.T, call func(operation, body string) (int, string), id string) (rows [][]string, types []string, pages int) {
	t.Helper()
	for next, more := "", true; more; {
		body := `{"QueryExecutionId": "` + id + `"}`
		if next != "" {
			body = `{"QueryExecutionId": "` + id + `", "NextToken": "` + next + `"}`
		}
		status, answer := call("AmazonAthena.GetQueryResults", body)
		var page struct {
			NextToken string
			ResultSet struct {
				Rows []struct {
					Data []struct{ VarCharValue *string }
				}
				Meta struct{ ColumnInfo []struct{ Name, Type string } } `json:"ResultSetMetadata"`
			}
		}
		if err := json.Unmarshal([]byte(answer), &page); err != nil || status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		types = nil
		for _, c := range page.ResultSet.Meta.ColumnInfo {
			types = append(types, c.Type)
		}
		for _, r := range page.ResultSet.Rows {
			var row []string
			for _, d := range r.Data {
				if d.VarCharValue == nil {
					row = append(row, "∅")
				} else {
					row = append(row, *d.VarCharValue)
				}
			}
			rows = append(rows, row)
		}
		pages++
		next, more = page.NextToken, page.NextToken != ""
	}
	return rows, types, pages
}

type whole struct {
	ID    *string           `parquet:"id,optional"`
	Time  time.Time         `parquet:"time,timestamp(millisecond)"`
	N     *int64            `parquet:"n,optional"`
	Roles []string          `parquet:"roles,list"`
	Data  map[string]string `parquet:"data"`
}

type less struct {
	ID string `parquet:"id"`
}

func TestAQueryReadsTheObjectsOfATable(t *testing.T) {
	l, call := asking(t)
	id, n := `say "a, b"`+"\n", int64(7)
	file(t, l, "2026-03-03", whole{ID: &id, Time: when, N: &n, Roles: []string{"a", "b"}, Data: map[string]string{"k": "v", "a": "b"}}, whole{Time: when})
	file(t, l, "2026-03-04", less{"a day without the other columns"})
	file(t, l, "2025-12-31", less{"before the projection's range"})
	file(t, l, "2026-03-06", less{"behind it"})
	file(t, l, "2026-3-4", less{"of another format"})
	q, e := start(t, call, "SELECT *, element_at(data, 'k') AS k, element_at(data, 'z') AS z FROM deliveries ORDER BY day, id;")
	if e.Status.State != "SUCCEEDED" || e.Result.OutputLocation != "s3://lake/answers/"+q+".csv" || e.Stats.DataScannedInBytes != l.found[0].Size+l.found[1].Size {
		t.Fatalf("%+v", e)
	}
	rows, types, _ := results(t, call, q)
	want := [][]string{
		{"id", "time", "n", "roles", "data", "day", "k", "z"},
		{id, "2026-03-04 05:06:07.000", "7", "[a, b]", "{a=b, k=v}", "2026-03-03", "v", "∅"},
		{"∅", "2026-03-04 05:06:07.000", "∅", "[]", "{}", "2026-03-03", "∅", "∅"},
		{"a day without the other columns", "∅", "∅", "∅", "∅", "2026-03-04", "∅", "∅"},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if got := strings.Join(types, " "); got != "varchar timestamp bigint array map varchar varchar varchar" {
		t.Errorf("types are %s", got)
	}
	if got := string(l.put["lake/answers/"+q+".csv"]); !strings.Contains(got, `"say ""a, b""`) || !strings.Contains(got, "\n,\"2026-03-04 05:06:07.000\",,") {
		t.Errorf("the result in S3 is %s", got)
	}
}

func TestParametersAreValuesAndNeverText(t *testing.T) {
	l, call := asking(t)
	file(t, l, "2026-03-03", less{"a'b"}, less{"?"}, less{"c"})
	q, e := start(t, call, "SELECT id, '?' AS mark /* ? */ FROM deliveries WHERE id IN (?, ?) -- ?\nORDER BY 1", "'a''b'", "'?'")
	if e.Status.State != "SUCCEEDED" {
		t.Fatalf("%+v", e)
	}
	if rows, _, _ := results(t, call, q); !slices.EqualFunc(rows, [][]string{{"id", "mark"}, {"?", "?"}, {"a'b", "?"}}, slices.Equal[[]string]) {
		t.Errorf("%q", rows)
	}
	if _, e := start(t, call, "SELECT ?", "1", "2"); e.Status.State != "FAILED" || !strings.Contains(e.Status.StateChangeReason, "number of parameters") {
		t.Errorf("%+v", e)
	}
}

func TestResultsComeByPages(t *testing.T) {
	_, call := asking(t)
	q, e := start(t, call, "SELECT x FROM range(2500) t(x) ORDER BY x")
	rows, _, pages := results(t, call, q)
	if e.Status.State != "SUCCEEDED" || len(rows) != 2501 || pages != 3 || rows[2500][0] != "2499" {
		t.Errorf("%d rows on %d pages: %+v", len(rows), pages, e)
	}
	if status, answer := call("AmazonAthena.GetQueryResults", `{"QueryExecutionId": "`+q+`", "NextToken": "other 1000"}`); status != 400 {
		t.Errorf("%d %s", status, answer)
	}
}

func TestAViewIsItsQuery(t *testing.T) {
	l, call := asking(t)
	file(t, l, "2026-03-03", less{"a"}, less{"a"}, less{"b"})
	view := func(sql string, names ...string) glue.Table {
		columns := make([]map[string]string, len(names))
		for i, n := range names {
			columns[i] = map[string]string{"name": n, "type": "varchar"}
		}
		raw, err := json.Marshal(map[string]any{"originalSql": sql, "catalog": "awsdatacatalog", "schema": "stile", "columns": columns})
		if err != nil {
			t.Fatal(err)
		}
		return glue.Table{Database: "stile", Name: "events", Type: "VIRTUAL_VIEW", ViewOriginalText: "/* Presto View: " + base64.StdEncoding.EncodeToString(raw) + " */"}
	}
	l.tables["events"] = view("SELECT DISTINCT id FROM deliveries", "id")
	q, e := start(t, call, "SELECT id FROM stile.events ORDER BY id")
	if e.Status.State != "SUCCEEDED" {
		t.Fatalf("%+v", e)
	}
	if rows, _, _ := results(t, call, q); len(rows) != 3 {
		t.Errorf("%q", rows)
	}
	l.tables["events"] = view("SELECT DISTINCT id FROM deliveries", "id", "more")
	if _, e := start(t, call, "SELECT id FROM events"); e.Status.State != "FAILED" {
		t.Errorf("a stale view: %+v", e)
	}
}

// What isn't a query of the tables is not run, and reaches nothing of this machine.
func TestAQueryReachesItsTablesAlone(t *testing.T) {
	l, call := asking(t)
	file(t, l, "2026-03-03", less{"a"})
	for _, sql := range []string{
		"SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM read_text('" + l.dir + "/0')", "SELECT * FROM '/etc/passwd'", "SELECT * FROM \"/etc/passwd\"", "SELECT * FROM glob('/*')",
		"COPY (SELECT 1) TO '" + l.dir + "/written'", "CREATE TABLE x AS SELECT 1", "SET threads = 8", "ATTACH '" + l.dir + "/db'", "INSTALL httpfs", "PRAGMA database_list",
		"SELECT 1; SELECT 2", "DROP VIEW deliveries", "EXPLAIN ANALYZE SELECT 1", "SELECT * FROM query('SELECT 1')", "SELECT getenv('PATH')", "SELECT * FROM duckdb_settings()", "",
	} {
		if sql == "" {
			if status, _ := call("AmazonAthena.StartQueryExecution", `{"QueryString": "", "WorkGroup": "audit", "QueryExecutionContext": {"Database": "stile"}}`); status != 400 {
				t.Errorf("nothing is asked: %d", status)
			}
			continue
		}
		if _, e := start(t, call, sql); e.Status.State != "FAILED" || e.Status.StateChangeReason == "" {
			t.Errorf("%s: %+v", sql, e)
		}
	}
	if left, err := os.ReadDir(l.dir); err != nil || len(left) != 1 {
		t.Errorf("there is %v %v", left, err)
	}
}

func TestAQueryIsBounded(t *testing.T) {
	l, call := asking(t)
	file(t, l, "2026-03-03", less{"a"})
	l.found[0].Size = 10_000_001 // the workgroup's limit, and one
	if _, e := start(t, call, "SELECT count(*) FROM deliveries"); e.Status.State != "CANCELLED" || !strings.Contains(e.Status.StateChangeReason, "Bytes scanned limit was exceeded") {
		t.Errorf("%+v", e)
	}
	for _, sql := range []string{"SELECT x FROM range(300000) t(x)", "SELECT repeat('x', 1000000) FROM range(50) t(x)", "SELECT count(DISTINCT repeat(cast(x AS varchar), 5000)) FROM range(1000000) t(x)"} {
		if _, e := start(t, call, sql); e.Status.State != "FAILED" {
			t.Errorf("%s: %+v", sql, e)
		}
	}
	l.denied = s3.ErrDenied
	if _, e := start(t, call, "SELECT 1 FROM deliveries"); e.Status.State != "FAILED" || !strings.Contains(e.Status.StateChangeReason, "access denied") {
		t.Errorf("%+v", e)
	}
}

// make up needs no C++ compiler, so the engine may not be there.
func TestWithoutAnEngineAQuerySaysHowToBuildIt(t *testing.T) {
	_, call := askingBy(t, filepath.Join(t.TempDir(), "duck"))
	if _, e := start(t, call, "SELECT 1"); e.Status.State != "FAILED" || !strings.Contains(e.Status.StateChangeReason, "make duck") {
		t.Errorf("%+v", e)
	}
}

func TestAQueryIsStoppedAndStartedOnce(t *testing.T) {
	_, call := asking(t)
	token := strings.Repeat("t", 32)
	begin := func(sql string) (int, string) {
		return call("AmazonAthena.StartQueryExecution", fmt.Sprintf(`{"QueryString": %q, "WorkGroup": "audit", "ClientRequestToken": %q, "QueryExecutionContext": {"Database": "stile"}}`, sql, token))
	}
	const long = "SELECT count(*) FROM range(1000000000) a(x), range(1000000) b(y) WHERE x % 7 = y % 11"
	status, first := begin(long)
	if again, second := begin(long); status != 200 || again != 200 || first != second {
		t.Fatalf("%d %s, then %d %s", status, first, again, second)
	}
	if status, answer := begin("SELECT 2"); status != 400 || !strings.Contains(answer, "Idempotent") {
		t.Errorf("another query with the same token: %d %s", status, answer)
	}
	id := strings.Split(first, `"`)[3]
	if status, answer := call("AmazonAthena.GetQueryResults", `{"QueryExecutionId": "`+id+`"}`); status != 400 {
		t.Errorf("results before the end: %d %s", status, answer)
	}
	if status, answer := call("AmazonAthena.StopQueryExecution", `{"QueryExecutionId": "`+id+`"}`); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	if e := wait(t, call, id); e.Status.State != "CANCELLED" {
		t.Errorf("%+v", e)
	}
}
