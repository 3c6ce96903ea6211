package named_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/query/named"
	"github.com/stile-dev/stile/pkg/query/statement"
)

// given is a value for each parameter that has no default.
var given = map[string]string{"node": "node-1", "id": "ses_01hv0000000000000000000000"}

func bound(t *testing.T, q named.Query) (string, []string) {
	t.Helper()
	values := map[string]string{}
	for _, p := range q.Parameters {
		if p.Default == "" {
			values[p.Name] = given[p.Name]
		}
	}
	sql, literals, err := q.Bind(values)
	if err != nil {
		t.Fatalf("%s: %v", q.Name, err)
	}
	return sql, literals
}

func TestEachQuestionCanBeAsked(t *testing.T) {
	all := named.All()
	if len(all) < 15 {
		t.Errorf("there are %d questions", len(all))
	}
	for _, q := range all {
		sql, literals := bound(t, q)
		if n := strings.Count(sql, "?"); n != len(literals) {
			t.Errorf("%s has %d marks and %d values", q.Name, n, len(literals))
		}
		if _, err := statement.Compose(statement.Head{Owner: "o", Event: "e", Since: time.Unix(0, 0), Until: time.Unix(1, 0)}, sql, true); err != nil {
			t.Errorf("%s: %v", q.Name, err)
		}
		if found, ok := named.Find(q.Name); !ok || found.SQL != q.SQL {
			t.Errorf("%s isn't found", q.Name)
		}
	}
}

var (
	kinds    = regexp.MustCompile(`'([a-z]+\.[a-z_]+)'`)
	fields   = regexp.MustCompile(`element_at\((?:[a-z]\.)?data, '([a-z0-9_]+)'\)`)
	direct   = regexp.MustCompile(`data\s*\[`)
	inWhere  = regexp.MustCompile(`(?s)\bWHERE\b.*`)
	texts    = regexp.MustCompile(`'[^']*'`)
	marker   = regexp.MustCompile(`:[a-z]`)
	lastLine = regexp.MustCompile(`(?s)\nORDER BY [^()]+$`)
)

// A query that names a type or a field that no event has finds nothing and says nothing.
func TestEachQuestionIsAboutWhatThereIs(t *testing.T) {
	known := map[string]bool{}
	for _, row := range audit.Types {
		for _, f := range row.Fields {
			known[f.Name] = true
		}
	}
	for _, q := range named.All() {
		for _, m := range kinds.FindAllStringSubmatch(q.SQL, -1) {
			if _, there := audit.Types[audit.Type(m[1])]; !there {
				t.Errorf("%s names the type %s, which no event has", q.Name, m[1])
			}
		}
		for _, m := range fields.FindAllStringSubmatch(q.SQL, -1) {
			if !known[m[1]] {
				t.Errorf("%s names the field %s, which no event has", q.Name, m[1])
			}
		}
		if direct.MatchString(q.SQL) {
			t.Errorf("%s reads a map by brackets, which fails where the key is missing: use element_at", q.Name)
		}
		if marker.MatchString(inWhere.ReplaceAllString(texts.ReplaceAllString(q.SQL, ""), "")) {
			t.Errorf("%s has a parameter before WHERE, where Athena takes none", q.Name)
		}
		if !lastLine.MatchString(q.SQL) {
			t.Errorf("%s doesn't end with an order", q.Name)
		}
	}
}

func TestValuesAreBoundAsLiterals(t *testing.T) {
	q, err := named.Parse("x", "-- Who?\n-- :user text = *: who\n-- :days number 1..9: how many\n-- :at time = 2026-01-02: when\nSELECT ':user' AS a -- :days\nFROM events WHERE u = :user AND \":at\" < :days AND t > :at AND u <> :user")
	if err != nil {
		t.Fatal(err)
	}
	sql, literals, err := q.Bind(map[string]string{"user": "o'neil?; --", "days": "7"})
	want := []string{"'o''neil?; --'", "7", "TIMESTAMP '2026-01-02 00:00:00.000'", "'o''neil?; --'"}
	if err != nil || !slices.Equal(literals, want) || sql != "SELECT ':user' AS a -- :days\nFROM events WHERE u = ? AND \":at\" < ? AND t > ? AND u <> ?" {
		t.Errorf("%s\n%q %v", sql, literals, err)
	}
	for name, values := range map[string]map[string]string{
		"missing": {}, "unknown": {"days": "1", "other": "x"}, "not a number": {"days": "1e3"}, "beyond": {"days": "10"}, "below": {"days": "0"},
		"a line": {"days": "1", "user": "a\nb"}, "no UTF-8": {"days": "1", "user": "a\xff"}, "empty": {"days": "1", "user": ""}, "no time": {"days": "1", "at": "yesterday"},
		"long": {"days": "1", "user": strings.Repeat("'", 600)},
	} {
		if _, _, err := q.Bind(values); !fault.Is(err, fault.BadInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAQuestionAboutDaysNeedsAPeriodOfAsMany(t *testing.T) {
	q, err := named.Parse("x", "-- Who?\n-- :days days 1..30 = 3: how many\n-- :n number 1..99 = 50: so many\nSELECT 1 WHERE :days = :n")
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]int{"": 3, "7": 7, "31": 0, "x": 0} {
		values := map[string]string{"n": "9"}
		if value != "" {
			values["days"] = value
		}
		if got := q.Least(values); got != time.Duration(want)*24*time.Hour {
			t.Errorf("%q: %s", value, got)
		}
	}
	if got := (named.Query{}).Least(nil); got != 0 {
		t.Errorf("no question needs %s", got)
	}
}

func TestAFileThatIsNoQuestionIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no question": "-- all\nSELECT 1", "no head": "SELECT 1", "unused": "-- Who?\n-- :a text: x\nSELECT 1", "undeclared": "-- Who?\nSELECT 1 WHERE :a = 1",
		"twice": "-- Who?\n-- :a text: x\n-- :a text: x\nSELECT 1 WHERE :a = 1", "without bounds": "-- Who?\n-- :a number: x\nSELECT 1 WHERE :a = 1",
		"days without bounds": "-- Who?\n-- :a days: x\nSELECT 1 WHERE :a = 1", "a wrong default of days": "-- Who?\n-- :a days 1..2 = 3: x\nSELECT 1 WHERE :a = 1",
		"a wrong default": "-- Who?\n-- :a number 1..2 = 3: x\nSELECT 1 WHERE :a = 1",
	} {
		if _, err := named.Parse("x", text); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := named.Parse("X y", "-- Who?\nSELECT 1"); err == nil {
		t.Error("a name with a blank is taken")
	}
}

// A control's question is one that there is, and each question says of which controls.
func TestEachQuestionHasItsControls(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/compliance.md")
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 5 || cells[2] == "question" {
			continue
		}
		for _, m := range quotedName.FindAllStringSubmatch(cells[2], -1) {
			asked[m[1]] = true
			if _, there := named.Find(m[1]); !there {
				t.Errorf("a control is answered by %s, which is not a question", m[1])
			}
		}
	}
	for _, q := range named.All() {
		if !asked[q.Name] {
			t.Errorf("%s answers no control", q.Name)
		}
	}
}

var quotedName = regexp.MustCompile("`([^`]+)`")
