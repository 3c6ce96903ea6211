package athena_test

import (
	"bufio"
	"bytes"
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

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/gate/gatetest"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/query/named"
	"github.com/stile-dev/stile/pkg/query/statement"
)

var update = flag.Bool("update", false, "write testdata/rows from what the questions find; read each before you keep it")

// Each named question finds in testdata/events.ndjson what testdata/rows says. Those events have near misses for each: what is out of
// the period, delivered twice, answered again, overwritten, or another's.
func TestEachNamedQuestionFindsWhatItIsAbout(t *testing.T) {
	call := lake(t)
	given := map[string]string{"node": "node-1", "id": "ses_2"}
	for _, q := range named.All() {
		t.Run(q.Name, func(t *testing.T) {
			values := map[string]string{}
			for _, p := range q.Parameters {
				if p.Default == "" {
					values[p.Name] = given[p.Name]
				}
			}
			rows := found(t, call, q, values)
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
			if *update {
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

// lake is a lake that has testdata/events.ndjson.
func lake(t *testing.T) call {
	t.Helper()
	w := newWorld(t)
	var columns []any
	for _, c := range names.LakeColumns {
		columns = append(columns, map[string]any{"Name": c.Name, "Type": c.Type})
	}
	w.tableOf(names.LakeTable, columns, map[string]any{"projection.day.range": "2026-01-01,2026-12-31"})
	delivered(w)
	return gatetest.Ask(t, w.Service, w.authority, everything)
}

// found is what a named question finds in March of 2026, the names of the columns first.
func found(t *testing.T, c call, q named.Query, values map[string]string) [][]string {
	t.Helper()
	head := statement.Head{Owner: "usr_0", Event: "e", Since: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)}
	sql, literals, err := q.Bind(values)
	if err != nil {
		t.Fatal(err)
	}
	text, err := statement.Compose(head, sql, true)
	if err != nil {
		t.Fatal(err)
	}
	var more map[string]any
	if len(literals) > 0 {
		more = map[string]any{"ExecutionParameters": literals}
	}
	return answered(t, c, text, more)
}

// Whoever copies a name from an answer has its kind before it, and whoever types it has not: neither may find nothing for that.
func TestANameIsTakenWithItsKindAndWithout(t *testing.T) {
	call := lake(t)
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
		bare := found(t, call, q, map[string]string{c.parameter: c.name})
		full := found(t, call, q, map[string]string{c.parameter: c.kind + "/" + c.name})
		other := found(t, call, q, map[string]string{c.parameter: c.kind + "/" + c.name + "0"})
		if diff := cmp.Diff(bare, full); diff != "" || len(bare) < 2 || len(other) != 1 {
			t.Errorf("%s by %s: without the kind (-), with it (+), %d rows; of another %d:\n%s", c.question, c.parameter, len(bare), len(other), diff)
		}
	}
}

// answered is what a query finds, the names of its columns first, with ∅ for NULL.
func answered(t *testing.T, c call, text string, more map[string]any) (rows [][]string) {
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
	ActorRoles  []string          `parquet:"actor_roles,list"`
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
	Data        map[string]string `parquet:"data"`
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

// delivered puts testdata/events.ndjson into the lake, a file for each day. What says _again came a second time, the day after.
func delivered(w *world) {
	t := w.t
	t.Helper()
	raw, err := os.ReadFile("testdata/events.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	days := map[string][]delivery{}
	add := func(r delivery) {
		day := r.Received.Format(time.DateOnly)
		days[day] = append(days[day], r)
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
		add(r)
		if more.Again {
			r.Received = r.Received.Add(24 * time.Hour)
			r.Receipt = receipt(r.Received, lines.Bytes())
			add(r)
		}
	}
	for day, rows := range days {
		if day != "2026-03-10" {
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

// checked holds that an event is one that there can be: of its type, with its fields.
func checked(t *testing.T, e audit.Event) {
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
		Outcome: text(string(e.Outcome)), Reason: text(e.Reason), SourceIP: text(e.SourceIP), Source: text(e.Source), SourceEpoch: text(e.SourceEpoch), Data: e.Data,
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
