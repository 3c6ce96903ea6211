package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
)

// asked is what a question finds, each row by the names of its columns.
func (p *person) asked(t *testing.T, args ...string) (rows []map[string]any) {
	t.Helper()
	p.reads(t, &rows, append([]string{"audit", "query", "--format", "json"}, args...)...)
	return rows
}

// What SQL finds of a session is what the ledger lists of it, each event once, whatever was delivered twice.
func TestWhatSQLFindsIsWhatTheLedgerHas(t *testing.T) {
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	id := strings.TrimSpace(p.must(t, "ssh", "node-1", "--", `echo "$STILE_SESSION_ID"`))
	eventually(t, 30*time.Second, func() string {
		if !slices.ContainsFunc(boss.events(t, "--session", id), func(e listed) bool { return e.Type == audit.SessionEnd }) {
			return "the session's end is not listed"
		}
		return ""
	})
	var want []string
	for _, e := range boss.events(t, "--session", id) {
		want = append(want, e.ID+" "+string(e.Type)+" "+e.Actor+" "+e.Data["command"])
	}
	slices.Sort(want)
	var got []string
	eventually(t, 30*time.Second, func() string {
		if err := boss.Flush(); err != nil {
			t.Fatal(err)
		}
		got = nil
		if len(shared.lake(t, func(r row) bool { return aws.ToString(r.SessionID) == id })) < len(want) {
			return "the lake has less than the ledger"
		}
		for _, row := range boss.asked(t, "SELECT id, type, actor, element_at(data, 'command') AS command FROM events WHERE session_id = '"+id+"' ORDER BY id") {
			command, _ := row["command"].(string)
			got = append(got, row["id"].(string)+" "+row["type"].(string)+" "+row["actor"].(string)+" "+command)
		}
		slices.Sort(got)
		if len(got) < len(want) {
			return "the lake has less than the ledger"
		}
		return ""
	})
	if !slices.Equal(got, want) {
		t.Errorf("SQL finds %q\nthe ledger has %q", got, want)
	}
	counted := boss.asked(t, "WITH of AS (SELECT * FROM events WHERE session_id = '"+id+"') SELECT count(*) AS n, count(DISTINCT id) AS ids, min(time) AS since FROM of")
	if len(counted) != 1 || counted[0]["n"] != counted[0]["ids"] {
		t.Errorf("counted %v", counted)
	}
}

// SQL finds what happened until it is asked: an event once, from the ledger until the lake has it, and from the lake then.
func TestSQLFindsAtOnceWhatTheLakeLacks(t *testing.T) {
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	if err := boss.Flush(); err != nil { // so that the lake gets nothing by itself for a minute
		t.Fatal(err)
	}
	began := time.Now().UTC()
	shared.person(t, "env.stranger").run(t, nil, "login", "--iam").refused(t, 4)
	refused := "type = 'user.login_refused' AND time >= timestamp '" + began.Format("2006-01-02 15:04:05.000") + "'"
	found := func(where string) (ids, origins []string) {
		t.Helper()
		for _, row := range boss.asked(t, "SELECT id, origin FROM events WHERE "+where+" ORDER BY id") {
			ids, origins = append(ids, row["id"].(string)), append(origins, row["origin"].(string))
		}
		slices.Sort(origins)
		return ids, slices.Compact(origins)
	}
	login, from := found(refused)
	if len(login) != 1 || !slices.Equal(from, []string{"ledger"}) {
		t.Fatalf("the refused login is found as %q from %q", login, from)
	}
	id := strings.TrimSpace(p.must(t, "ssh", "node-1", "--", `echo "$STILE_SESSION_ID"`))
	var want []string
	eventually(t, 30*time.Second, func() string {
		want = nil
		ended := false
		for _, e := range boss.events(t, "--session", id) {
			want, ended = append(want, e.ID), ended || e.Type == audit.SessionEnd
		}
		if !ended {
			return "the session's end is not listed"
		}
		return ""
	})
	slices.Sort(want)
	of := "session_id = '" + id + "'"
	if got, from := found(of); !slices.Equal(got, want) || !slices.Contains(from, "ledger") {
		t.Errorf("of the session SQL finds %q from %q, the ledger has %q", got, from, want)
	}
	eventually(t, 60*time.Second, func() string {
		if n := len(shared.lake(t, func(r row) bool { return aws.ToString(r.SessionID) == id || aws.ToString(r.ID) == login[0] })); n < len(want)+1 {
			return fmt.Sprintf("the lake has %d events", n)
		}
		return ""
	})
	for where, want := range map[string][]string{refused: login, of: want} {
		if got, from := found(where); !slices.Equal(got, want) || !slices.Equal(from, []string{"lake"}) {
			t.Errorf("of what the lake has too SQL finds %q from %q, and not %q", got, from, want)
		}
	}
}

