package integration_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/integration/stand"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
)

// What is reported while everything misbehaves: so many events by so many agents, each its share in batches.
const (
	reported  = 10_000
	reporters = 50
	inBatch   = 10
	sessions  = 150 // of people, by the demo's agent, beside that
)

// wayFaults has each hop between agent and lake misbehave in a tenth of what it does, in each way: what is done is refused, done
// and reported as failed, so that it comes again, or done later, so that what followed it comes first.
func wayFaults() (all []stand.Fault) {
	for _, hop := range []struct {
		service, operation string
		late               int
		kinds              []string
	}{
		{"dynamodb", "PutItem", 20, []string{"error", "lost_answer", "latency"}},        // the proxy writes into the ledger
		{"dynamodb", "GetRecords", 50, []string{"error", "latency"}},                    // its stream is read
		{"lambda", "Invoke", 50, []string{"error", "lost_answer", "latency"}},           // the relay is given a batch
		{"events", "PutEvents", 20, []string{"error", "lost_answer", "latency"}},        // it puts that on the bus
		{"firehose", "PutRecord", 2000, []string{"throttle", "lost_answer", "latency"}}, // which hands it to Firehose
	} {
		for _, kind := range hop.kinds {
			f := stand.Fault{Service: hop.service, Operation: hop.operation, Kind: kind, Probability: 0.1}
			if kind == "latency" {
				f.LatencyMS = hop.late
			}
			all = append(all, f)
		}
	}
	return append(all,
		stand.Fault{Service: "events", Operation: "PutEvents", Kind: "entry", Probability: 0.1, Count: 300},
		stand.Fault{Service: "events", Operation: "PutEvents", Kind: "entry", Probability: 0.01, Count: 5, Code: "MalformedDetail"}, // for good
		stand.Fault{Service: "s3", Operation: "PutObject", Kind: "lost_answer", Probability: 0.5, Count: 2},                         // Firehose writes a file
		stand.Fault{Service: "s3", Operation: "PutObject", Kind: "error", Probability: 0.5, Count: 2},
	)
}

// reporter is an agent that reports events of its own.
type reporter struct {
	*stand.Agent
	session tunnel.Session
	stream  *stand.Reports
	events  []audit.Event
	random  *mathrand.Rand
}

// invented are events as an agent reports them, with what is awkward in them.
func (r *reporter) invented(t *testing.T, node string, many int) {
	t.Helper()
	epoch, session := strings.ToLower(ulid.Make().String()), ""
	for n := range many {
		kind := []audit.Type{audit.SessionStart, audit.SessionEnd, audit.SessionDenied, audit.DocumentsFresh}[n%4]
		e := audit.New(kind, rand.Reader, time.Now())
		e.Actor, e.ActorRoles = "user/reported", []string{"access", "röle-" + strconv.Itoa(n%7)}
		e.SourceIP, e.Data = "192.0.2."+strconv.Itoa(n%200), map[string]string{}
		if kind == audit.SessionStart {
			session = "ses_" + strings.ToLower(ulid.Make().String())
		}
		switch kind {
		case audit.DocumentsFresh:
			e.ActorRoles = nil
		case audit.SessionDenied:
			e.Outcome, e.Reason, e.DecisionID = audit.Denied, "role access: denies login \"root\"\n\t☃ 'n'", "dec_"+strings.ToLower(ulid.Make().String())
		default:
			e.SessionID = session
		}
		if kind != audit.DocumentsFresh {
			e.TargetKind, e.Target = names.KindNode, node
		}
		for _, f := range audit.Types[kind].Fields {
			if f.Always {
				e.Data[f.Name] = f.Name + "=1"
			}
		}
		if kind == audit.SessionStart {
			e.Data["command"] = fmt.Sprintf("command=printf '%%s\\n' \"%d\" | tee -a /tmp/ü\x01\u2028 <&>", n)
		}
		r.Report(&e, epoch, uint64(n+1))
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		r.events = append(r.events, e)
	}
}

