package athena_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/gate/gatetest"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/audit/arrival"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/query/holding"
	"github.com/stile-dev/stile/pkg/query/named"
	"github.com/stile-dev/stile/pkg/query/statement"
	"github.com/stile-dev/stile/pkg/recent"
	"github.com/stile-dev/stile/pkg/table"
)

var update = flag.Bool("update", false, "write testdata/rows from what the questions find; read each before you keep it")

// Each named question finds in testdata/events.ndjson what testdata/rows says. Those events have near misses for each: what is out of
// the period, delivered twice, answered again, overwritten, or another's.
func TestEachNamedQuestionFindsWhatItIsAbout(t *testing.T) {
	w := newLake(t)
	delivered(w, allOf)
	w.finds(t, true)
}

// It finds the same when the lake lacks what came last, and the ledger has that and some of before.
func TestEachNamedQuestionFindsTheSameInTheLakeAndTheLedger(t *testing.T) {
	w := newLake(t)
	whole := func(r delivery) bool { return r.Received.Format(time.DateOnly) == lean }
	delivered(w, func(r delivery) bool {
		return whole(r) || r.Received.Before(time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC))
	})
	taken(w, func(r delivery) bool {
		return !whole(r) && r.Received.After(time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC))
	})
	w.finds(t, false)
	from := strings.Fields(sql(t, gatetest.Ask(t, w.Service, w.authority, everything), w.composed("SELECT origin, count(*) AS n FROM events GROUP BY origin ORDER BY origin")))
	if len(from) != 5 || !strings.HasPrefix(from[2], "lake,") || !strings.HasPrefix(from[4], "ledger,") {
		t.Errorf("events are from %q", from)
	}
}

// newLake is a world with the tables of which questions are asked.
func newLake(t testing.TB, edits ...func(configuration map[string]any)) *world {
	t.Helper()
	w := newWorld(t, edits...)
	var columns []any
	for _, c := range names.LakeColumns {
		columns = append(columns, map[string]any{"Name": c.Name, "Type": c.Type})
	}
	w.tableOf(names.LakeTable, columns, map[string]any{"projection.day.range": "2026-01-01,2026-12-31"})
	w.injected(names.LakeRecent, columns, names.RecentQuestion)
	return w
}

// asked is the question that all of them are.
var asked = statement.Head{Owner: "usr_0", Event: "e", Since: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)}

func (w *world) composed(text string) string {
	w.t.Helper()
	text, err := statement.Compose(asked, text, true)
	w.must(err)
	return text
}

// finds asks each question. Rows may be written down where all of them are from the lake.
func (w *world) finds(t *testing.T, write bool) {
	t.Helper()
	call := gatetest.Ask(t, w.Service, w.authority, everything)
	given := map[string]string{"node": "node-1", "id": "ses_2"}
	for _, q := range named.All() {
		t.Run(q.Name, func(t *testing.T) {
			values := map[string]string{}
			for _, p := range q.Parameters {
				if p.Default == "" {
					values[p.Name] = given[p.Name]
				}
			}
			rows := w.found(call, q, values)
			var b strings.Builder
			for _, r := range rows {
				line, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				b.Write(line)
				b.WriteByte('\n')
			}
			path := filepath.Join("testdata", "rows", q.Name+".ndjson")
			if *update && write {
				if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("want (-), found (+):\n%s", diff)
			}
			if len(rows) < 2 {
				t.Error("the events have nothing for this question")
			}
		})
	}
}

// found is what a named question finds, the names of the columns first.
func (w *world) found(c call, q named.Query, values map[string]string) [][]string {
	w.t.Helper()
	sql, literals, err := q.Bind(values)
	w.must(err)
	var more map[string]any
	if len(literals) > 0 {
		more = map[string]any{"ExecutionParameters": literals}
	}
	return answered(w.t, c, w.composed(sql), more)
}

