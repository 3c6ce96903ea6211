package holding_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/query/holding"
)

var at = time.Date(2026, 11, 20, 23, 0, 0, 0, time.UTC)

func TestAQuestionIsAboutReceiptsFromItsFirstMillisecondToItsLast(t *testing.T) {
	for _, ask := range []string{holding.Digests, holding.Keys} {
		text, literals, err := holding.Request{Ask: ask, From: at, To: at.Add(time.Hour)}.Compose()
		if err != nil || !holding.Ours(text) || len(literals) != strings.Count(text, "?") {
			t.Fatalf("%v: %s, %v", err, text, literals)
		}
		first, end := strings.Trim(literals[1], "'"), strings.Trim(literals[2], "'")
		for received, within := range map[time.Time]bool{
			at.Add(-time.Millisecond): false, at: true, at.Add(59*time.Minute + 59*time.Second): true,
			at.Add(time.Hour - time.Millisecond): true, at.Add(time.Hour): false,
		} {
			receipt := ledger.Receipt(received, []byte("{}"))
			if got := receipt >= first && receipt < end; got != within {
				t.Errorf("%s: what was received at %s is in it: %v", ask, received, got)
			}
			if !strings.HasPrefix(receipt, holding.SpanAt(received)) || holding.Span(receipt) != holding.SpanAt(received) {
				t.Errorf("%s: its span is %s", receipt, holding.SpanAt(received))
			}
		}
		if literals[0] != "'2026-11-20'" {
			t.Errorf("it reads from %s on", literals[0])
		}
	}
	// what was received just after midnight may have arrived, by another clock, before
	_, literals, err := holding.Request{Ask: holding.Keys, From: at.Add(time.Hour), To: at.Add(2 * time.Hour)}.Compose()
	if err != nil || literals[0] != "'2026-11-20'" {
		t.Errorf("%v, %v", literals, err)
	}
}

