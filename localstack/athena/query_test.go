package athena_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/stile-dev/stile/localstack/athena"
	"github.com/stile-dev/stile/localstack/gate/gatetest"
	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/s3"
)

// world is an Athena with a lake: a table events with a projection of days, and a workgroup audit.
type world struct {
	*athena.Service
	t         testing.TB
	dir       string
	authority *iam.Authority
	s3        *s3.Service
	glue      *glue.Service
	owner     *iam.Principal
	now       time.Time
}

const everything = `{"Effect":"Allow","Action":["athena:*","glue:*","s3:*"],"Resource":"*"}`

func newWorld(t testing.TB, edits ...func(configuration map[string]any)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)}
	var err error
	w.authority, err = iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	w.must(err)
	w.s3, err = s3.Open(s3.Config{Dir: t.TempDir(), Authority: w.authority})
	w.must(err)
	w.glue, err = glue.Open(glue.Config{Dir: t.TempDir(), Authority: w.authority})
	w.must(err)
	w.open()
	t.Cleanup(func() {
		if err := errors.Join(w.Close(), w.glue.Close(), w.s3.Close(), w.authority.Close()); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(w.dir, "query-*")); left != nil {
			t.Errorf("queries left %q", left)
		}
	})
	w.owner = w.principal("owner", everything)
	for _, bucket := range []string{"lake", "answers", "other"} {
		_, err := w.s3.Provision(resource.Resource{LogicalID: bucket, Type: "AWS::S3::Bucket", Properties: map[string]any{"BucketName": bucket}})
		w.must(err)
	}
	_, err = w.glue.Provision(resource.Resource{LogicalID: "Database", Type: "AWS::Glue::Database", Properties: map[string]any{
		"CatalogId": account, "DatabaseInput": map[string]any{"Name": "lake"},
	}})
	w.must(err)
	w.table("events", nil)
	provision(t, w.Service, group(func(c, _ map[string]any) {
		c["ResultConfiguration"] = map[string]any{"OutputLocation": "s3://answers/audit/"}
		for _, edit := range edits {
			edit(c)
		}
	}))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() {
	engine, err := filepath.Abs("../../bin/duck")
	w.must(err)
	if _, err := os.Stat(engine); err != nil {
		w.t.Fatalf("the engine is missing: run make duck (%v)", err)
	}
	w.Service, err = athena.Open(athena.Config{Dir: w.dir, Authority: w.authority, Buckets: w.s3, Catalog: w.glue, Engine: engine, Now: func() time.Time { return w.now }})
	w.must(err)
}

func (w *world) principal(name, statements string) *iam.Principal {
	w.t.Helper()
	role, err := w.authority.PutRole(iam.Role{
		Name:   name,
		Trust:  json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Statement":[` + statements + `]}`)}},
	})
	w.must(err)
	c, err := w.authority.Mint(role.ARN, "one", time.Hour)
	w.must(err)
	_, who, err := w.authority.Lookup(c.AccessKeyID)
	w.must(err)
	return who
}

// columns are those of events.
var columns = []any{
	map[string]any{"Name": "id", "Type": "string"},
	map[string]any{"Name": "n", "Type": "bigint"},
	map[string]any{"Name": "received", "Type": "timestamp"},
	map[string]any{"Name": "ok", "Type": "boolean"},
	map[string]any{"Name": "tags", "Type": "array<string>"},
	map[string]any{"Name": "data", "Type": "map<string,string>"},
}

// table makes a table of Parquet files, projected by days, whose parameters more changes.
func (w *world) table(name string, more map[string]any) {
	w.t.Helper()
	w.tableOf(name, columns, more)
}

// tableOf is table with columns of its own.
func (w *world) tableOf(name string, columns []any, more map[string]any) {
	w.t.Helper()
	parameters := map[string]any{
		"projection.day.type": "date", "projection.day.format": "yyyy-MM-dd",
		"projection.day.range": "2026-01-01,NOW", "projection.day.interval": "1", "projection.day.interval.unit": "DAYS", "storage.location.template": "s3://lake/" + name + "/day=${day}/",
	}
	maps.Copy(parameters, more)
	w.tableBy(name, columns, "day", parameters)
}

// injected makes a table of Parquet files whose partitions a query has to name.
func (w *world) injected(name string, columns []any, key string) {
	w.t.Helper()
	w.tableBy(name, columns, key, map[string]any{"projection." + key + ".type": "injected", "storage.location.template": "s3://lake/" + name + "/" + key + "=${" + key + "}/"})
}