// Whoever copies a name from an answer has its kind before it, and whoever types it has not: neither may find nothing for that.
func TestANameIsTakenWithItsKindAndWithout(t *testing.T) {
	w := newLake(t)
	delivered(w, allOf)
	call := gatetest.Ask(t, w.Service, w.authority, everything)
	for _, c := range []struct{ question, parameter, kind, name string }{
		{"certificates", "actor", "user", "alice"},
		{"changes", "user", "user", "ada"},
		{"commands", "user", "user", "alice"},
		{"denied", "user", "user", "bob"},
		{"everything", "id", "user", "alice"},
		{"everything", "id", "node", "node-1"},
		{"node-sessions", "node", "node", "node-1"},
		{"recordings-read", "user", "user", "alice"},
		{"role-changes", "role", "role", "dba"},
		{"sessions", "user", "user", "alice"},
		{"sessions", "target", "node", "node-1"},
	} {
		q, ok := named.Find(c.question)
		if !ok {
			t.Fatal(c.question)
		}
		bare := w.found(call, q, map[string]string{c.parameter: c.name})
		full := w.found(call, q, map[string]string{c.parameter: c.kind + "/" + c.name})
		other := w.found(call, q, map[string]string{c.parameter: c.kind + "/" + c.name + "0"})
		if diff := cmp.Diff(bare, full); diff != "" || len(bare) < 2 || len(other) != 1 {
			t.Errorf("%s by %s: without the kind (-), with it (+), %d rows; of another %d:\n%s", c.question, c.parameter, len(bare), len(other), diff)
		}
	}
}

// answered is what a query finds, the names of its columns first, with ∅ for NULL.
func answered(t testing.TB, c call, text string, more map[string]any) (rows [][]string) {
	t.Helper()
	id := start(t, c, text, more)
	if e := wait(t, c, id, done).QueryExecution; e.Status.State != "SUCCEEDED" {
		t.Fatalf("%+v", e.Status)
	}
	var p page
	if status, body := c("AmazonAthena.GetQueryResults", `{"QueryExecutionId":"`+id+`"}`); status != http.StatusOK || json.Unmarshal([]byte(body), &p) != nil {
		t.Fatalf("%d %s", status, body)
	}
	for _, r := range p.ResultSet.Rows {
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
	return rows
}

// delivery is a row of the lake.
type delivery struct {
	ID          *string           `parquet:"id,optional"`
	Time        time.Time         `parquet:"time,timestamp(millisecond)"`
	Type        *string           `parquet:"type,optional"`
	Code        *string           `parquet:"code,optional"`
	Cluster     *string           `parquet:"cluster,optional"`
	Actor       *string           `parquet:"actor,optional"`
	ActorRoles  []string          `parquet:"actor_roles,optional,list"`
	TargetKind  *string           `parquet:"target_kind,optional"`
	Target      *string           `parquet:"target,optional"`
	Scope       *string           `parquet:"scope,optional"`
	SessionID   *string           `parquet:"session_id,optional"`
	RequestID   *string           `parquet:"request_id,optional"`
	DecisionID  *string           `parquet:"decision_id,optional"`
	Outcome     *string           `parquet:"outcome,optional"`
	Reason      *string           `parquet:"reason,optional"`
	SourceIP    *string           `parquet:"source_ip,optional"`
	Source      *string           `parquet:"source,optional"`
	SourceEpoch *string           `parquet:"source_epoch,optional"`
	Seq         *int64            `parquet:"seq,optional"`
	SourceAfter *string           `parquet:"source_after,optional"`
	Data        map[string]string `parquet:"data,optional"`
	Writer      string            `parquet:"writer"`
	Receipt     string            `parquet:"receipt"`
	Received    time.Time         `parquet:"received,timestamp(millisecond)"`
}

// bare is a delivery of a day on which no event had the columns that are left out.
type bare struct {
	ID       *string   `parquet:"id,optional"`
	Time     time.Time `parquet:"time,timestamp(millisecond)"`
	Type     *string   `parquet:"type,optional"`
	Code     *string   `parquet:"code,optional"`
	Actor    *string   `parquet:"actor,optional"`
	Outcome  *string   `parquet:"outcome,optional"`
	Reason   *string   `parquet:"reason,optional"`
	Source   *string   `parquet:"source,optional"`
	Target   *string   `parquet:"target,optional"`
	Receipt  string    `parquet:"receipt"`
	Received time.Time `parquet:"received,timestamp(millisecond)"`
}

// lean is the day on which no event had some columns.
const lean = "2026-03-10"

func allOf(delivery) bool { return true }

// delivered puts what was chosen of testdata/events.ndjson into the lake, a file for each day.
func delivered(w *world, chosen func(delivery) bool) {
	w.t.Helper()
	days := map[string][]delivery{}
	each(w.t, func(r delivery, _ string) {
		if day := r.Received.Format(time.DateOnly); chosen(r) {
			days[day] = append(days[day], r)
		}
	})
	for day, rows := range days {
		if day != lean {
			file(w, names.LakeTable+"/day="+day+"/1.parquet", rows...)
			continue
		}
		var few []bare
		for _, r := range rows {
			few = append(few, bare{r.ID, r.Time, r.Type, r.Code, r.Actor, r.Outcome, r.Reason, r.Source, r.Target, r.Receipt, r.Received})
		}
		file(w, names.LakeTable+"/day="+day+"/1.parquet", few...)
	}
}

// books is a ledger that has some items in the first partition of each writer, whenever they were received.
type books struct {
	table.API
	items map[string][]map[string]types.AttributeValue // by writer
}

func (b books) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	pk := strings.Split(in.ExpressionAttributeValues[":pk"].(*types.AttributeValueMemberS).Value, "#")
	if pk[3] != "0" {
		return &dynamodb.QueryOutput{}, nil
	}
	return &dynamodb.QueryOutput{Items: b.items[pk[1]]}, nil
}

