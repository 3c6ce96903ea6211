package integration_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/recording"
)

// ended waits until a session's end is listed and returns its events.
func (p *person) ended(t *testing.T, session string) (all []listed) {
	t.Helper()
	eventually(t, 30*time.Second, func() string {
		if all = p.events(t, "--session", session); !slices.ContainsFunc(all, func(e listed) bool { return e.Type == audit.SessionEnd }) {
			return fmt.Sprintf("there is no end among %d events of session %s", len(all), session)
		}
		return ""
	})
	return all
}

// What counts in a command may be behind blanks, beside orders to a terminal, or in bytes that are no text. The recording has it whole,
// the event says its hash, and every way to read events has what there is of it without being led on by it.
func TestSec_S52_ACommandOfAnyBytesIsInEvidenceAndGivesNoOrders(t *testing.T) {
	boss, p := shared.person(t, admin).login(t), shared.person(t, engineer).login(t)
	command := "echo \"$STILE_SESSION_ID\" # \x1b]0;title\a\x1b[31m\xff\xfe \u202e,\"';=\t" + strings.Repeat(" ", 100<<10) + "\ntrue"
	id := strings.TrimSpace(p.must(t, "ssh", "node-1", "--", command))
	all := boss.ended(t, id)
	i := slices.IndexFunc(all, func(e listed) bool { return e.Type == audit.SessionStart })
	if i < 0 {
		t.Fatalf("the start is not among %+v", all)
	}
	shown := strings.ToValidUTF8(command, "\uFFFD")[:4<<10]
	start := all[i]
	if d := start.Data; start.Standing != "proven" || !strings.HasPrefix(d["command"], shown[:2<<10]) || d["command_sha256"] != recording.Hash([]byte(command)) || d["command_bytes"] != strconv.Itoa(len(command)) {
		t.Errorf("%s: %d bytes of command, %s of %s bytes", start.Standing, len(d["command"]), d["command_sha256"], d["command_bytes"])
	}

	p.complete(t, id)
	if got := p.tape(t, id).head.Command; got != command {
		t.Errorf("%d of %d bytes are recorded", len(got), len(command))
	}
	eventually(t, 30*time.Second, func() string {
		if said := boss.run(t, nil, "recording", "verify", id); said.status != 0 || !strings.Contains(said.out, fmt.Sprintf("the audit log has the same command: %d bytes", len(command))) {
			return said.out + said.err
		}
		return ""
	})

	orders := func(s string) bool { return strings.ContainsAny(s, "\x1b\a\u202e") || !utf8.ValidString(s) }
	for _, format := range []string{"text", "json", "ndjson", "ocsf"} {
		out := boss.must(t, "audit", "ls", "--session", id, "--format", format)
		if orders(out) {
			t.Errorf("%s has what a terminal would obey: %.300q", format, out)
		}
		if lines := strings.Count(out, "\n"); format != "json" && lines < len(all) {
			t.Errorf("%s has %d lines of %d events", format, lines, len(all))
		}
		for line := range strings.Lines(out) {
			if (format == "ndjson" || format == "ocsf") && !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %.200s", line)
			}
		}
	}

	var want []string
	for _, e := range all {
		want = append(want, e.ID)
	}
	eventually(t, time.Minute, func() string {
		there := shared.lake(t, func(r row) bool { return r.ID != nil && slices.Contains(want, *r.ID) })
		if len(there) < len(want) {
			return fmt.Sprintf("the lake has %d of %d", len(there), len(want))
		}
		return ""
	})
	const columns = ", element_at(data, 'command') AS command, element_at(data, 'command_sha256') AS hash FROM events WHERE type = 'session.start' AND session_id = '"
	rows := boss.asked(t, "SELECT origin"+columns+id+"'")
	if len(rows) != 1 || rows[0]["command"] != start.Data["command"] || rows[0]["hash"] != start.Data["command_sha256"] || rows[0]["origin"] != "lake" {
		t.Errorf("SQL finds %d rows: %.300v", len(rows), rows)
	}
	if out := boss.must(t, "audit", "query", "--format", "table", "SELECT id"+columns+id+"'"); orders(out) {
		t.Errorf("a table has what a terminal would obey: %.300q", out)
	}
	if out := boss.must(t, "audit", "query", "--format", "csv", "SELECT id"+columns+id+"'"); !strings.Contains(out, start.Data["command_sha256"]) {
		t.Errorf("%.300q", out)
	}
}

