package statement_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/query/statement"
)

var head = statement.Head{
	Owner: "usr_ada", Event: "01e", Since: time.Date(2026, 3, 2, 1, 2, 3, 4e6, time.FixedZone("", 3600)), Until: time.Date(2026, 3, 9, 0, 0, 0, 0, time.UTC),
}

func compose(t *testing.T, sql string) (first, rest string) {
	t.Helper()
	text, err := statement.Compose(head, sql, false)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	first, rest, _ = strings.Cut(text, "\n")
	return first, rest
}

func TestTheHeadHasThePeriodInUTCAndPrunesDays(t *testing.T) {
	first, rest := compose(t, "SELECT 1")
	for _, want := range []string{
		"period AS (SELECT timestamp '2026-03-02 00:02:03.004' AS since, timestamp '2026-03-09 00:00:00.000' AS until)",
		`"type", "code"`, `"writer", substr(receipt, 11) ORDER BY received, receipt, origin) AS n`,
		"FROM deliveries WHERE day >= '2026-03-01' UNION ALL", "FROM recent WHERE question = '01e')) WHERE n = 1 AND", `"time" >= timestamp '2026-03-02 00:02:03.004' AND "time" < timestamp '2026-03-09 00:00:00.000'`,
	} {
		if !strings.Contains(first, want) {
			t.Errorf("%s lacks %s", first, want)
		}
	}
	if rest != "SELECT 1" || strings.HasSuffix(first, ",") {
		t.Errorf("%q behind %q", rest, first)
	}
}

func TestTheSQLKeepsItsPlaces(t *testing.T) {
	for sql, want := range map[string]string{
		"select ';' , \"a;b\" -- ;\n from events ; ":                   "select ';' , \"a;b\" -- ;\n from events   ",
		"/* why; */ SELECT 'it''s /* no */'":                           "/* why; */ SELECT 'it''s /* no */'",
		"\n with a (x) as (select ')') SELECT x from a, events;-- end": "\n      a (x) as (select ')') SELECT x from a, events -- end",
		`WITH "b" AS (SELECT (1)), c AS (SELECT 2) SELECT 1`:           `     "b" AS (SELECT (1)), c AS (SELECT 2) SELECT 1`,
	} {
		first, rest := compose(t, sql)
		if rest != want || strings.HasSuffix(first, ",") != strings.Contains(strings.ToLower(sql), "with ") {
			t.Errorf("%q\n became %q\n want   %q\n behind …%s", sql, rest, want, first[len(first)-20:])
		}
	}
}

func TestWhatIsNoSingleSelectIsRefused(t *testing.T) {
	for sql, want := range map[string]string{
		"":                                "there is no SQL",
		" -- nothing":                     "there is no SQL",
		";":                               "there is no SQL",
		"INSERT INTO deliveries SELECT 1": "only read",
		"UNLOAD (SELECT 1) TO 's3://x/' WITH (format='CSV')": "only read",
		"CREATE TABLE x AS SELECT 1":                         "only read",
		"(SELECT 1)":                                         "only read",
		"\"SELECT\" 1":                                       "only read",
		"EXPLAIN ANALYZE SELECT 1":                           "only read",
		"SELECT 1; DROP TABLE deliveries":                    "more than one statement",
		"SELECT 1 -- \r; DROP TABLE deliveries":              "more than one statement", // a comment ends there, as in Trino
		"SELECT 1 -- \r) UNION (SELECT 2":                    "none has opened",
		"SELECT 1;;":                                         "more than one statement",
		"SELECT ?":                                           "no parameters",
		"SELECT 1)":                                          "none has opened",
		"SELECT 1) UNION (SELECT 2":                          "line 1:9",
		"SELECT (1":                                          "open at the end",
		"SELECT 'x":                                          "line 1:8 has no end",
		"SELECT 1\n, /* x":                                   "line 2:3 has no end",
		"SELECT `x`":                                         "line 1:8",
		"SELECT '\xff'":                                      "UTF-8",
		"WITH RECURSIVE a AS (SELECT 1) SELECT 1":            "RECURSIVE",
		"WITH events AS (SELECT 1) SELECT 1":                 "names a query events",
		"WITH a AS (SELECT 1), \"Period\" AS (SELECT 1) SELECT 1": "names a query period",
		"WITH asked AS (SELECT 1) SELECT 1":                       "names a query asked",
		"WITH a AS (SELECT 1) DELETE FROM deliveries":             "no SELECT behind",
		"WITH a AS SELECT 1":                                      "no query in parentheses",
		"WITH a AS (SELECT 1),":                                   "no SELECT behind",
		"WITH":                                                    "no SELECT behind",
	} {
		_, err := statement.Compose(head, sql, false)
		f := fault.From(err)
		if err == nil || f.Code != fault.BadInput || f.Hint == "" || !strings.Contains(f.Message+f.Hint, want) {
			t.Errorf("%q: %v, want …%s…", sql, err, want)
		}
	}
	long := "SELECT '" + strings.Repeat("x", statement.MostSQL) + "'"
	if _, err := statement.Compose(head, long, false); !fault.Is(err, fault.TooLarge) {
		t.Errorf("long SQL: %v", err)
	}
	if _, err := statement.Compose(head, "SELECT 1 WHERE 'x' = ?", true); err != nil {
		t.Errorf("a named query's parameter: %v", err)
	}
}