// taken has what was chosen of testdata/events.ndjson taken out of the ledger for the question.
func taken(w *world, chosen func(delivery) bool) {
	w.t.Helper()
	b := books{items: map[string][]map[string]types.AttributeValue{}}
	each(w.t, func(r delivery, line string) {
		if chosen(r) {
			b.items[r.Writer] = append(b.items[r.Writer], map[string]types.AttributeValue{
				"sk": table.String(r.Receipt), "event": table.String(line), "received_ms": table.Int(r.Received.UnixMilli()),
			})
		}
	})
	keep := func(_ context.Context, key string, body []byte) error { return w.s3.Put(w.owner, "lake", key, body) }
	_, err := recent.New(recent.Config{DynamoDB: b, Keep: keep}).Take(w.t.Context(), asked.Event, asked.Since, asked.Until, time.Date(2026, 3, 30, 12, 0, 0, 0, time.UTC))
	w.must(err)
}

// each passes on what testdata/events.ndjson has. What says _again came a second time, the day after.
func each(t testing.TB, take func(r delivery, line string)) {
	t.Helper()
	raw, err := os.ReadFile("testdata/events.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		var e audit.Event
		var more struct {
			Again bool `json:"_again"`
		}
		if err := json.Unmarshal(lines.Bytes(), &more); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		checked(t, e)
		r := deliveryOf(e, lines.Bytes())
		take(r, lines.Text())
		if more.Again {
			r.Received = r.Received.Add(24 * time.Hour)
			r.Receipt = receipt(r.Received, lines.Bytes())
			take(r, lines.Text())
		}
	}
}

// checked holds that an event is one that there can be: of its type, with its fields.
func checked(t testing.TB, e audit.Event) {
	t.Helper()
	of, known := audit.Types[e.Type]
	if !known || of.Code != e.Code {
		t.Errorf("%s has the type %s and the code %s", e.ID, e.Type, e.Code)
	}
	for name := range e.Data {
		if !slices.ContainsFunc(of.Fields, func(f audit.Field) bool { return f.Name == name }) {
			t.Errorf("%s is a %s and has %s", e.ID, e.Type, name)
		}
	}
	for _, f := range of.Fields {
		if _, has := e.Data[f.Name]; f.Always && !has {
			t.Errorf("%s is a %s without %s", e.ID, e.Type, f.Name)
		}
	}
}