// Every question that has a name is one that the engine understands, and finds what happened.
func TestEachNamedQuestionIsAnswered(t *testing.T) {
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	id := strings.TrimSpace(p.must(t, "ssh", "node-1", "--", `echo "$STILE_SESSION_ID"`))
	p.run(t, nil, "ssh", "nobody@node-1", "--", "true").refused(t, 255, "decision: dec_")
	boss.asked(t, "SELECT 1 AS one")
	// Questions are counted, so it isn't by them that this waits for the lake.
	eventually(t, 60*time.Second, func() string {
		there := map[audit.Type]bool{}
		for _, r := range shared.lake(t, func(row) bool { return true }) {
			kind := audit.Type(aws.ToString(r.Type))
			there[kind] = there[kind] || kind != audit.SessionStart || aws.ToString(r.SessionID) == id
		}
		for _, kind := range []audit.Type{audit.SessionStart, audit.SessionDenied, audit.UserLogin, audit.AgentJoin, audit.PolicyPublished, audit.LakeQueried} {
			if !there[kind] {
				return fmt.Sprintf("the lake has no %s", kind)
			}
		}
		return ""
	})
	rows := map[string][]map[string]any{}
	finds := func(name string, of func(row map[string]any) bool, more ...string) {
		t.Helper()
		rows[name] = boss.asked(t, append([]string{name, "--since", "1h"}, more...)...)
		if !slices.ContainsFunc(rows[name], of) {
			t.Errorf("%s finds %v", name, rows[name])
		}
	}
	of := func(column string, value any) func(map[string]any) bool {
		return func(row map[string]any) bool { return row[column] == value }
	}
	finds("sessions", of("session_id", id), "--param", "user=alice")
	finds("commands", of("session_id", id))
	finds("node-sessions", of("session_id", id), "--param", "node=node-1")
	finds("everything", of("session_id", id), "--param", "id="+id)
	finds("denied", of("actor", "user/alice"))
	finds("certificates", of("actor", "user/alice"))
	finds("joins", of("type", "agent.join"))
	finds("publications", of("type", "policy.published"))
	finds("suspicions", of("type", "session.denied"))
	finds("questions", of("actor", "user/ada"))
	var named []struct {
		Name, Question, SQL string
		Parameters          []struct{ Name, Kind, Default string }
	}
	if boss.reads(t, &named, "audit", "query", "--list", "--format", "json"); len(named) < 15 {
		t.Fatal(named)
	}
	for _, q := range named {
		if rows[q.Name] != nil {
			continue
		}
		args := []string{q.Name, "--since", "1h"}
		for _, p := range q.Parameters {
			switch {
			case p.Default == "":
				args = append(args, "--param", p.Name+"=none")
			case p.Kind == "days":
				boss.run(t, nil, append([]string{"audit", "query"}, args...)...).refused(t, 2, "the period is shorter")
				args[2] = "400d"
			}
		}
		boss.asked(t, args...)
	}
}

