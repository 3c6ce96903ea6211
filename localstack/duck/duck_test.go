package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// do runs a job as the program does.
func do(t *testing.T, job Job) (answer Answer) {
	t.Helper()
	raw, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := serve(t.Context(), bytes.NewReader(raw), &out); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// lake is a job on a table ev with a row of every kind of column.
func lake(query string, parameters ...string) Job {
	return Job{Database: "lake", Query: query, Parameters: parameters, Setup: []string{`CREATE VIEW awsdatacatalog.lake.ev AS
		SELECT 1 AS n, CAST(NULL AS VARCHAR) AS nothing, MAP {'b': '2', 'a': NULL} AS data, ['x', NULL] AS list, TIMESTAMP '2026-01-02 03:04:05.678' AS seen`}}
}

// flat is an answer in one line: names with types, then the rows.
func flat(a Answer) string {
	if a.Error != "" {
		return a.Error
	}
	var b strings.Builder
	for _, c := range a.Columns {
		b.WriteString(c.Name + " " + c.Type + "; ")
	}
	for _, row := range a.Rows {
		b.WriteString("|")
		for _, v := range row {
			if v == nil {
				b.WriteString(" -")
				continue
			}
			b.WriteString(" " + *v)
		}
	}
	return b.String()
}

func TestValuesAreShownAsAthenaShowsThem(t *testing.T) {
	for query, want := range map[string]string{
		"SELECT * FROM ev": "n integer; nothing varchar; data map(varchar, varchar); list array(varchar); seen timestamp(3); | 1 - {a=null, b=2} [x, null] 2026-01-02 03:04:05.678",
		"SELECT count(*), sum(n) AS total, avg(n), seen FROM awsdatacatalog.lake.ev GROUP BY seen": "_col0 bigint; total bigint; _col2 double; seen timestamp(3); | 1 1 1.0 2026-01-02 03:04:05.678",
		"SELECT lower('A'), *, 1 + 1 FROM (SELECT n, seen FROM ev)":                                "_col0 varchar; n integer; seen timestamp(3); _col3 integer; | a 1 2026-01-02 03:04:05.678 2",
		"SELECT true, 1e7, DOUBLE '0.1', 1e-4, -1.50, DATE '2026-01-02', infinity":                 "Binder Error: Referenced column \"infinity\" was not found because the FROM clause is missing",
		"SELECT true, 1e7, DOUBLE '0.1', 1e-4, -1.50, DATE '2026-01-02'":                           "_col0 boolean; _col1 double; _col2 double; _col3 double; _col4 decimal(3, 2); _col5 date; | true 1.0E7 0.1 1.0E-4 -1.50 2026-01-02",
		"SELECT from_iso8601_timestamp('2026-01-02T03:04:05+01:00') AS a":                          "a timestamp(3) with time zone; | 2026-01-02 02:04:05.000 UTC",
		"SELECT CAST(ROW(1, NULL) AS ROW(x integer, y varchar)) AS r":                              "r row(x integer, y varchar); | {x=1, y=null}",
		"SELECT json_extract('{\"a\":[1, 2]}', '$.a') AS j":                                        "j varchar; | [1,2]",
		"VALUES ('a'), ('b')":                         "col0 varchar; | a| b",
		"WITH ev AS (SELECT 2 AS n) SELECT n FROM ev": "n integer; | 2",
		"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT max(n) m FROM t": "m integer; | 5",
		"SELECT sum(9223372036854775807) FROM (VALUES (1), (2))":                                             "NUMERIC_VALUE_OUT_OF_RANGE: bigint addition overflow: 18446744073709551614",
		"SELECT ROW(1, 2)": "column main.\"row\"(1, 2): the local Athena doesn't show values of this type; cast it to varchar",
	} {
		if got := flat(do(t, lake(query))); got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
}

func TestFunctionsMeanWhatTrinoMeans(t *testing.T) {
	for expression, want := range map[string]string{
		"element_at(data, 'b')": "2", "element_at(data, 'z')": "-", "data['b']": "2", "element_at(list, -1)": "-", "element_at(list, 1)": "x",
		"cardinality(data)": "2", "cardinality(list)": "2", "cardinality(nothing)": "-", "contains(list, 'x')": "true",
		"array_join(list, ',')": "x", "array_join(list, ',', '?')": "x,?", "slice(ARRAY[1, 2, 3], 2, 2)": "[2, 3]", "sequence(1, 3)": "[1, 2, 3]",
		"date_diff('minute', TIMESTAMP '2026-01-01 00:00:59', TIMESTAMP '2026-01-01 00:01:00')": "0",
		"date_add('day', 1, seen)":       "2026-01-03 03:04:05.678",
		"date_add('month', -1, seen)":    "2025-12-02 03:04:05.678",
		"date_add('quarter', 1, seen)":   "2026-04-02 03:04:05.678",
		"date_trunc('hour', seen)":       "2026-01-02 03:00:00.000",
		"day_of_week(DATE '2026-01-04')": "7",
		"date(seen)":                     "2026-01-02",
		"to_iso8601(seen)":               "2026-01-02T03:04:05.678",
		"to_iso8601(from_iso8601_timestamp('2026-01-02T03:04:05.678Z'))":               "2026-01-02T03:04:05.678Z",
		"date_format(seen, '%Y-%m-%d %H:%i:%s')":                                       "2026-01-02 03:04:05",
		"format_datetime(seen, 'yyyy-MM-dd HH:mm:ss.SSS')":                             "2026-01-02 03:04:05.678",
		"at_timezone(from_iso8601_timestamp('2026-01-02T03:04:05Z'), 'Europe/Berlin')": "2026-01-02 04:04:05.000",
		"from_unixtime(0)": "1970-01-01 00:00:00.000 UTC", "to_unixtime(from_unixtime(5))": "5.0",
		"regexp_like('abc', 'b')": "true", "regexp_extract('abc', 'z')": "-", "regexp_extract('abc', '(b)(c)', 2)": "c",
		"regexp_replace('aXbX', 'X')": "ab", "regexp_replace('ab', '(a)', '$1$1')": "aab",
		"json_extract_scalar('{\"a\":1}', '$.a')": "1", "json_extract_scalar('{\"a\":{}}', '$.a')": "-",
		"7 / 2": "3", "7 / 2.0": "3.5", "7 % 2": "1", "'a' || 'b'": "ab", "TRY_CAST('q' AS bigint)": "-", "'a_b' LIKE 'a\\_b' ESCAPE '\\'": "true",
		"EXTRACT(hour FROM seen)": "3", "position('b' IN 'abc')": "2", "substr('abc', 2)": "bc", "IF(n = 1, 'p', 'q')": "p",
		"current_timestamp > seen - INTERVAL '7' DAY": "true",
		"to_hex(sha256(to_utf8('ä')))":                "33E6D73FEE82904C8D7AFB78DE1154D1E8DC2A0EDB08120E63DF5B9385C2D9CC", "to_hex(to_utf8('aä'))": "61C3A4", "to_utf8('a')": "61",
	} {
		_, got, _ := strings.Cut(flat(do(t, lake("SELECT "+expression+" FROM ev"))), "| ")
		if got != want {
			t.Errorf("%s is %q, want %q: %s", expression, got, want, flat(do(t, lake("SELECT "+expression+" FROM ev"))))
		}
	}
	if got := flat(do(t, lake("SELECT sha256('a')"))); !strings.Contains(got, "Unexpected parameters (varchar)") {
		t.Errorf("text has no digest in Trino: %s", got)
	}
	if got := flat(do(t, lake("SELECT array_join(array_sort(array_agg(DISTINCT x)), '') FROM (VALUES ('b'), ('B'), ('ä'), ('b')) t(x)"))); !strings.HasSuffix(got, "| Bbä") {
		t.Error(got)
	}
	if got := flat(do(t, lake("SELECT approx_distinct(x), map_agg(x, y) FROM (VALUES ('a', 1), ('b', 2)) t(x, y)"))); !strings.HasSuffix(got, "| 2 {a=1, b=2}") {
		t.Error(got)
	}
	if got := flat(do(t, lake("SELECT x, i FROM ev CROSS JOIN UNNEST(list) WITH ORDINALITY AS t(x, i) ORDER BY i"))); !strings.HasSuffix(got, "| x 1| - 2") {
		t.Error(got)
	}
}

func TestAQueryReachesItsTablesAlone(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(secret, []byte("a,b\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"SELECT * FROM read_csv('" + secret + "')":        "FUNCTION_NOT_FOUND",
		"SELECT * FROM \"" + secret + "\"":                "TABLE_NOT_FOUND",
		"SELECT * FROM '" + secret + "'":                  "TABLE_NOT_FOUND",
		"SELECT * FROM glob('/*')":                        "FUNCTION_NOT_FOUND",
		"SELECT * FROM duckdb_settings()":                 "FUNCTION_NOT_FOUND",
		"SELECT * FROM duckdb_tables":                     "TABLE_NOT_FOUND",
		"SELECT * FROM information_schema.tables":         "TABLE_NOT_FOUND",
		"SELECT * FROM memory.lake.ev":                    "TABLE_NOT_FOUND",
		"SELECT * FROM other.ev":                          "TABLE_NOT_FOUND",
		"SELECT (SELECT count(*) FROM gone)":              "TABLE_NOT_FOUND",
		"WITH a AS (SELECT * FROM gone) SELECT 1":         "TABLE_NOT_FOUND",
		"WITH gone AS (SELECT 1) SELECT * FROM lake.gone": "TABLE_NOT_FOUND",
		"SELECT 1 WHERE 1 IN (SELECT 1 FROM gone)":        "TABLE_NOT_FOUND",
		"SELECT getenv('PATH')":                           "FUNCTION_NOT_FOUND",
		"SELECT current_setting('threads')":               "FUNCTION_NOT_FOUND",
		"SELECT max(getenv('PATH')) OVER () FROM ev":      "FUNCTION_NOT_FOUND",
		"SELECT query('SELECT 1')":                        "FUNCTION_NOT_FOUND",
		"SELECT COLUMNS('n') FROM ev":                     "SYNTAX_ERROR",
		"SELECT * EXCLUDE (n) FROM ev":                    "SYNTAX_ERROR",
		"SELECT FROM":                                     "SYNTAX_ERROR",
		"COPY ev TO '" + secret + "'":                     onlyQueries,
		"SELECT 1; SELECT 2":                              onlyQueries,
		"SELECT 1; DROP VIEW ev":                          onlyQueries,
		"":                                                onlyQueries,
		"SET memory_limit='1TB'":                          onlyQueries,
		"RESET lock_configuration":                        onlyQueries,
		"INSTALL httpfs":                                  onlyQueries,
		"LOAD httpfs":                                     onlyQueries,
		"ATTACH '" + secret + "'":                         onlyQueries,
		"PRAGMA version":                                  onlyQueries,
		"CREATE TABLE x AS SELECT 1":                      onlyQueries,
		"INSERT INTO ev SELECT 1":                         onlyQueries,
		"SHOW TABLES":                                     onlyQueries,
		"DESCRIBE ev":                                     onlyQueries,
		"EXPLAIN SELECT 1":                                onlyQueries,
		"CALL pragma_version()":                           onlyQueries,
		"PIVOT ev ON n USING sum(n)":                      onlyQueries,
	} {
		if got := do(t, lake(query)); !strings.HasPrefix(got.Error, want) || got.Rows != nil || got.Columns != nil {
			t.Errorf("%s: %+v, want %s", query, got, want)
		}
	}
	// What gets past the reading of the query still reads nothing: the engine itself may not.
	job := Job{Query: "SELECT * FROM v", Setup: []string{"CREATE VIEW awsdatacatalog.default.v AS SELECT * FROM read_csv('" + secret + "')"}}
	if got := do(t, job); !strings.Contains(got.Error, "Permission Error") {
		t.Errorf("a folder that isn't allowed: %+v", got)
	}
	job.Directories = []string{filepath.Dir(secret)}
	if got := do(t, job); flat(got) != "a bigint; b bigint; | 1 2" {
		t.Errorf("a folder that is allowed: %+v", got)
	}
	if err := serve(t.Context(), strings.NewReader(`{"query":"SELECT 1","directories":["/"]}`), &bytes.Buffer{}); err == nil {
		t.Error("all folders were allowed")
	}
}

func TestParametersAreLiteralsInTheirPlaces(t *testing.T) {
	for _, c := range []struct {
		query      string
		parameters []string
		want       string
	}{
		{"SELECT ? AS a, ? AS b, '?' AS c, \"n\" /* ? */ FROM ev -- ?", []string{"'it''s'", " -1.5e0 "}, "a varchar; b double; c varchar; n integer; | it's -1.5 ? 1"},
		{"SELECT n FROM ev WHERE seen > ?", []string{"TIMESTAMP '2026-01-01 00:00:00'"}, "n integer; | 1"},
		{"SELECT ? AS a, ? AS b", []string{"NULL", "true"}, "a integer; b boolean; | - true"},
		{"SELECT ? AS a", []string{"'; DROP VIEW ev; --'"}, "a varchar; | ; DROP VIEW ev; --"},
		{"SELECT ?", nil, "INVALID_PARAMETER_USAGE: Incorrect number of parameters: expected 1 but found 0"},
		{"SELECT 1", []string{"1"}, "INVALID_PARAMETER_USAGE: Incorrect number of parameters: expected 0 but found 1"},
		{"SELECT $1", nil, "INVALID_PARAMETER_USAGE: Incorrect number of parameters: the query has a $ or ? that no parameter is for"},
	} {
		if got := flat(do(t, lake(c.query, c.parameters...))); got != c.want {
			t.Errorf("%s %q\n got %s\nwant %s", c.query, c.parameters, got, c.want)
		}
	}
	for _, literal := range []string{"", "a", "'a", "'a' OR 1 = 1", "'a''", "1; SELECT 2", "(SELECT 1)", "n", "'a' --", "lower('A')", "DATE 'x' || 'y'", "'a\x00'"} {
		if got := do(t, lake("SELECT ?", literal)); !strings.Contains(got.Error, "is no literal") {
			t.Errorf("%q: %+v", literal, got)
		}
	}
}

func TestTablesAndColumnsAreToldWithoutRunning(t *testing.T) {
	job := lake("WITH a AS (SELECT * FROM One), b AS (SELECT * FROM a) SELECT * FROM b, x.two, AwsDataCatalog.x.three, (SELECT 1 FROM one), one AS a2")
	job.Only = "tables"
	got := do(t, job)
	want := []Table{{"", "", "one", nil}, {"", "x", "two", nil}, {"awsdatacatalog", "x", "three", nil}}
	for i := range got.Tables {
		got.Tables[i].Equal = nil
	}
	if !reflect.DeepEqual(got.Tables, want) {
		t.Errorf("%+v", got)
	}
	job = lake("SELECT n, element_at(data, 'a') AS a FROM ev")
	job.Only = "columns"
	if got := flat(do(t, job)); got != "n integer; a varchar; " {
		t.Error(got)
	}
}

func TestAnAnswerAndItsMemoryAreBounded(t *testing.T) {
	job := lake("SELECT x FROM UNNEST(sequence(1, 100)) AS t(x)")
	job.MostRows = 99
	if got := do(t, job); !strings.Contains(got.Error, "at most 99 rows") || got.Rows != nil {
		t.Errorf("%d rows, %s", len(got.Rows), got.Error)
	}
	if job.MostRows = 100; len(do(t, job).Rows) != 100 {
		t.Error("as many rows as there may be are refused")
	}
	job = lake("SELECT rpad('', 1000, 'x') FROM UNNEST(sequence(1, 2)) AS t(x)")
	job.MostBytes = 1999
	if got := do(t, job); !strings.Contains(got.Error, "1999 bytes") {
		t.Errorf("%+v", got)
	}
	hungry := lake("SELECT array_agg(rpad(CAST(x AS varchar), 1000, 'x')) FROM UNNEST(sequence(1, 2000000)) AS t(x)")
	if got := do(t, hungry); !strings.Contains(got.Error, "Out of Memory") {
		t.Errorf("%.300s", flat(got))
	}
	if err := serve(t.Context(), strings.NewReader("{"), &bytes.Buffer{}); err == nil {
		t.Error("half a job was done")
	}
}

func TestWhatATablesColumnsHaveToBeEqualToIsToldOfEachPlace(t *testing.T) {
	for query, want := range map[string]string{
		"SELECT 1 FROM t":               "[{}]",
		"SELECT 1 FROM t WHERE q = 'a'": `[{"q":"a"}]`,
		"SELECT 1 FROM t WHERE 'it''s' = T.Q AND n > 1 AND r = 'b'":                          `[{"q":"it's","r":"b"}]`,
		"SELECT 1 FROM t AS u WHERE u.q = 'a' AND (u.r = 'b' AND s = 'c')":                   `[{"q":"a","r":"b","s":"c"}]`,
		"SELECT 1 FROM t WHERE q = 'a' AND q = 'b'":                                          `[{"q":"a"}]`,
		"SELECT 1 FROM t WHERE q = 'a' OR r = 'b'":                                           `[{}]`,
		"SELECT 1 FROM t WHERE NOT q = 'a'":                                                  `[{}]`,
		"SELECT 1 FROM t WHERE q <> 'a' AND r = 1 AND s = lower('x') AND other.u = 'a'":      `[{}]`,
		"SELECT 1 FROM (SELECT * FROM t) WHERE q = 'a'":                                      `[{}]`,
		"SELECT 1 FROM t, t AS u WHERE t.q = 'a'":                                            `[null,null]`,
		"SELECT q FROM t WHERE q = 'a' UNION ALL SELECT q FROM t WHERE q = 'b'":              `[{"q":"a"},{"q":"b"}]`,
		"WITH t AS (SELECT 1 AS q) SELECT 1 FROM t WHERE q = 'a'":                            `null`,
		"SELECT 1 WHERE EXISTS (SELECT 1 FROM t WHERE q = 'a') AND 'b' IN (SELECT q FROM t)": `[{"q":"a"},{}]`,
	} {
		job := lake(query)
		job.Only = "tables"
		got := "null"
		if a := do(t, job); a.Error != "" {
			t.Errorf("%s: %s", query, a.Error)
		} else if len(a.Tables) > 0 {
			raw, err := json.Marshal(a.Tables[0].Equal)
			if err != nil {
				t.Fatal(err)
			}
			got = string(raw)
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
}