func deliveryOf(e audit.Event, line []byte) delivery {
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	r := delivery{
		ID: text(e.ID), Time: e.Time, Type: text(string(e.Type)), Code: text(e.Code), Cluster: text(e.Cluster), Actor: text(e.Actor), ActorRoles: e.ActorRoles,
		TargetKind: text(e.TargetKind), Target: text(e.Target), Scope: text(e.Scope), SessionID: text(e.SessionID), RequestID: text(e.RequestID), DecisionID: text(e.DecisionID),
		Outcome: text(string(e.Outcome)), Reason: text(e.Reason), SourceIP: text(e.SourceIP), Source: text(e.Source), SourceEpoch: text(e.SourceEpoch), SourceAfter: text(e.SourceAfter), Data: e.Data,
		Writer: "agent", Received: e.Time.Add(2 * time.Second),
	}
	if e.Seq > 0 {
		n := int64(e.Seq)
		r.Seq = &n
	}
	if strings.HasPrefix(e.Source, names.WriterFunction) {
		r.Writer = e.Source
	}
	r.Receipt = receipt(r.Received, line)
	return r
}

// receipt is a time in ten characters and a digest, as the ledger has it.
func receipt(at time.Time, line []byte) string {
	sum := sha256.Sum256(line)
	return fmt.Sprintf("%010x", at.UnixMilli()) + hex.EncodeToString(sum[:])[:16]
}

// What the question about a row finds is held against the bus: by the engine, a row says of each column what the bus does, and a column
// that is NULL or another is named.
func TestARowOfTheLakeIsComparedColumnByColumn(t *testing.T) {
	w := newLake(t)
	e := audit.New(audit.EvidenceCanary, rand.Reader, time.Date(2026, 3, 5, 23, 59, 59, 25e6, time.UTC))
	e.Cluster, e.Source, e.Actor, e.ActorRoles = "c", "function/sweep", "function/sweep", []string{"one", `a "second" rôle`}
	e.TargetKind, e.Target, e.Scope, e.SessionID, e.RequestID, e.DecisionID = "audit", "deliveries", "/", "ses_1", "r", "dec_1"
	e.Reason, e.SourceIP, e.SourceEpoch, e.Seq, e.SourceAfter = "why: ä\n'\"\\", "192.0.2.1", "x", 1<<40+1, "x:1"
	e.Data = map[string]string{"hour": "", "text": "two\nlines, \"quotes\", \\, 𝄞\u2028", "filler": strings.Repeat("canary ", 2000)}
	line, err := json.Marshal(e)
	w.must(err)
	received := e.Time.Add(2 * time.Second)
	a, err := arrival.Of(ledger.Partition(e.Source, received, e.ID), ledger.Receipt(received, line), string(line), received.UnixMilli())
	w.must(err)
	bus, err := a.JSON()
	w.must(err)
	good := deliveryOf(e, line)
	good.Receipt = a.Receipt
	call := gatetest.Ask(t, w.Service, w.authority, everything)
	differs := func(want, none string, rows ...delivery) {
		t.Helper()
		file(w, names.LakeTable+"/day=2026-03-06/row.parquet", rows...)
		text, literals, err := holding.Request{Ask: holding.Row, Receipt: a.Receipt}.Compose()
		w.must(err)
		found := answered(t, call, text, map[string]any{"ExecutionParameters": literals})[1:]
		for _, r := range found {
			for n := range r {
				r[n] = strings.TrimPrefix(r[n], "∅")
			}
		}
		wrong, empty, err := holding.Differing(bus, found)
		if w.must(err); strings.Join(wrong, " ") != want || strings.Join(empty, " ") != none || len(found) == 0 {
			t.Errorf("of %d rows %q and %q differ, not %q", len(found), wrong, empty, want)
		}
	}
	another := good
	another.Receipt = ledger.Receipt(received, nil)
	another.Reason = nil
	differs("", "", good)
	differs("", "", good, good, another) // a delivery that came twice, and what isn't asked for
	bad, text := good, "other"
	bad.ActorRoles, bad.Seq, bad.Reason = nil, nil, nil
	differs("actor_roles reason seq", "", bad)
	differs("actor_roles reason seq", "", good, bad, good)
	bad = good
	bad.ActorRoles, bad.Data, bad.Scope, bad.Time = []string{"one"}, map[string]string{"hour": ""}, &text, e.Time.Add(time.Millisecond)
	differs("time actor_roles scope data", "", bad)
	bad = good
	bad.ActorRoles, bad.Data, bad.SourceIP = []string{}, map[string]string{}, new("")
	differs("actor_roles source_ip data", "", bad)
}