// What is asked is written down before it is asked, and what isn't a question isn't asked.
func TestAQuestionIsWrittenDown(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	const asked = "SELECT type, count(*) AS of_it FROM nothing_of_the_kind GROUP BY type ORDER BY type"
	boss.run(t, nil, "audit", "query", asked).refused(t, 2, "nothing_of_the_kind")
	var found []listed
	for _, e := range boss.events(t, "--since", "5m", "--type", string(audit.LakeQueried)) {
		if e.Data["sql"] == asked {
			found = append(found, e)
		}
	}
	if len(found) != 1 || found[0].Actor != "user/ada" || found[0].Standing != "proven" {
		t.Errorf("the question is told as %+v", found)
	}
	for _, sql := range []string{"INSERT INTO events SELECT * FROM events", "SELECT 1; DROP TABLE deliveries", "UNLOAD (SELECT * FROM events) TO 's3://elsewhere/'"} {
		boss.run(t, nil, "audit", "query", sql).refused(t, 2, "SELECT")
	}
	boss.run(t, nil, "audit", "query", "SELECT * FROM read_csv('/etc/passwd')").refused(t, 2, "read_csv")
}

func TestWhoMayNotAskTheLakeIsRefusedAndTold(t *testing.T) {
	p, boss := shared.person(t, engineer).login(t), shared.person(t, admin).login(t)
	p.run(t, nil, "audit", "query", "SELECT 1").refused(t, 4, "decision: dec_")
	eventually(t, 20*time.Second, func() string {
		all := boss.events(t, "--since", "5m", "--type", string(audit.RequestRefused), "--actor", "user/alice")
		if !slices.ContainsFunc(all, func(e listed) bool { return e.DecisionID != "" && strings.Contains(e.Reason, "query") }) {
			return "the refusal is not listed"
		}
		return ""
	})
}

// A question that is interrupted ends in the lake as well.
func TestAnInterruptedQuestionIsStopped(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	const long = "SELECT count(*) AS n FROM deliveries a, deliveries b, deliveries c, deliveries d, deliveries e, deliveries f, deliveries g WHERE a.id < g.id"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := boss.Flush(); err != nil { // without events there is nothing to take long over
		t.Fatal(err)
	}
	before := len(shared.log("stile-query"))
	asking := boss.Command(ctx, "stile", "audit", "query", long)
	var said bytes.Buffer
	asking.Stderr = &said
	if err := asking.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() string {
		if !strings.Contains(shared.log("stile-query")[before:], `"operation":"getQuery"`) {
			return "nobody looks how the question goes"
		}
		return ""
	})
	if err := asking.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := asking.Wait(); err == nil || ctx.Err() != nil {
		t.Errorf("it ended with %v and said %s", err, said.String())
	}
	if !strings.Contains(shared.log("stile-query")[before:], `"operation":"stopQuery"`) {
		t.Error("the question was not stopped")
	}
}

// What events say can make a page of rows neither too large for an answer nor keep what is behind it from being read.
func TestRowsAreReadWholeHoweverTheirTextIsWritten(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	if err := boss.Flush(); err != nil { // without events there are no rows
		t.Fatal(err)
	}
	rows := boss.asked(t, `SELECT rpad('x', 12000, chr(34)) AS quotes, rpad('x', 12000, chr(1)) AS controls FROM deliveries a, deliveries b, deliveries c LIMIT 120`)
	if len(rows) < 100 {
		t.Fatalf("%d rows are too few to be too much", len(rows))
	}
	for _, row := range rows {
		if row["quotes"] != "x"+strings.Repeat(`"`, 11999) || row["controls"] != "x"+strings.Repeat("\x01", 11999) {
			t.Fatalf("%.100v", row)
		}
	}
}

// An id that is no query's is nobody's, and no failure of the API's.
func TestAQueryThatIsNotThereIsNotFound(t *testing.T) {
	c := shared.person(t, admin).login(t).client(t)
	const id = "0f0e0d0c-0b0a-4908-8706-050403020100"
	if _, err := c.Query(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if _, err := c.StopQuery(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}