// deliver hands all events over, as a network loses, repeats, disorders and delays them. What wasn't acknowledged comes again.
func (r *reporter) deliver(ctx context.Context) error {
	waiting := slices.Collect(slices.Chunk(r.events, inBatch))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for number := uint64(1); len(waiting) > 0; number++ {
		if ctx.Err() != nil {
			return fmt.Errorf("%d batches were never acknowledged: %w", len(waiting), ctx.Err())
		}
		at := 0
		if r.random.IntN(10) == 0 { // one of the next ones comes first
			at = r.random.IntN(min(8, len(waiting)))
		}
		batch := waiting[at]
		if r.random.IntN(10) == 0 && len(waiting) > 1 { // it comes last
			waiting = append(slices.Delete(waiting, at, at+1), batch)
			continue
		}
		held := r.hand(ctx, number, batch)
		if held && r.random.IntN(10) != 0 { // or it comes again although it is held
			waiting = slices.Delete(waiting, at, at+1)
		}
		if !held {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// hand hands one batch over, and reports whether it is acknowledged.
func (r *reporter) hand(ctx context.Context, number uint64, batch []audit.Event) bool {
	limit, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	signed, err := r.Sign(number, batch...)
	if err == nil && r.stream == nil {
		r.stream, err = stand.OpenReports(limit, r.session)
	}
	if err != nil {
		return false
	}
	lost := r.random.IntN(10) == 0 // what it says, or what it is told
	if lost {
		err = r.stream.Send(signed)
	} else {
		err = r.stream.Deliver(signed)
	}
	if lost || err != nil {
		_ = r.stream.Close()
		r.stream = nil
	}
	return !lost && err == nil
}

// line is what an event says, each column with its name, as wayDigest puts it together in SQL.
func line(e audit.Event) string {
	var keys, values []string
	for _, key := range slices.Sorted(maps.Keys(e.Data)) {
		keys, values = append(keys, key), append(values, e.Data[key])
	}
	slices.Sort(values) // each begins with its key
	or := func(s string) string {
		if s == "" {
			return "NULL"
		}
		return s
	}
	return strings.Join([]string{
		e.ID, strconv.FormatInt(e.Time.UnixMilli(), 10), string(e.Type), e.Code, e.Cluster, e.Actor, or(strings.Join(e.ActorRoles, ",")), or(e.TargetKind),
		or(e.Target), or(e.Scope), or(e.SessionID), or(e.RequestID), or(e.DecisionID), string(e.Outcome), or(e.Reason), or(e.SourceIP), e.Source,
		or(e.SourceEpoch), strconv.FormatUint(e.Seq, 10), or(e.SourceAfter), or(strings.Join(keys, ",")), or(strings.Join(values, ",")), "agent",
	}, "|")
}

const wayDigest = `SELECT id, lower(to_hex(sha256(to_utf8(concat_ws('|', id, CAST(CAST(round(to_unixtime(time) * 1000) AS bigint) AS varchar), type, code, cluster, actor,
	coalesce(array_join(actor_roles, ','), 'NULL'), coalesce(target_kind, 'NULL'), coalesce(target, 'NULL'), coalesce(scope, 'NULL'), coalesce(session_id, 'NULL'),
	coalesce(request_id, 'NULL'), coalesce(decision_id, 'NULL'), outcome, coalesce(reason, 'NULL'), coalesce(source_ip, 'NULL'), source,
	coalesce(source_epoch, 'NULL'), CAST(seq AS varchar), coalesce(source_after, 'NULL'),
	coalesce(array_join(array_sort(map_keys(data)), ','), 'NULL'), coalesce(array_join(array_sort(map_values(data)), ','), 'NULL'), writer))))) AS digest
	FROM events WHERE origin = 'lake' AND actor = 'user/reported'`

// sessionsOf runs sessions on a node over one connection until all have run, and returns their ids as the node told them.
func sessionsOf(ctx context.Context, c *ssh.Client, many int) (ids []string, err error) {
	for range many {
		s, err := c.NewSession()
		if err != nil {
			return ids, err
		}
		out, err := s.Output(`echo "$STILE_SESSION_ID"`)
		if err != nil {
			return ids, errors.Join(err, ctx.Err())
		}
		ids = append(ids, strings.TrimSpace(string(out)))
	}
	return ids, nil
}

// endRelay ends a process of the relay of this system, in the middle of whatever it does.
func (s *system) endRelay(t *testing.T) {
	t.Helper()
	want, err := filepath.EvalSymlinks(filepath.Join(s.Root, "bin/functions/relay"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range found {
		if path, err := os.Readlink(link); err != nil || path != want {
			continue // it has ended meanwhile, or is somebody else's
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
}

// reporting makes the agents that report, each with its events, and returns all events by their ids.
func reporting(t *testing.T, boss *person, seed uint64) (all []*reporter, want map[string]audit.Event) {
	t.Helper()
	secret, err := boss.Secret(t.Context(), "reporters", "reporter-*", reporters)
	if err != nil {
		t.Fatal(err)
	}
	api, err := boss.API(client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want = map[string]audit.Event{}
	documents := document.NewHolder("", "")
	for n := range reporters {
		node := fmt.Sprintf("reporter-%d", n)
		a, err := stand.Join(t.Context(), api, "reporters", secret, node, documents)
		if err != nil {
			t.Fatal(err)
		}
		r := &reporter{Agent: a, random: mathrand.New(mathrand.NewPCG(seed, uint64(n)))}
		if r.session, err = a.Open(t.Context(), func() {}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.session.Close() })
		r.invented(t, node, reported/reporters)
		for _, e := range r.events {
			want[e.ID] = e
		}
		all = append(all, r)
	}
	if len(want) != reported {
		t.Fatalf("%d events are to be reported", len(want))
	}
	return all, want
}

// poison puts what is no event into the ledger, as a proxy's credentials can.
func (s *system) poison(t *testing.T) {
	t.Helper()
	db, ledger := s.asProxy(t), s.table(t, dynamodb.NewFromConfig(s.readerConfig(t)), "ledger")
	for n, body := range []string{"{", `{"id":7}`, strings.Repeat("[", 9000)} {
		day := time.Now().UTC()
		eventually(t, time.Minute, func() string { // the write meets a fault as well
			_, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &ledger, Item: map[string]types.AttributeValue{
				names.PK: &types.AttributeValueMemberS{Value: "event#proxy#" + day.Format(time.DateOnly) + "#0"}, names.SK: &types.AttributeValueMemberS{Value: fmt.Sprintf("poison-%d", n)},
				"event": &types.AttributeValueMemberS{Value: body}, "received_ms": &types.AttributeValueMemberN{Value: fmt.Sprint(day.UnixMilli())},
			}})
			if err != nil {
				return err.Error()
			}
			return ""
		})
	}
}

// TestUnderFaultsTheLakeHasExactlyWhatWasReported: agents report events while everything between them and the lake misbehaves,
// the relay is killed between reading a batch and answering, the bus refuses entries, some for good, and what is no event stands
// in the ledger. In the end the ledger, the export and SQL have what was reported, each event once, and nothing is held up.
func TestUnderFaultsTheLakeHasExactlyWhatWasReported(t *testing.T) {
	s := apart(t)
	boss, p := s.person(t, admin).login(t), s.person(t, engineer).login(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	seed := mathrand.Uint64()
	t.Logf("seed %d", seed)
	all, want := reporting(t, boss, seed)
	connection := p.connection(t, "node-1", func(conn net.Conn) net.Conn { return conn })

	began := time.Now()
	for _, f := range wayFaults() {
		if err := boss.Misbehave(f); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := boss.Behave(); err != nil {
			t.Error(err)
		}
	})
	var work sync.WaitGroup
	for _, r := range all {
		work.Go(func() {
			if err := r.deliver(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	var ran []string
	work.Go(func() {
		var err error
		if ran, err = sessionsOf(ctx, connection, sessions); err != nil {
			t.Errorf("after %d sessions: %v", len(ran), err)
		}
	})
	s.poison(t)
	eventually(t, 2*time.Minute, func() string {
		if log := s.log("localstack"); strings.Count(log, "the process ended during request") >= 3 {
			return ""
		}
		s.endRelay(t)
		return "the relay wasn't killed three times between reading and answering"
	})
	work.Wait()
	t.Logf("%s until all was reported", time.Since(began))
	if t.Failed() {
		t.FailNow()
	}
	hours := s.ledgerHas(t, boss, want) // while the faults go on behind it
	var hits []stand.Fault
	var err error
	eventually(t, time.Minute, func() string {
		_ = boss.Flush() // which fails as ordered
		if hits, err = boss.Faults(); err != nil {
			t.Fatal(err)
		}
		for _, f := range hits {
			if f.Hits == 0 {
				return fmt.Sprintf("%+v has hit nothing", f)
			}
		}
		return ""
	})
	for _, f := range hits {
		t.Logf("%s %s %s%s: %d", f.Service, f.Operation, f.Kind, f.Code, f.Hits)
	}
	if err := boss.Behave(); err != nil {
		t.Fatal(err)
	}
	s.lakeHas(t, boss, want, hours)
	s.ranOnce(t, boss, ran)
}

// ledgerHas checks that a list and an export have each event as it was reported, once, and no other of its actor. It returns the
// hours in which they were received.
func (s *system) ledgerHas(t *testing.T, boss *person, want map[string]audit.Event) (hours []time.Time) {
	t.Helper()
	began := time.Now()
	check := func(where string, got map[string]string) {
		t.Helper()
		wrong := 0
		for id, e := range want {
			if text := line(e); got[id] != text {
				if wrong++; wrong < 3 {
					t.Errorf("%s has of %s\n%q, reported was\n%q", where, id, got[id], text)
				}
			}
		}
		if wrong > 0 || len(got) != len(want) {
			t.Errorf("%s has %d events of %d, and %d not as they were reported", where, len(got), len(want), wrong)
		}
	}
	lines := func(all []listed) map[string]string {
		got := map[string]string{}
		for _, e := range all {
			if e.Actor != "user/reported" {
				continue
			}
			if got[e.ID] != "" || e.Standing != "proven" {
				t.Errorf("%s is there again, or %s: %s", e.ID, e.Standing, e.Why)
			}
			got[e.ID] = line(e.Event)
			if hour := e.Received.UTC().Truncate(time.Hour); !slices.Contains(hours, hour) {
				hours = append(hours, hour)
			}
		}
		return got
	}
	check("the list", lines(boss.events(t, "--since", "1h", "--actor", "user/reported")))
	var exported []listed
	for text := range strings.Lines(boss.must(t, "audit", "export", "--since", "1h")) {
		var e listed
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		exported = append(exported, e)
	}
	check("the export", lines(exported))
	if gaps := s.ledger(t).Gaps; len(gaps) != 0 {
		t.Errorf("gaps: %+v", gaps)
	}
	t.Logf("%s until the ledger was read", time.Since(began))
	return hours
}

// lakeHas checks that SQL has each event as it was reported, once, and no other of its actor, after what the bus refused for good
// was sent again from the ledger.
func (s *system) lakeHas(t *testing.T, boss *person, want map[string]audit.Event, hours []time.Time) {
	t.Helper()
	began := time.Now()
	aside := map[string]bool{}
	poison := 0
	eventually(t, 2*time.Minute, func() string {
		clear(aside)
		poison = 0
		for key, body := range s.bucket(t, "failures", "") {
			if !strings.HasPrefix(key, names.KeptAside) {
				return "a batch was given up: " + key
			}
			if bytes.Contains(body, []byte("poison-")) {
				poison++
			}
			for id := range want {
				if bytes.Contains(body, []byte(id)) {
					aside[id] = true
				}
			}
		}
		found := s.lake(t, func(r row) bool { return aws.ToString(r.Actor) == "user/reported" })
		if len(found)+len(aside) < len(want) || poison != 3 {
			return fmt.Sprintf("the lake has %d of %d, %d of them and %d that are none are kept aside", len(found), len(want), len(aside), poison)
		}
		return ""
	})
	t.Logf("%s until the lake had all but %d that the bus refused for good", time.Since(began), len(aside))
	if len(aside) == 0 {
		t.Error("no event was refused for good")
	}
	v := &vandal{db: dynamodb.NewFromConfig(s.readerConfig(t))}
	v.table, v.ledger = s.table(t, v.db, "state"), s.table(t, v.db, "ledger")
	v.beginsComparing(t)
	s.sweep(t)
	v.owes(t, hours)
	s.sweep(t)
	eventually(t, time.Minute, func() string {
		if found := s.lake(t, func(r row) bool { return aws.ToString(r.Actor) == "user/reported" }); len(found) < len(want) {
			return fmt.Sprintf("the lake has %d of %d", len(found), len(want))
		}
		return ""
	})
	got, digests := map[string]string{}, map[string]string{}
	for id, e := range want {
		sum := sha256.Sum256([]byte(line(e)))
		digests[id] = hex.EncodeToString(sum[:])
	}
	rows := boss.asked(t, wayDigest)
	for _, row := range rows {
		got[row["id"].(string)] = row["digest"].(string)
	}
	if len(rows) != len(want) || !maps.Equal(got, digests) {
		missing := 0
		for id, digest := range digests {
			if got[id] != digest {
				missing++
			}
		}
		t.Errorf("SQL has %d rows of %d events, %d of which are not as they were reported", len(rows), len(want), missing)
	}
	t.Logf("%s until SQL had all", time.Since(began))
}

// ranOnce checks that the ledger and SQL have the start and the end of each session that ran, and of no other.
func (s *system) ranOnce(t *testing.T, boss *person, ran []string) {
	t.Helper()
	want, listed := map[string]int{}, map[string]int{}
	for _, id := range ran {
		want[id+" session.start"], want[id+" session.end"] = 1, 1
	}
	for _, e := range boss.events(t, "--since", "1h", "--type", "session.start,session.end", "--actor", "alice") {
		listed[e.SessionID+" "+string(e.Type)]++
	}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("the list: %s", diff)
	}
	found := map[string]int{}
	for _, row := range boss.asked(t, "SELECT session_id, type FROM events WHERE origin = 'lake' AND actor = 'user/alice' AND type IN ('session.start', 'session.end')") {
		found[row["session_id"].(string)+" "+row["type"].(string)]++
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("SQL: %s", diff)
	}
}