func TestNothingElseIsAsked(t *testing.T) {
	for name, r := range map[string]holding.Request{
		"no question":   {From: at, To: at.Add(time.Hour)},
		"another":       {Ask: "SELECT 1", From: at, To: at.Add(time.Hour)},
		"no time":       {Ask: holding.Keys, From: at, To: at},
		"the wrong way": {Ask: holding.Keys, From: at, To: at.Add(-time.Hour)},
		"too much":      {Ask: holding.Digests, From: at, To: at.Add(25 * time.Hour)},
	} {
		if text, _, err := r.Compose(); !fault.Is(err, fault.BadInput) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	text, _, err := holding.Request{Ask: holding.Keys, From: at, To: at.Add(time.Hour)}.Compose()
	if err != nil || holding.Ours(text+" ") || holding.Ours("") {
		t.Errorf("another query passes for one: %v", err)
	}
}

func TestADigestIsOfWhatIsThereAndNotOfItsOrder(t *testing.T) {
	sum := func(keys ...string) string {
		var s holding.Sum
		for _, k := range keys {
			s.Add(k)
		}
		_, digest := s.Digest()
		return digest
	}
	if sum("a", "b", "c") != sum("c", "a", "b", "a") {
		t.Error("the order or a repetition changes it")
	}
	for _, other := range [][]string{{"a", "b"}, {"a", "b", "d"}, {"ab", "c", ""}, {"a", "b", "c", "d"}, {}} {
		if sum(other...) == sum("a", "b", "c") {
			t.Errorf("%q has the same", other)
		}
	}
	if holding.Span("01") != "01" {
		t.Error("a short key has no span")
	}
}

// receipt is one of an hour that begins a day.
const receipt = "01kah5zrg0s1v9fnyzq4v8b3pk"

func TestAQuestionAboutARowIsOfOneReceipt(t *testing.T) {
	text, literals, err := holding.Request{Ask: holding.Row, Receipt: receipt}.Compose()
	if err != nil || !holding.Ours(text) || len(literals) != strings.Count(text, "?") {
		t.Fatalf("%v: %s, %v", err, text, literals)
	}
	id := ulid.MustParseStrict(strings.ToUpper(receipt))
	if day := ulid.Time(id.Time()).UTC().Add(-time.Hour).Format(time.DateOnly); literals[0] != "'"+day+"'" || literals[1] != "'"+receipt+"'" {
		t.Errorf("%v", literals)
	}
	for _, c := range names.LakeColumns {
		if !strings.Contains(text, `"`+c.Name+`"`) || strings.Contains(text, "%!") {
			t.Errorf("it doesn't ask for %s of type %s: %s", c.Name, c.Type, text)
		}
	}
	if holding.Columns[holding.Row] != len(names.LakeColumns)+1 {
		t.Error(holding.Columns)
	}
}

// The receipt is the one word of a question that isn't made here.
func TestOnlyAReceiptBecomesALiteral(t *testing.T) {
	for name, r := range map[string]holding.Request{
		"none":             {Ask: holding.Row},
		"a quote":          {Ask: holding.Row, Receipt: receipt[:25] + "'"},
		"a quote behind":   {Ask: holding.Row, Receipt: receipt + "' OR '1'='1"},
		"a line behind":    {Ask: holding.Row, Receipt: receipt + "\n"},
		"upper case":       {Ask: holding.Row, Receipt: strings.ToUpper(receipt)},
		"another letter":   {Ask: holding.Row, Receipt: receipt[:25] + "\u212a"},
		"no letter":        {Ask: holding.Row, Receipt: receipt[:25] + "u"},
		"a late time":      {Ask: holding.Row, Receipt: "8" + receipt[1:]},
		"a short one":      {Ask: holding.Row, Receipt: receipt[:25]},
		"a time beside":    {Ask: holding.Row, Receipt: receipt, From: at, To: at.Add(time.Hour)},
		"a receipt beside": {Ask: holding.Keys, Receipt: receipt, From: at, To: at.Add(time.Hour)},
	} {
		if text, literals, err := r.Compose(); !fault.Is(err, fault.BadInput) || text != "" || literals != nil {
			t.Errorf("%s: %q, %v", name, literals, err)
		}
	}
}

// arrived is a row as the question finds it of what was put on the bus.
func arrived(t *testing.T) (bus []byte, row []string) {
	t.Helper()
	fields := map[string]any{}
	for _, c := range names.LakeColumns {
		switch c.Type {
		case "string":
			fields[c.Name] = "a \"" + c.Name + "\",\nä"
			row = append(row, "="+fields[c.Name].(string))
		case "timestamp":
			fields[c.Name] = "2026-11-28T10:00:00.025Z"
			row = append(row, "=2026-11-28 10:00:00.025")
		case "bigint":
			fields[c.Name] = 42
			row = append(row, "=42")
		case "array<string>":
			fields[c.Name] = []string{"one", "two"}
			row = append(row, "=2\x1fone\x1ftwo")
		case "map<string,string>":
			fields[c.Name] = map[string]string{"a": "x", "b": ""}
			row = append(row, "=2\x1fb\x1fa\x1f\x1fx")
		default:
			t.Fatalf("%s has the type %s", c.Name, c.Type)
		}
	}
	bus, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return bus, append(row, "1")
}

func TestARowIsHeldAgainstTheBusColumnByColumn(t *testing.T) {
	bus, good := arrived(t)
	differs := func(bus []byte, rows ...[]string) string {
		t.Helper()
		wrong, empty, err := holding.Differing(bus, rows)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(wrong, " ") + "|" + strings.Join(empty, " ")
	}
	if got := differs(bus, good); got != "|" {
		t.Errorf("what arrived differs: %s", got)
	}
	others := map[string][]string{
		"string":             {"=", "=x", "a"},
		"timestamp":          {"=2026-11-28 10:00:00", "=2026-11-28 12:00:00.025", "=1", "="},
		"bigint":             {"=42.0", "=0", "=", "=420"},
		"array<string>":      {"=2\x1fone", "=1\x1fone\x1ftwo", "=2\x1ftwo\x1fone", "=0\x1f", "=3\x1fone\x1ftwo\x1f", "=2", "=2\x1fone\x1fTwo"},
		"map<string,string>": {"=2\x1fa\x1fb\x1fx", "=2\x1fa\x1fb\x1f\x1fx", "=1\x1fa\x1fx", "=2\x1fa\x1fa\x1fx\x1fx", "=3\x1fa\x1fb\x1fx\x1f", "=0\x1f\x1f", "=", "=3\x1fb\x1fa\x1fa\x1f\x1fx\x1fx", "=2\x1fb\x1fa\x1f\x1fx\x1fmore"},
	}
	for n, c := range names.LakeColumns {
		for _, text := range append(others[c.Type], "") { // and NULL
			bad := slices.Clone(good)
			bad[n] = text
			if got := differs(bus, bad); got != c.Name+"|" {
				t.Errorf("%s is %q: %s", c.Name, text, got)
			}
			if got := differs(bus, good, bad); got != c.Name+"|" {
				t.Errorf("%s is %q in another row: %s", c.Name, text, got)
			}
		}
		if got := differs([]byte(strings.Replace(string(bus), `"`+c.Name+`":`, `"other":`, 1)), good); got != "|"+c.Name {
			t.Errorf("nothing says %s: %s", c.Name, got)
		}
	}
	if got := differs(bus, good[:3]); !strings.HasPrefix(got, "code ") {
		t.Errorf("a short row: %s", got)
	}
	if _, _, err := holding.Differing([]byte("x"), [][]string{good}); err == nil {
		t.Error("what can't be read says nothing")
	}
}

func TestAnAnswerThatNamesNoQuestionIsNone(t *testing.T) {
	var answer holding.Answer
	var failed error
	ask := holding.Lake(func(context.Context, holding.Call) (holding.Answer, error) { return answer, failed }).Ask
	if _, err := ask(t.Context(), holding.Request{}); err == nil {
		t.Error("it is taken")
	}
	answer.ID = "q"
	if a, err := ask(t.Context(), holding.Request{}); err != nil || a.ID != "q" {
		t.Errorf("%+v, %v", a, err)
	}
	failed = fault.New(fault.Unavailable, "away", "wait for it")
	if a, err := ask(t.Context(), holding.Request{}); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "wait for it") || a.ID != "" {
		t.Errorf("%+v, %v", a, err)
	}
}