// The clock of whoever reports may be a day off: what is listed goes by when it was received.
func TestAnEventOfAClockThatIsADayOffIsListedByItsReceipt(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	if r := shared.person(t, engineer).login(t).run(t, nil, "ssh", "node-1", "--", "true"); r.status != 0 {
		t.Fatal(r.err)
	}
	start, v, db := shared.start(t, "node-1"), newVandal(t), shared.asProxy(t)
	books, ids := ledger.New(ledger.Config{DynamoDB: db, Table: v.ledger}), map[string]time.Duration{}
	for _, off := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		e := audit.New(audit.SessionStart, rand.Reader, time.Now().Add(off))
		e.Cluster, e.Scope, e.Actor, e.Source = start.Cluster, start.Scope, "user/off", start.Source
		e.TargetKind, e.Target, e.Data = "node", "node-1", start.Data
		if err := books.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		ids[e.ID] = off
	}
	found := map[string]string{}
	for _, e := range boss.events(t, "--since", "10m", "--actor", "user/off") {
		found[e.ID] = e.Standing
	}
	for id, off := range ids {
		if found[id] != "unproven" { // nobody signed it, whatever its time
			t.Errorf("an event of a clock that is %s off is listed as %q", off, found[id])
		}
	}
	for since, want := range map[string]int{"1h": 0, "25h": 1} { // by the time that it says, up to now
		if rows := boss.asked(t, "SELECT id FROM events WHERE actor = 'user/off'", "--since", since); len(rows) != want {
			t.Errorf("since %s SQL finds %v", since, rows)
		}
	}
}

// An event that has every field, and no room for one byte more, is in SQL with a value in each column: what finds no column is NULL,
// and no error says so.
func TestAnEventOfEveryFieldAtItsLimitHasAValueInEachColumn(t *testing.T) {
	boss := shared.person(t, admin).login(t)
	if r := shared.person(t, engineer).login(t).run(t, nil, "ssh", "node-1", "--", "true"); r.status != 0 {
		t.Fatal(r.err)
	}
	start, v, db := shared.start(t, "node-1"), newVandal(t), shared.asProxy(t)
	e := audit.New(audit.SessionStart, rand.Reader, time.Now())
	e.Cluster, e.Scope, e.Actor, e.ActorRoles, e.Source = start.Cluster, start.Scope, "user/full", []string{"a\nb", "\u202e"}, start.Source
	e.TargetKind, e.Target, e.SessionID, e.RequestID, e.DecisionID = "node", "node-1", start.SessionID, "req_1", "dec_1"
	e.Outcome, e.Reason, e.SourceIP = audit.Denied, "because\n\x1b[31m", "192.0.2.1"
	e.SourceEpoch, e.Seq, e.SourceAfter = start.SourceEpoch, 1_000_000, "e0:7"
	e.Data = map[string]string{"certificate": "crt_1", "command": "\x1b]0;title\a\r\n\"<\u2028\u202e\x00 '"}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	e.Data["command"] += strings.Repeat("x", audit.MaxSize-len(raw))
	books := ledger.New(ledger.Config{DynamoDB: db, Table: v.ledger})
	longer := e
	longer.Data = map[string]string{"certificate": "crt_1", "command": e.Data["command"] + "x"}
	if err := books.Append(t.Context(), longer); err == nil {
		t.Fatal("it has room for more")
	}
	if err := books.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() string {
		if len(shared.lake(t, func(r row) bool { return r.ID != nil && *r.ID == e.ID })) == 0 {
			return "the lake doesn't have it"
		}
		return ""
	})
	var counts []string
	for _, c := range names.LakeColumns {
		counts = append(counts, fmt.Sprintf("count(%q) AS %q", c.Name, c.Name))
	}
	where := " FROM events WHERE id = '" + e.ID + "' AND origin = 'lake'"
	counted := boss.asked(t, "SELECT "+strings.Join(counts, ", ")+where)
	if len(counted) != 1 || len(counted[0]) != len(names.LakeColumns) {
		t.Fatal(counted)
	}
	for name, n := range counted[0] {
		if n != 1.0 {
			t.Errorf("the column %s has %v values", name, n)
		}
	}
	said := boss.asked(t, "SELECT reason, source_after, seq, element_at(actor_roles, 1) AS role, element_at(data, 'command') AS command"+where)
	if len(said) != 1 || said[0]["reason"] != e.Reason || said[0]["source_after"] != e.SourceAfter || said[0]["seq"] != 1e6 || said[0]["role"] != e.ActorRoles[0] || said[0]["command"] != e.Data["command"] {
		t.Errorf("%.500q", said)
	}
	if listed := boss.events(t, "--since", "10m", "--actor", "user/full"); len(listed) != 1 || listed[0].Data["command"] != e.Data["command"] || listed[0].Standing != "unproven" {
		t.Errorf("%d are listed", len(listed))
	}
}
