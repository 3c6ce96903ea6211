package cmd_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/stile-dev/stile/cli/cmd"
	"github.com/stile-dev/stile/pkg/escape/escapetest"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// asked runs a command line without a login.
func asked(t *testing.T, in string, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	home := t.TempDir()
	status = cmd.Run(t.Context(), cmd.Process{
		Args: append([]string{"audit", "query"}, args...), In: strings.NewReader(in), Out: &o, Err: &e,
		Getenv: func(name string) string {
			return map[string]string{"STILE_HOME": home, "STILE_API": "https://api.example/prod"}[name]
		},
	})
	return status, o.String(), e.String()
}

func TestTheQuestionsAreListed(t *testing.T) {
	var list []struct {
		Name, Question, SQL string
		Parameters          []struct{ Name, Kind string }
	}
	status, out, _ := asked(t, "", "--list", "--format", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || status != 0 || len(list) < 2 || list[0].SQL == "" || list[0].Question == "" || list[0].Parameters == nil {
		t.Errorf("%d, %v: %s", status, err, out)
	}
	if _, out, _ := asked(t, "", "--list", "--format", "csv"); !strings.HasPrefix(out, "NAME,PARAMETERS,QUESTION\n") {
		t.Error(out)
	}
}

func TestAQuestionThatCantBeAskedIsRefusedHere(t *testing.T) {
	for _, c := range []struct {
		status int
		want   string
		in     string
		args   []string
	}{
		{5, "denied", "", []string{"denid"}},
		{5, "nearest: denied", "", []string{"Denied"}},
		{5, "nearest: role-changes", "", []string{"role_changes"}},
		{2, "as one argument, in double quotes", "", []string{"SELECT", "1"}},
		{2, "there is no question", "", nil},
		{2, "write -- before it", "", []string{"-- who\nSELECT 1"}},
		{2, "write -- before it", "", []string{"--who\nSELECT 1"}},
		{2, "unknown flag: --who", "", []string{"--who"}},
		{2, "see: stile audit query --help", "", []string{"--who"}},
		{3, "not logged in", "", []string{"--", "-- who\nSELECT 1"}},
		{2, "only read", "", []string{"DROP TABLE events"}},
		{2, "only read", "DELETE FROM events", []string{"-"}},
		{2, "only read", "DELETE FROM events", []string{"--file", "-"}},
		{2, "leave out one", "", []string{"SELECT 1", "--file", "x"}},
		{2, "can't be read", "", []string{"--file", "/nonexistent"}},
		{2, "NAME=VALUE", "", []string{"denied", "--param", "x"}},
		{2, "given twice", "", []string{"denied", "--param", "x=1", "--param", "x=2"}},
		{2, "no such parameter", "", []string{"denied", "--param", "strange=1"}},
		{2, "takes no --param", "", []string{"SELECT 1", "--param", "x=1"}},
		{2, "isn't after --since", "", []string{"SELECT 1", "--since", "1h", "--until", "2h"}},
		{2, "not a format", "", []string{"SELECT 1", "--format", "yaml"}},
		{2, "leave out --list", "", []string{"denied", "--list"}},
		{3, "not logged in", "", []string{"SELECT 1"}},
		{3, "not logged in", "SELECT 1", []string{"-"}},
	} {
		status, out, errs := asked(t, c.in, c.args...)
		if status != c.status || out != "" || !strings.Contains(errs, c.want) || !strings.Contains(errs, "hint: ") {
			t.Errorf("%q: %d, %q, want %d …%s…", c.args, status, errs, c.status, c.want)
		}
	}
}

// well is an API that has one query.
type well struct {
	t       *testing.T
	state   wire.QueryState
	pages   []wire.QueryRows
	stopped int
	recent  time.Time

	compared time.Time
	lacks    []wire.LakeGap

	looked  func()
	failing int // how many looks fail from now on
	now     func() time.Time
}

func (w *well) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var answer any
	switch {
	case r.Method == http.MethodPost:
		answer = wire.StartedQuery{ID: "q", Recent: w.recent, Compared: w.compared, Lacks: w.lacks}
	case r.Method == http.MethodDelete:
		w.stopped++
		answer = w.state
	case strings.HasSuffix(r.URL.Path, "/rows"):
		answer = w.pages[len(r.URL.Query().Get("cursor"))]
	default:
		if w.looked != nil {
			w.looked()
		}
		if w.failing > 0 {
			w.failing--
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		answer = w.state
	}
	if err := json.NewEncoder(rw).Encode(answer); err != nil {
		w.t.Error(err)
	}
}

// answer asks it.
func (w *well) answer(ctx context.Context, format string) (out, errs string, err error) {
	var o bytes.Buffer
	errs, err = w.into(ctx, format, &o)
	return o.String(), errs, err
}

// into asks it and has the answer written.
func (w *well) into(ctx context.Context, format string, out io.Writer) (errs string, err error) {
	server := httptest.NewTLSServer(w)
	defer server.Close()
	var e bytes.Buffer
	l := lookupAt(w.t, server)
	l.Now = w.now
	err = l.Answer(ctx, format, wire.QueryRequest{SQL: "SELECT 1"}, out, &e)
	return e.String(), err
}

func values(texts ...string) wire.QueryRow {
	row := wire.QueryRow{}
	for _, text := range texts {
		row.Values = append(row.Values, &text)
	}
	return row
}

func TestRowsArePrintedInEachFormat(t *testing.T) {
	columns := []wire.QueryColumn{{Name: "n", Type: "bigint"}, {Name: "n", Type: "varchar"}}
	none := values("2", "")
	none.Values[1] = nil
	w := &well{t: t, state: wire.QueryState{ID: "q", State: "succeeded", ScannedBytes: 3 << 20, Milliseconds: 1500}, pages: []wire.QueryRows{
		{Columns: columns, Next: "x"}, {Columns: columns, Rows: []wire.QueryRow{values("1", "a\x1b[2J,\"b\"")}, Next: "xx"}, {Columns: columns, Rows: []wire.QueryRow{none}},
	}}
	for format, want := range map[string]string{
		"json":  "[\n{\"n\":1,\"n_2\":\"a\\u001b[2J,\\\"b\\\"\"},\n{\"n\":2,\"n_2\":null}\n]\n",
		"csv":   "n,n_2\n1,\"a\x1b[2J,\"\"b\"\"\"\n2,\n",
		"table": "n  n_2\n1  a\\x1b[2J,\"b\"\n2  -\n",
	} {
		out, errs, err := w.answer(t.Context(), format)
		if err != nil || out != want || !strings.Contains(errs, "2 rows") || !strings.Contains(errs, "3.0 MiB read in 1.5 s") {
			t.Errorf("%s: %q, want %q; %s %v", format, out, want, errs, err)
		}
	}
	w.pages = []wire.QueryRows{{Columns: columns}}
	if out, _, err := w.answer(t.Context(), "json"); out != "[]\n" || err != nil {
		t.Errorf("of nothing: %q, %v", out, err)
	}
}

// An answer never looks whole when the lake is known to lack something.
func TestWhatTheLakeIsKnownToLackIsSaid(t *testing.T) {
	w := &well{t: t, state: wire.QueryState{ID: "q", State: "succeeded"}, pages: []wire.QueryRows{{Columns: []wire.QueryColumn{{Name: "n", Type: "bigint"}}}}}
	if _, errs, _ := w.answer(t.Context(), "csv"); !strings.Contains(errs, "not been compared") {
		t.Errorf("never compared: %s", errs)
	}
	w.compared = noon.Add(-time.Hour)
	if _, errs, _ := w.answer(t.Context(), "csv"); !strings.Contains(errs, "compared with the audit log until "+w.compared.Local().Format(time.DateTime)+"\n") || strings.Contains(errs, "lacks some") {
		t.Errorf("all there: %s", errs)
	}
	for n := range 8 {
		from := noon.Add(time.Duration(-20+2*n) * time.Hour)
		w.lacks = append(w.lacks, wire.LakeGap{From: from, To: from.Add(time.Hour)})
	}
	_, errs, _ := w.answer(t.Context(), "csv")
	see := "See it with: stile audit ls --since '" + noon.Add(-20*time.Hour).Local().Format(time.DateTime) + "' --until '" + noon.Add(-19*time.Hour).Local().Format(time.DateTime) + "'\n"
	if !strings.Contains(errs, see) || strings.Count(errs, "lacks some") != 5 || !strings.Contains(errs, "of 3 times after that") {
		t.Errorf("%s", errs)
	}
}

// What events say can't control a terminal, in any format: 0x9b begins a control sequence too, and bidirectional signs reorder a line.
func TestSec_S52_RowsGiveATerminalNoOrders(t *testing.T) {
	columns := []wire.QueryColumn{{Name: escapetest.Orders, Type: "varchar"}}
	w := &well{t: t, state: wire.QueryState{ID: "q", State: "succeeded"}, pages: []wire.QueryRows{{Columns: columns, Rows: []wire.QueryRow{values(escapetest.Orders), values("a\nb,\"c\"")}}}}
	for _, format := range []string{"table", "json", "csv"} {
		mine, theirs, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := term.MakeRaw(int(theirs.Fd())); err != nil {
			t.Fatal(err)
		}
		shown := make(chan string)
		go func() {
			b, _ := io.ReadAll(mine) // ends with an error when nobody has the other side any more
			shown <- string(b)
		}()
		_, err = w.into(t.Context(), format, theirs)
		if err := errors.Join(err, theirs.Close()); err != nil {
			t.Fatal(err)
		}
		text := <-shown
		if err := mine.Close(); err != nil {
			t.Fatal(err)
		}
		if escapetest.Safe(t, text); text == "" {
			t.Errorf("%s shows nothing", format)
		}
	}
	// A program gets what there is.
	if out, _, err := w.answer(t.Context(), "csv"); err != nil || !strings.Contains(out, escapetest.Orders) {
		t.Errorf("%q, %v", out, err)
	}
}

// An answer that may lack something says so, and one that lacks nothing says what it has.
func TestAnAnswerSaysWhatItHasOfTheLastMinutes(t *testing.T) {
	const lacks, has = "may not be in this answer. See it with: stile audit ls --since '", "an event that the lake lacks has the origin ledger"
	for name, c := range map[string]struct {
		recent     time.Time
		lacks, has bool
	}{
		"all":                {time.Now().Add(-20 * time.Minute), false, true},
		"too much for all":   {time.Now().Add(-time.Minute), true, true},
		"of an older server": {time.Time{}, true, false},
	} {
		w := &well{t: t, recent: c.recent, state: wire.QueryState{ID: "q", State: "succeeded"}, pages: []wire.QueryRows{{}}}
		_, errs, err := w.answer(t.Context(), "json")
		if err != nil || strings.Contains(errs, lacks) != c.lacks || strings.Contains(errs, has) != c.has {
			t.Errorf("%s: %s %v", name, errs, err)
		}
		if at := "since " + c.recent.Local().Format(time.DateTime) + " was added"; c.has && !strings.Contains(errs, at) {
			t.Errorf("%s: %s lacks %s", name, errs, at)
		}
	}
}

func TestAQueryThatFailedSaysWhy(t *testing.T) {
	w := &well{t: t, state: wire.QueryState{ID: "q", State: "failed", Reason: "line 1:8: no such column", Hint: "correct it"}}
	if out, _, err := w.answer(t.Context(), "json"); err == nil || !strings.Contains(err.Error(), "line 1:8") || out != "" {
		t.Errorf("%q, %v", out, err)
	}
}

// An API that is away for a moment doesn't have a query asked again; from one that stays away it is told that nobody waits any more.
func TestAQueryIsWaitedForAsLongAsTheAPIMayComeBack(t *testing.T) {
	w := &well{t: t, state: wire.QueryState{ID: "q", State: "succeeded"}, pages: []wire.QueryRows{{}}, failing: 2}
	if _, _, err := w.answer(t.Context(), "json"); err != nil || w.failing != 0 || w.stopped != 0 {
		t.Errorf("%v, %d more would fail, stopped %d times", err, w.failing, w.stopped)
	}
	at := time.Now()
	w.failing, w.now = 4, func() time.Time { at = at.Add(time.Minute); return at }
	if _, _, err := w.answer(t.Context(), "json"); !fault.Is(err, fault.Unavailable) || w.stopped != 1 || w.failing == 0 {
		t.Errorf("%v, %d more would fail, stopped %d times", err, w.failing, w.stopped)
	}
}

// A line that is empty is none to who reads CSV.
func TestEachRowIsALineOfCSV(t *testing.T) {
	none := values("")
	none.Values[0] = nil
	w := &well{t: t, state: wire.QueryState{ID: "q", State: "succeeded"}, pages: []wire.QueryRows{
		{Columns: []wire.QueryColumn{{Name: "reason", Type: "varchar"}}, Rows: []wire.QueryRow{none, values("a"), values("")}},
	}}
	out, _, err := w.answer(t.Context(), "csv")
	if all, wrong := csv.NewReader(strings.NewReader(out)).ReadAll(); err != nil || wrong != nil || len(all) != 4 {
		t.Errorf("%q: %v %v", out, err, wrong)
	}
}

func TestAnInterruptStopsTheQuery(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := &well{t: t, state: wire.QueryState{ID: "q", State: "running"}, looked: cancel}
	if _, _, err := w.answer(ctx, "json"); err == nil || w.stopped != 1 {
		t.Errorf("%v, stopped %d times", err, w.stopped)
	}
}