func TestOnlyTheHeadSaysWhoAsked(t *testing.T) {
	text, err := statement.Compose(head, "SELECT 'WITH asked AS (SELECT ''7573725f626f62'' AS uid'", false)
	if err != nil || statement.Owner(text) != "usr_ada" {
		t.Errorf("%q, %v", statement.Owner(text), err)
	}
	hostile := head
	hostile.Owner = "x' AS uid), y AS (SELECT '"
	if text, err = statement.Compose(hostile, "SELECT 1", false); err != nil || statement.Owner(text) != hostile.Owner || strings.Contains(text, hostile.Owner) {
		t.Errorf("%q, %v", text, err)
	}
	for _, other := range []string{"", "SELECT 1", " " + text, "WITH asked AS (SELECT 'zz' AS uid", "WITH asked AS (SELECT '00"} {
		if owner := statement.Owner(other); owner != "" {
			t.Errorf("%q is %q's", other, owner)
		}
	}
}

func TestReasonsHaveTheLinesOfTheSQL(t *testing.T) {
	for reason, want := range map[string]string{
		"COLUMN_NOT_FOUND: line 3:8: Column 'x' cannot be resolved": "COLUMN_NOT_FOUND: line 2:8: Column 'x' cannot be resolved",
		"line 1:900: of the head":                                   "line 1:900: of the head", "GENERIC": "GENERIC", "deadline 5:3": "deadline 5:3",
	} {
		if got := statement.Where(reason); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Whatever is composed, what is behind the head is one statement: no semicolon outside of quotes and comments, and as many
// parentheses close as open, at no place more.
func TestNothingGetsOutOfItsStatement(t *testing.T) {
	part := rapid.SampledFrom([]string{"SELECT", "WITH", "a", "AS", "(", ")", ",", ";", "'", "''", "\"", "--", "\n", "/*", "*/", " ", "?", "events", "é", "`", "1"})
	rapid.Check(t, func(t *rapid.T) {
		sql := "SELECT " + strings.Join(rapid.SliceOfN(part, 0, 20).Draw(t, "parts"), "")
		text, err := statement.Compose(head, sql, false)
		if err != nil {
			if f := fault.From(err); f.Code != fault.BadInput || errors.Unwrap(f) != nil {
				t.Fatalf("%q: %v", sql, err)
			}
			return
		}
		_, rest, _ := strings.Cut(text, "\n")
		if len(rest) != len(sql) || bare(rest, ';') != 0 || bare(rest, '(') != bare(rest, ')') {
			t.Fatalf("%q became %q", sql, rest)
		}
	})
}

// bare counts a sign outside of quotes and comments, character by character.
func bare(sql string, sign rune) (n int) {
	in := ""
	for i, r := range sql {
		switch rest := sql[i:]; {
		case in == "--" && r == '\n', in == "*/" && i > 1 && sql[i-2:i] == "*/", in == "'" && r == '\'', in == `"` && r == '"':
			closed := in
			in = ""
			if closed == "*/" && r == sign {
				n++
			}
		case in != "":
		case strings.HasPrefix(rest, "--"):
			in = "--"
		case r == '\'' || r == '"':
			in = string(r)
		case strings.HasPrefix(rest, "/*"):
			return 0 // comments have a test of their own
		case r == sign:
			n++
		}
	}
	return n
}