// tableBy makes a table of Parquet files with one partition key.
func (w *world) tableBy(name string, columns []any, key string, parameters map[string]any) {
	w.t.Helper()
	parameters["classification"], parameters["projection.enabled"] = "parquet", "true"
	_, err := w.glue.Provision(resource.Resource{LogicalID: name, Type: "AWS::Glue::Table", Properties: map[string]any{
		"CatalogId": account, "DatabaseName": "lake", "TableInput": map[string]any{
			"Name": name, "TableType": "EXTERNAL_TABLE", "Parameters": parameters, "PartitionKeys": []any{map[string]any{"Name": key, "Type": "string"}},
			"StorageDescriptor": map[string]any{
				"Columns": columns, "Location": "s3://lake/" + name + "/",
				"InputFormat":  "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
				"OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
				"SerdeInfo":    map[string]any{"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
			},
		},
	}})
	w.must(err)
}

// view makes a view with the columns given as "name type".
func (w *world) view(name, sql string, columns ...string) {
	w.t.Helper()
	var presto, hive []any
	for _, c := range columns {
		title, kind, _ := strings.Cut(c, " ")
		presto = append(presto, map[string]any{"name": title, "type": kind})
		hive = append(hive, map[string]any{"Name": title, "Type": "string"})
	}
	raw, err := json.Marshal(map[string]any{"originalSql": sql, "catalog": "awsdatacatalog", "schema": "lake", "columns": presto})
	w.must(err)
	_, err = w.glue.Provision(resource.Resource{LogicalID: name, Type: "AWS::Glue::Table", Properties: map[string]any{
		"CatalogId": account, "DatabaseName": "lake", "TableInput": map[string]any{
			"Name": name, "TableType": "VIRTUAL_VIEW", "ViewExpandedText": "/* Presto View */", "Parameters": map[string]any{"presto_view": "true"},
			"ViewOriginalText":  "/* Presto View: " + base64.StdEncoding.EncodeToString(raw) + " */",
			"StorageDescriptor": map[string]any{"Columns": hive},
		},
	}})
	w.must(err)
}

// event is a row of a file of events.
type event struct {
	ID       *string           `parquet:"id,optional"`
	N        *int64            `parquet:"n,optional"`
	Received *time.Time        `parquet:"received,optional,timestamp(microsecond)"`
	OK       *bool             `parquet:"ok,optional"`
	Tags     []string          `parquet:"tags,list"`
	Data     map[string]string `parquet:"data"`
}

// file puts rows of any kind into a Parquet file at a key of the lake.
func file[R any](w *world, key string, rows ...R) {
	w.t.Helper()
	var b bytes.Buffer
	p := parquet.NewGenericWriter[R](&b)
	_, err := p.Write(rows)
	w.must(errors.Join(err, p.Close()))
	w.must(w.s3.Put(w.owner, "lake", key, b.Bytes()))
}

// some puts an event with an id alone, received then, into its day.
func (w *world) some(id string, received time.Time) {
	file(w, "events/day="+received.Format(time.DateOnly)+"/"+id+".parquet", event{ID: &id, Received: &received})
}

type call = func(operation, body string) (int, string)

type execution struct {
	QueryExecution struct {
		Query, StatementType, WorkGroup string
		Status                          struct{ State, StateChangeReason string }
		Statistics                      struct{ DataScannedInBytes, EngineExecutionTimeInMillis int64 }
		ResultConfiguration             struct{ OutputLocation string }
	}
}

// start begins a query and returns its id.
func start(t testing.TB, c call, query string, more map[string]any) string {
	t.Helper()
	request := map[string]any{"QueryString": query, "WorkGroup": "audit", "QueryExecutionContext": map[string]any{"Database": "lake"}}
	maps.Copy(request, more)
	raw, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	status, body := c("AmazonAthena.StartQueryExecution", string(raw))
	var out struct {
		ID string `json:"QueryExecutionId"`
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil || status != http.StatusOK || out.ID == "" {
		t.Fatalf("%s: %d %s", query, status, body)
	}
	return out.ID
}

// wait looks at an execution until it is as wanted.
func wait(t testing.TB, c call, id string, as func(execution) bool) (e execution) {
	t.Helper()
	for limit := time.After(time.Minute); ; {
		e = execution{}
		if status, body := c("AmazonAthena.GetQueryExecution", `{"QueryExecutionId":"`+id+`"}`); status != http.StatusOK || json.Unmarshal([]byte(body), &e) != nil {
			t.Fatalf("%d %s", status, body)
		}
		if as(e) {
			return e
		}
		select {
		case <-limit:
			t.Fatalf("after a minute it is %+v", e)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func done(e execution) bool {
	s := e.QueryExecution.Status.State
	return s != "QUEUED" && s != "RUNNING"
}

type page struct {
	NextToken string
	ResultSet struct {
		Rows []struct {
			Data []struct{ VarCharValue *string }
		}
		ResultSetMetadata struct{ ColumnInfo []struct{ Name, Type string } }
	}
}

// rows are an answer's in one line, the columns first.
func (p page) rows() string {
	var lines []string
	for _, r := range p.ResultSet.Rows {
		var cells []string
		for _, d := range r.Data {
			if d.VarCharValue == nil {
				cells = append(cells, "NULL")
			} else {
				cells = append(cells, *d.VarCharValue)
			}
		}
		lines = append(lines, strings.Join(cells, ","))
	}
	return strings.Join(lines, " | ")
}

// sql runs a query to its end and returns its answer in one line, or its state with the reason.
func sql(t testing.TB, c call, text string, parameters ...string) string {
	t.Helper()
	more := map[string]any{}
	if parameters != nil {
		more["ExecutionParameters"] = parameters
	}
	id := start(t, c, text, more)
	e := wait(t, c, id, done).QueryExecution
	if e.Status.State != "SUCCEEDED" {
		return e.Status.State + " " + e.Status.StateChangeReason
	}
	var p page
	if status, body := c("AmazonAthena.GetQueryResults", `{"QueryExecutionId":"`+id+`"}`); status != http.StatusOK || json.Unmarshal([]byte(body), &p) != nil {
		t.Fatalf("%s: %d %s", text, status, body)
	}
	return p.rows()
}

// A table whose partitions are injected is read no further than a query names them, by everything that Athena takes for that.
func TestAnInjectedPartitionIsReadWhereAQueryNamesIt(t *testing.T) {
	w := newWorld(t)
	w.injected("pieces", columns, "q")
	for _, id := range []string{"a", "b"} {
		file(w, "pieces/q="+id+"/1.parquet", event{ID: &id})
	}
	w.must(w.s3.Put(w.owner, "lake", "pieces/q=c/1.parquet", []byte("not read, so that nobody sees what it is")))
	w.view("one", "SELECT id FROM pieces WHERE q = 'a'", "id varchar")
	w.view("two", "SELECT id FROM pieces WHERE q = 'b'", "id varchar")
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	const violated = "FAILED CONSTRAINT_VIOLATION: For the injected projected partition column q"
	for text, want := range map[string]string{
		"SELECT id, q FROM pieces WHERE q = 'a'":                                                       "id,q | a,a",
		"SELECT id FROM (SELECT * FROM pieces AS s WHERE 'b' = s.q AND id IS NOT NULL)":                "id | b",
		"SELECT id FROM pieces WHERE q = 'a' UNION ALL SELECT id FROM pieces WHERE q = 'b' ORDER BY 1": "id | a | b",
		"SELECT id FROM pieces WHERE q = 'none'":                                                       "id",
		"SELECT id FROM pieces":                                                                        violated,
		"SELECT id FROM pieces WHERE q > 'a'":                                                          violated,
		"SELECT id FROM pieces WHERE q = 'a' OR q = 'b'":                                               violated,
		"SELECT id FROM pieces WHERE q = lower('A')":                                                   violated,
		"SELECT id FROM pieces WHERE q = 'a' UNION ALL SELECT id FROM pieces":                          violated,
		"SELECT * FROM one": "id | a",
		"SELECT * FROM one, (SELECT q FROM pieces WHERE q = 'a')": "id,q | a,a",
		"SELECT one.id FROM one, two":                             "FAILED the local Athena reads one choice of q of the table awsdatacatalog.lake.pieces",
	} {
		if got := sql(t, c, text); got != want && (!strings.HasPrefix(want, "FAILED") || !strings.HasPrefix(got, want)) {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestAQueryGivesWhatTheLakeHas(t *testing.T) {
	w := newWorld(t)
	id, n, ok, at := `a "b", c`, int64(7), true, time.Date(2026, 3, 3, 23, 59, 59, 123456000, time.UTC)
	file(w, "events/day=2026-03-03/1.parquet", event{&id, &n, &at, &ok, []string{"x", "y"}, map[string]string{"k": "v"}}, event{})
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	for text, want := range map[string]string{
		"SELECT id, n, received, ok, tags, data, day FROM events WHERE n = 7":        `id,n,received,ok,tags,data,day | a "b", c,7,2026-03-03 23:59:59.123,true,[x, y],{k=v},2026-03-03`,
		"SELECT id, n, received, ok, day FROM lake.events WHERE n IS NULL":           "id,n,received,ok,day | NULL,NULL,NULL,NULL,2026-03-03",
		"SELECT count(*), element_at(data, 'k') k FROM events GROUP BY 2 ORDER BY 2": "_col0,k | 1,v | 1,NULL",
		"SELECT '' AS e, NULL AS n":                                                "e,n | ,NULL",
		"SELECT id FROM events WHERE n = 8":                                        "id",
		"SELECT upper(id) AS u FROM AwsDataCatalog.lake.events ORDER BY u LIMIT 1": `u | A "B", C`,
	} {
		if got := sql(t, c, text); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
	id2 := start(t, c, "-- why\n SELECT id, n, received, ok, tags, data FROM events", nil)
	e := wait(t, c, id2, done).QueryExecution
	if e.Query != "-- why\n SELECT id, n, received, ok, tags, data FROM events" || e.StatementType != "DML" || e.WorkGroup != "audit" ||
		e.ResultConfiguration.OutputLocation != "s3://answers/audit/"+id2+".csv" || e.Statistics.DataScannedInBytes < 500 {
		t.Errorf("%+v", e)
	}
	_, body := c("AmazonAthena.GetQueryResults", `{"QueryExecutionId":"`+id2+`","MaxResults":1}`)
	var p page
	w.must(json.Unmarshal([]byte(body), &p))
	if got := fmt.Sprint(p.ResultSet.ResultSetMetadata.ColumnInfo); got != "[{id varchar} {n bigint} {received timestamp} {ok boolean} {tags array} {data map}]" {
		t.Error(got)
	}
	raw, err := w.s3.Read(w.owner, "answers", "audit/"+id2+".csv", 1<<20)
	w.must(err)
	want := `"id","n","received","ok","tags","data"` + "\n" + `"a ""b"", c","7","2026-03-03 23:59:59.123","true","[x, y]","{k=v}"` + "\n"
	if !strings.HasPrefix(string(raw), want) || !strings.Contains(string(raw), "\n,,,,") {
		t.Errorf("the file is %s", raw)
	}
	if _, err := w.s3.Read(w.owner, "answers", "audit/"+id2+".csv.metadata", 1<<20); err != nil {
		t.Error(err)
	}
}

func TestADayBeginsAndEndsAtMidnight(t *testing.T) {
	w := newWorld(t)
	w.some("last", time.Date(2026, 3, 3, 23, 59, 59, 0, time.UTC))
	w.some("first", time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC))
	w.some("early", time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)) // before the range
	w.some("future", time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC))  // after NOW
	id := "odd"
	for _, key := range []string{"events/day=2026-3-4/x.parquet", "events/day=20260304/x.parquet", "events/2026-03-04/x.parquet", "events/day=2026-02-30/x.parquet", "events/x.parquet", "events/day=2026-03-04/_x", "events/day=2026-03-04/.x"} {
		file(w, key, event{ID: &id})
	}
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	for text, want := range map[string]string{
		"SELECT id, day FROM events ORDER BY received":                                          "id,day | last,2026-03-03 | first,2026-03-04",
		"SELECT id FROM events WHERE day = '2026-03-03'":                                        "id | last",
		"SELECT id FROM events WHERE received >= TIMESTAMP '2026-03-04 00:00:00'":               "id | first",
		"SELECT id FROM events WHERE received < from_iso8601_timestamp('2026-03-04T00:00:00Z')": "id | last",
	} {
		if got := sql(t, c, text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	w.table("deep", map[string]any{"projection.day.format": "yyyy/MM/dd", "projection.day.range": "2026/01/01,NOW", "storage.location.template": "s3://lake/deep/${day}/"})
	file(w, "deep/2026/03/04/a/x.parquet", event{ID: &id})
	if got := sql(t, c, "SELECT id, day FROM deep"); got != "id,day | odd,2026/03/04" {
		t.Errorf("folders of a date: %s", got)
	}
}

func TestFilesOfOtherShapesAreReadByName(t *testing.T) {
	w := newWorld(t)
	id, n := "a", int64(1)
	file(w, "events/day=2026-03-01/1.parquet", struct {
		N  *int64  `parquet:"N,optional"`
		ID *string `parquet:"ID,optional"`
		X  string  `parquet:"more"`
	}{&n, &id, "unknown to the table"})
	file(w, "events/day=2026-03-02/1.parquet", struct {
		ID string `parquet:"id"`
	}{"b"})
	file(w, "events/day=2026-03-03/1.parquet", event{}, event{})
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	for text, want := range map[string]string{
		"SELECT id, n, ok, day FROM events ORDER BY day, id":                            "id,n,ok,day | a,1,NULL,2026-03-01 | b,NULL,NULL,2026-03-02 | NULL,NULL,NULL,2026-03-03 | NULL,NULL,NULL,2026-03-03",
		"SELECT id, n, element_at(data, 'x') AS x FROM events WHERE day = '2026-03-02'": "id,n,x | b,NULL,NULL",
		"SELECT count(n) AS c FROM events":                                              "c | 1",
	} {
		if got := sql(t, c, text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := sql(t, c, "SELECT more FROM events"); !strings.HasPrefix(got, "FAILED ") {
		t.Errorf("a column that the table lacks: %s", got)
	}
	w.must(w.s3.Put(w.owner, "lake", "events/day=2026-03-04/bad.parquet", []byte("not Parquet at all, by no means")))
	if got := sql(t, c, "SELECT id FROM events"); !strings.HasPrefix(got, "FAILED ") {
		t.Errorf("a file that is no Parquet: %s", got)
	}
	w.table("empty", nil)
	if got := sql(t, c, "SELECT id, n, tags, data, day FROM empty"); got != "id,n,tags,data,day" {
		t.Errorf("a table without objects: %s", got)
	}
}

func TestAViewIsReadWhileItsColumnsAreThose(t *testing.T) {
	w := newWorld(t)
	w.some("a", time.Date(2026, 3, 3, 1, 2, 3, 0, time.UTC))
	w.view("recent", "SELECT id, count(*) AS n, max(received) AS last, day FROM events GROUP BY id, day", "id varchar", "n bigint", "last timestamp(3)", "day varchar")
	w.view("over", "SELECT id AS who FROM recent WHERE n > 0 -- at the end", "who varchar")
	w.view("renamed", "SELECT id FROM events", "name varchar")
	w.view("retyped", "SELECT id, n FROM events", "id varchar", "n varchar")
	w.view("wider", "SELECT * FROM events", "id varchar")
	w.view("broken", "SELECT gone FROM events", "gone varchar")
	w.view("evil", "SELECT 1 AS a; DROP VIEW x", "a integer")
	w.view("self", "SELECT id FROM self", "id varchar")
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	for text, want := range map[string]string{
		"SELECT * FROM recent": "id,n,last,day | a,1,2026-03-03 01:02:03.000,2026-03-03",
		"SELECT who FROM over": "who | a",
		"SELECT o.who, r.n FROM over o JOIN recent r ON r.id = o.who": "who,n | a,1",
	} {
		if got := sql(t, c, text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for name, want := range map[string]string{
		"renamed": "has a different name from column [name]", "retyped": "column [n] of type bigint projected from query view at position 1 cannot be coerced to column [n] of type varchar",
		"wider": "stored view column count (1) does not match column count derived from the view query analysis (7)", "broken": "stale or in invalid state", "evil": "stale or in invalid state", "self": "VIEW_IS_RECURSIVE",
	} {
		if got := sql(t, c, "SELECT * FROM "+name); !strings.HasPrefix(got, "FAILED VIEW_IS") || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestRowsComeByPagesOfAThousand(t *testing.T) {
	w := newWorld(t)
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	id := start(t, c, "SELECT x FROM UNNEST(sequence(1, 1500)) AS t(x) ORDER BY x", nil)
	wait(t, c, id, done)
	var p page
	var counts []int
	var last string
	for {
		request := `{"QueryExecutionId":"` + id + `"}`
		if p.NextToken != "" {
			request = `{"QueryExecutionId":"` + id + `","NextToken":"` + p.NextToken + `"}`
		}
		status, body := c("AmazonAthena.GetQueryResults", request)
		p = page{}
		if err := json.Unmarshal([]byte(body), &p); err != nil || status != http.StatusOK {
			t.Fatalf("%d %.300s", status, body)
		}
		counts = append(counts, len(p.ResultSet.Rows))
		last = *p.ResultSet.Rows[len(p.ResultSet.Rows)-1].Data[0].VarCharValue
		if p.NextToken == "" {
			break
		}
	}
	if fmt.Sprint(counts) != "[1000 501]" || last != "1500" {
		t.Errorf("pages of %v, the last row %s", counts, last)
	}
	other := start(t, c, "SELECT 1", nil)
	wait(t, c, other, done)
	for _, token := range []string{"x", base64.StdEncoding.EncodeToString([]byte(id + "/5")), base64.StdEncoding.EncodeToString([]byte(other + "/-1")), base64.StdEncoding.EncodeToString([]byte(other + "/999"))} {
		if status, body := c("AmazonAthena.GetQueryResults", `{"QueryExecutionId":"`+other+`","NextToken":"`+token+`"}`); status != http.StatusBadRequest || !strings.Contains(body, "Invalid NextToken") {
			t.Errorf("%s: %d %s", token, status, body)
		}
	}
	for _, most := range []string{"0", "1001"} {
		if status, _ := c("AmazonAthena.GetQueryResults", `{"QueryExecutionId":"`+other+`","MaxResults":`+most+`}`); status != http.StatusBadRequest {
			t.Errorf("%s rows were answered", most)
		}
	}
}

func TestParametersStandInOrder(t *testing.T) {
	w := newWorld(t)
	w.some("it's", time.Date(2026, 3, 3, 1, 2, 3, 0, time.UTC))
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	const text = "SELECT id, ? AS q FROM events WHERE id = ?"
	for _, x := range []struct {
		parameters []string
		want       string
	}{
		{[]string{"1", "'it''s'"}, "id,q | it's,1"},
		{[]string{"1", "'x'' OR 1=1 --'"}, "id,q"},
		{[]string{"1", "'x' OR 1=1"}, "FAILED INVALID_PARAMETER_USAGE: parameter 2 is no literal"},
		{[]string{"1", "(SELECT id FROM events)"}, "FAILED INVALID_PARAMETER_USAGE"},
		{[]string{"1"}, "FAILED INVALID_PARAMETER_USAGE: Incorrect number of parameters: expected 2 but found 1"},
	} {
		if got := sql(t, c, text, x.parameters...); got != x.want && (!strings.HasPrefix(x.want, "FAILED") || !strings.HasPrefix(got, x.want)) {
			t.Errorf("%q: %s, want %s", x.parameters, got, x.want)
		}
	}
}

func TestWhatStartsNoQueryIsRefused(t *testing.T) {
	w := newWorld(t)
	provision(t, w.Service, group(func(_, p map[string]any) { p["Name"], p["State"] = "off", "DISABLED" }),
		resource.Resource{LogicalID: "Bare", Type: "AWS::Athena::WorkGroup", Properties: map[string]any{"Name": "bare"}},
		group(func(c, p map[string]any) {
			p["Name"], c["ResultConfiguration"] = "lost", map[string]any{"OutputLocation": "s3://nowhere/"}
		}))
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	token := strings.Repeat("t", 32)
	for request, want := range map[string]string{
		`{}`: "QueryString is needed", `{"QueryString":" "}`: "QueryString is needed",
		`{"QueryString":"` + strings.Repeat("x", 262145) + `","WorkGroup":"audit"}`:                        "longer than 262144",
		`{"QueryString":"SELECT 1","WorkGroup":"gone"}`:                                                    "WorkGroup gone is not found.",
		`{"QueryString":"SELECT 1","WorkGroup":"off"}`:                                                     "WorkGroup off is disabled.",
		`{"QueryString":"SELECT 1","WorkGroup":"bare"}`:                                                    "No output location provided",
		`{"QueryString":"SELECT 1"}`:                                                                       "No output location provided",
		`{"QueryString":"SELECT 1","WorkGroup":"lost"}`:                                                    "Unable to verify/create output bucket nowhere",
		`{"QueryString":"SELECT 1","WorkGroup":"audit","ExecutionParameters":[]}`:                          "have to be 1 to 100",
		`{"QueryString":"SELECT 1","WorkGroup":"audit","ExecutionParameters":[""]}`:                        "1 to 1024 characters",
		`{"QueryString":"SELECT 1","WorkGroup":"audit","ClientRequestToken":"short"}`:                      "32 to 128 characters",
		`{"QueryString":"SELECT 1","WorkGroup":"audit","QueryExecutionContext":{"Catalog":"mine"}}`:        "only AwsDataCatalog is",
		`{"QueryString":"SELECT 1","WorkGroup":"audit","QueryExecutionContext":{"Database":"a b"}}`:        "is no name of one",
		`{"QueryString":"SELECT 1","WorkGroup":"audit","ResultReuseConfiguration":{}}`:                     "doesn't know the member",
		`{"QueryString":"SELECT 1","WorkGroup":"bare","ResultConfiguration":{"OutputLocation":"answers"}}`: "No output location provided", // what the caller says isn't taken
	} {
		if status, body := c("AmazonAthena.StartQueryExecution", request); status != http.StatusBadRequest || !strings.Contains(body, want) || !strings.Contains(body, "InvalidRequestException") {
			t.Errorf("%.200s: %d %s, want %s", request, status, body, want)
		}
	}
	first := start(t, c, "SELECT 1", map[string]any{"ClientRequestToken": token})
	if again := start(t, c, "SELECT 1", map[string]any{"ClientRequestToken": token}); again != first {
		t.Errorf("the same request again began %s, after %s", again, first)
	}
	wait(t, c, first, done)
	if status, body := c("AmazonAthena.StartQueryExecution", `{"QueryString":"SELECT 2","WorkGroup":"audit","QueryExecutionContext":{"Database":"lake"},"ClientRequestToken":"`+token+`"}`); status != http.StatusBadRequest || !strings.Contains(body, "Idempotent parameters do not match") {
		t.Errorf("another query with the token: %d %s", status, body)
	}
	for _, operation := range []string{"GetQueryExecution", "GetQueryResults", "StopQueryExecution"} {
		if status, body := c("AmazonAthena."+operation, `{"QueryExecutionId":"gone"}`); status != http.StatusBadRequest || !strings.Contains(body, "QueryExecution gone was not found") {
			t.Errorf("%s: %d %s", operation, status, body)
		}
	}
}

func TestEveryRightOfAQueryIsItsCallers(t *testing.T) {
	w := newWorld(t)
	w.some("a", time.Date(2026, 3, 3, 1, 2, 3, 0, time.UTC))
	const lake, answers = `"arn:aws:s3:::lake"`, `"arn:aws:s3:::answers"`
	on := func(what string) string { return `"arn:aws:glue:us-east-1:` + account + `:` + what + `"` }
	rights := map[string]string{
		"athena":             allowed("athena:*", "audit"),
		"glue:GetDatabase":   `{"Effect":"Allow","Action":"glue:GetDatabase","Resource":[` + on("catalog") + `,` + on("database/lake") + `]}`,
		"glue:GetTable":      `{"Effect":"Allow","Action":"glue:GetTable","Resource":[` + on("catalog") + `,` + on("database/lake") + `,` + on("table/lake/events") + `]}`,
		"glue:GetPartitions": `{"Effect":"Allow","Action":"glue:GetPartitions","Resource":[` + on("catalog") + `,` + on("database/lake") + `,` + on("table/lake/events") + `]}`,
		"s3:GetBucketLocation on resource arn:aws:s3:::lake": `{"Effect":"Allow","Action":"s3:GetBucketLocation","Resource":` + lake + `}`,
		"s3:ListBucket": `{"Effect":"Allow","Action":"s3:ListBucket","Resource":` + lake + `}`,
		"s3:GetObject":  `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::lake/events/*"}`,
		"where":         `{"Effect":"Allow","Action":"s3:GetBucketLocation","Resource":` + answers + `}`,
		"results":       `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::answers/audit/*"}`,
		"s3:PutObject":  `{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::answers/audit/*"}`,
	}
	without := func(name string) call {
		var left []string
		for k, v := range rights {
			if k != name {
				left = append(left, v)
			}
		}
		return gatetest.Ask(t, w.Service, w.authority, strings.Join(left, ","))
	}
	if got := sql(t, without(""), "SELECT id FROM events"); got != "id | a" {
		t.Fatalf("with all: %s", got)
	}
	for name := range rights {
		switch name {
		case "athena", "where", "results":
			continue
		}
		got := sql(t, without(name), "SELECT id FROM events")
		action, _, _ := strings.Cut(name, " ")
		if !strings.HasPrefix(got, "FAILED ") || !strings.Contains(got, "may not "+action) {
			t.Errorf("without %s: %s", name, got)
		}
	}
	const request = `{"QueryString":"SELECT 1","WorkGroup":"audit"}`
	if status, body := without("athena")("AmazonAthena.StartQueryExecution", request); status != http.StatusBadRequest || !strings.Contains(body, "AccessDeniedException") {
		t.Errorf("without Athena: %d %s", status, body)
	}
	if status, body := without("where")("AmazonAthena.StartQueryExecution", request); status != http.StatusBadRequest || !strings.Contains(body, "Unable to verify/create output bucket answers") {
		t.Errorf("without the place of results: %d %s", status, body)
	}
	c := without("results")
	id := start(t, c, "SELECT 1", nil)
	wait(t, c, id, done)
	if status, body := c("AmazonAthena.GetQueryResults", `{"QueryExecutionId":"`+id+`"}`); status != http.StatusBadRequest || !strings.Contains(body, "may not s3:GetObject") {
		t.Errorf("without reading results: %d %s", status, body)
	}
	c = gatetest.Ask(t, w.Service, w.authority, allowed("athena:*", "primary"))
	for _, operation := range []string{"GetQueryExecution", "GetQueryResults", "StopQueryExecution"} {
		if status, body := c("AmazonAthena."+operation, `{"QueryExecutionId":"`+id+`"}`); status != http.StatusBadRequest || !strings.Contains(body, "AccessDeniedException") {
			t.Errorf("%s of another workgroup: %d %s", operation, status, body)
		}
	}
}

func TestAQueryThatScansTooMuchIsCancelled(t *testing.T) {
	w := newWorld(t)
	w.some("a", time.Date(2026, 3, 3, 1, 2, 3, 0, time.UTC))
	w.must(w.s3.Put(w.owner, "lake", "events/day=2026-03-04/big.parquet", make([]byte, 10_000_000)))
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	if got := sql(t, c, "SELECT id FROM events"); got != "CANCELLED Bytes scanned limit was exceeded" {
		t.Error(got)
	}
	if got := sql(t, c, "SELECT 1 AS a"); got != "a | 1" {
		t.Error(got)
	}
}

func TestOnlyQueriesRunAndReachNothingElse(t *testing.T) {
	w := newWorld(t)
	file(w, "secret/x.parquet", event{})
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	for _, text := range []string{
		"SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "COPY (SELECT 1) TO '/tmp/x'", "SELECT 1; SELECT 2", "SELECT * FROM read_parquet('s3://lake/secret/x.parquet')",
		"CREATE TABLE x AS SELECT 1", "DROP TABLE events", "SET memory_limit='1TB'", "INSTALL httpfs", "SHOW TABLES", "SELECT getenv('PATH')", "SELECT * FROM duckdb_settings()",
		"SELECT * FROM gone", "SELECT * FROM other.events", "SELECT * FROM mine.lake.events", "SELECT * FROM information_schema.tables",
	} {
		if got := sql(t, c, text); !strings.HasPrefix(got, "FAILED ") {
			t.Errorf("%s: %s", text, got)
		}
	}
	if got := sql(t, c, "DROP TABLE events"); !strings.Contains(got, "runs queries alone") {
		t.Error(got)
	}
	if got := sql(t, c, "SELECT array_agg(rpad(CAST(x AS varchar), 1000, 'x')) AS a FROM UNNEST(sequence(1, 4000000)) AS t(x)"); !strings.HasPrefix(got, "FAILED ") {
		t.Errorf("a query that eats memory: %.200s", got)
	}
	if got := sql(t, c, "SELECT 1 AS a"); got != "a | 1" {
		t.Errorf("after it: %s", got)
	}
}

// endless is a query that goes on for longer than any test.
const endless = "SELECT count(*) FROM UNNEST(sequence(1, 1000000)) AS a(x) CROSS JOIN UNNEST(sequence(1, 1000000)) AS b(y) WHERE sqrt(x) * y = 0.5"

func started(e execution) bool { return e.QueryExecution.Status.State == "RUNNING" }

func TestAQueryIsStopped(t *testing.T) {
	w := newWorld(t)
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	var ids []string
	for range 3 { // one more than run at once
		ids = append(ids, start(t, c, endless, nil))
	}
	wait(t, c, ids[0], started)
	if status, body := c("AmazonAthena.GetQueryResults", `{"QueryExecutionId":"`+ids[0]+`"}`); status != http.StatusBadRequest || !strings.Contains(body, "Query has not yet finished") {
		t.Errorf("results of what runs: %d %s", status, body)
	}
	for _, id := range []string{ids[2], ids[0], ids[1]} {
		if status, body := c("AmazonAthena.StopQueryExecution", `{"QueryExecutionId":"`+id+`"}`); status != http.StatusOK || body != "{}" {
			t.Fatalf("%d %s", status, body)
		}
		if got := wait(t, c, id, done).QueryExecution.Status; got.State != "CANCELLED" || got.StateChangeReason != "Query cancelled by user" {
			t.Errorf("%+v", got)
		}
	}
	if got := sql(t, c, "SELECT 1 AS a"); got != "a | 1" { // the engines are free again
		t.Error(got)
	}
	if status, body := c("AmazonAthena.GetQueryResults", `{"QueryExecutionId":"`+ids[0]+`"}`); status != http.StatusBadRequest || !strings.Contains(body, "Final query state: CANCELLED") {
		t.Errorf("results of what was stopped: %d %s", status, body)
	}
}

func TestQueriesEndWithTheProcessAndAreTold(t *testing.T) {
	w := newWorld(t)
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	id := start(t, c, endless, nil)
	wait(t, c, id, started)
	w.must(w.Close())
	w.open()
	c = gatetest.Ask(t, w.Service, w.authority, everything)
	if got := wait(t, c, id, done).QueryExecution.Status; got.State != "FAILED" || !strings.Contains(got.StateChangeReason, "ask it again") {
		t.Errorf("%+v", got)
	}
	w.must(w.Close())
	w.now = w.now.Add(46 * 24 * time.Hour)
	w.open()
	if _, body := gatetest.Ask(t, w.Service, w.authority, everything)("AmazonAthena.GetQueryExecution", `{"QueryExecutionId":"`+id+`"}`); !strings.Contains(body, "was not found") {
		t.Errorf("after 46 days: %s", body)
	}
}

func TestTooManyQueriesAreRefused(t *testing.T) {
	w := newWorld(t)
	c := gatetest.Ask(t, w.Service, w.authority, everything)
	for range 20 {
		start(t, c, endless, nil)
	}
	if status, body := c("AmazonAthena.StartQueryExecution", `{"QueryString":"SELECT 1","WorkGroup":"audit"}`); status != http.StatusBadRequest || !strings.Contains(body, "TooManyRequestsException") {
		t.Errorf("%d %s", status, body)
	}
}

func TestWithoutTheEngineAQuerySaysHowToBuildIt(t *testing.T) {
	w := newWorld(t)
	w.must(w.Close())
	var err error
	w.Service, err = athena.Open(athena.Config{Dir: w.dir, Authority: w.authority, Buckets: w.s3, Catalog: w.glue, Engine: filepath.Join(w.dir, "duck")})
	w.must(err)
	if got := sql(t, gatetest.Ask(t, w.Service, w.authority, everything), "SELECT 1"); !strings.HasPrefix(got, "FAILED ") || !strings.Contains(got, "make duck") {
		t.Error(got)
	}
}
