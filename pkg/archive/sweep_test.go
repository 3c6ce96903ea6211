package archive_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/recording"
)

var now = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// yard is the store, the bucket and the ledger of a sweeper, in memory.
type yard struct {
	t       *testing.T
	leases  []archive.Lease
	entries map[string]archive.Entry
	objects map[string]string
	events  []audit.Event
	ended   map[string]bool
	fail    map[string]error // by step
	early   func()           // before anything is said of a recording
	meddle  func()           // while a recording is being closed
}

func newYard(t *testing.T) *yard {
	return &yard{t: t, entries: map[string]archive.Entry{}, objects: map[string]string{}, ended: map[string]bool{}, fail: map[string]error{}}
}

// session adds a recording of which some chunks are there, and whose lease ends at a time.
func (y *yard) session(until time.Time, chunks ...int) string {
	y.t.Helper()
	id, _ := identity.NewSession(rand.Reader, now.Add(-3*time.Hour))
	y.entries[id] = archive.Entry{
		Session: id, Agent: "agt_a", Scope: "/a", User: "ada", UID: "usr_a", Target: identity.Target{Kind: "node", Name: "node-1"}, Started: now.Add(-3 * time.Hour),
	}
	y.leases = append(y.leases, archive.Lease{Session: id, Agent: "agt_a", Until: until})
	for _, n := range chunks {
		y.objects[y.prefix(id)+recording.ChunkName(n)] = fmt.Sprint("chunk ", n)
	}
	return id
}

func (y *yard) prefix(id string) string {
	y.t.Helper()
	prefix, err := recording.Prefix(id)
	if err != nil {
		y.t.Fatal(err)
	}
	return prefix
}

func (y *yard) Lapsed(_ context.Context, now time.Time, _ int) (out []archive.Lease, _ error) {
	for _, l := range y.leases {
		if l.Until.Before(now) {
			out = append(out, l)
		}
	}
	return out, y.fail["list"]
}

func (y *yard) Get(_ context.Context, session string) (archive.Entry, error) {
	if e, ok := y.entries[session]; ok {
		return e, nil
	}
	return archive.Entry{}, archive.ErrNone
}

func (y *yard) drop(l archive.Lease) error {
	at := slices.Index(y.leases, l)
	if at < 0 {
		return archive.ErrHeardOf
	}
	y.leases = slices.Delete(y.leases, at, at+1)
	return nil
}

func (y *yard) Abandon(_ context.Context, e archive.Entry, l archive.Lease) error {
	if y.meddle != nil {
		y.meddle()
	}
	if err := y.fail["mark"]; err != nil {
		return err
	}
	if err := y.drop(l); err != nil {
		return err
	}
	e.Abandoned = true
	y.entries[e.Session] = e
	return nil
}

func (y *yard) Lapses(_ context.Context, l archive.Lease) error {
	if y.early != nil {
		y.early()
	}
	if !slices.Contains(y.leases, l) {
		return archive.ErrHeardOf
	}
	return nil
}

func (y *yard) Drop(_ context.Context, l archive.Lease) error { return y.drop(l) }

func (y *yard) Names(_ context.Context, prefix string, take func(string, int64)) error {
	for _, key := range slices.Sorted(maps.Keys(y.objects)) {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			take(name, int64(len(y.objects[key])))
		}
	}
	return nil
}

func (y *yard) Head(_ context.Context, key string) (archive.Object, bool, error) {
	body, ok := y.objects[key]
	sum := sha256.Sum256([]byte(body))
	return archive.Object{Size: int64(len(body)), SHA256: sum[:]}, ok, nil
}

func (y *yard) State(_ context.Context, key string, body []byte) error {
	if _, there := y.objects[key]; !there {
		y.objects[key] = string(body)
	}
	return y.fail["state"]
}

func (y *yard) Append(_ context.Context, events ...audit.Event) error {
	if err := y.fail["ledger"]; err != nil {
		return err
	}
	for _, e := range events {
		if err := e.Validate(); err != nil {
			return err
		}
		if e.Type == audit.SessionEnd {
			y.ended[e.SessionID] = true
		}
	}
	y.events = append(y.events, events...)
	return nil
}

func (y *yard) sweep(at time.Time) ([]string, error) {
	return archive.NewSweeper(archive.SweeperConfig{
		Leases: y, Shelf: y, Ledger: y, Cluster: "c", Entropy: rand.Reader,
		Ended: func(_ context.Context, session string) (bool, error) { return y.ended[session], nil },
	}).Sweep(y.t.Context(), at)
}

// told are the types of the events about a session.
func (y *yard) told(session string) (out []audit.Type) {
	for _, e := range y.events {
		if e.SessionID == session {
			out = append(out, e.Type)
		}
	}
	return out
}

func TestARecordingIsClosedByItsLeaseAndNotByItsAge(t *testing.T) {
	y := newYard(t)
	old := y.session(now.Add(30*time.Hour), 0) // idle for long, its agent alive
	for _, at := range []time.Duration{0, 29 * time.Hour, 30 * time.Hour} {
		if closed, err := y.sweep(now.Add(at)); closed != nil || err != nil || y.entries[old].Abandoned || len(y.events) > 0 {
			t.Fatalf("after %v: %v, %v", at, closed, err)
		}
	}
	if closed, err := y.sweep(now.Add(30*time.Hour + time.Millisecond)); !slices.Equal(closed, []string{old}) || err != nil {
		t.Errorf("%v, %v", closed, err)
	}
}

func TestAnAbandonedRecordingIsStatedToldOfAndMarked(t *testing.T) {
	y := newYard(t)
	until := now.Add(-time.Minute)
	id, bare, known := y.session(until, 0, 1, 4, 7), y.session(until), y.session(until, 0)
	y.ended[known] = true
	if closed, err := y.sweep(now); len(closed) != 3 || err != nil {
		t.Fatal(closed, err)
	}
	st, err := recording.OpenStatement([]byte(y.objects[y.prefix(id)+recording.StatementName]))
	if err != nil {
		t.Fatal(err)
	}
	want := recording.Statement{
		V: 1, Session: id, Cluster: "c", Agent: "agt_a", Lapsed: until, Made: now, Chunks: 4, Size: 4 * 7, Last: recording.Hash([]byte("chunk 7")),
		Missing: []recording.Missing{{First: 2, Last: 3, Why: "it was not there"}, {First: 5, Last: 6, Why: "it was not there"}},
	}
	if diff := cmp.Diff(want, st); diff != "" {
		t.Error(diff)
	}
	if st, err := recording.OpenStatement([]byte(y.objects[y.prefix(bare)+recording.StatementName])); err != nil || st.Chunks != 0 || st.Last != "" || st.Missing != nil {
		t.Errorf("of no chunks: %+v, %v", st, err)
	}
	for session, want := range map[string][]audit.Type{
		id: {audit.RecordingAbandoned, audit.SessionEnd}, bare: {audit.RecordingAbandoned, audit.SessionEnd}, known: {audit.RecordingAbandoned},
	} {
		if got := y.told(session); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
		if !y.entries[session].Abandoned {
			t.Error("the entry isn't marked")
		}
	}
	for _, e := range y.events {
		if e.Outcome != audit.Failure || e.Actor != "user/ada" || e.Target != "node-1" || e.Scope != "/a" || e.Source != "function/sweep" || e.Data["agent"] != "agt_a" || e.Data["uid"] != "usr_a" {
			t.Errorf("%+v", e)
		}
	}
	if closed, err := y.sweep(now.Add(time.Hour)); closed != nil || err != nil || len(y.leases) > 0 {
		t.Errorf("a second time: %v, %v", closed, err)
	}
}

func TestAnAgentThatIsHeardOfMeanwhileKeepsItsRecording(t *testing.T) {
	y := newYard(t)
	id := y.session(now.Add(-time.Minute), 0)
	y.meddle = func() { y.leases[0].Until = now.Add(time.Hour) }
	if closed, err := y.sweep(now); closed != nil || err != nil || y.entries[id].Abandoned || len(y.leases) != 1 {
		t.Errorf("%v, %v, %+v", closed, err, y.entries[id])
	}
}

// Of one whose agent is heard of while others are closed nothing is said at all.
func TestNothingIsSaidOfARecordingWhoseAgentCameBackInTime(t *testing.T) {
	y := newYard(t)
	id := y.session(now.Add(-time.Minute), 0)
	y.early = func() { y.leases[0].Until = now.Add(time.Hour) }
	if closed, err := y.sweep(now); closed != nil || err != nil || len(y.events) > 0 || len(y.objects) != 1 || y.entries[id].Abandoned {
		t.Errorf("%v, %v, %v", closed, err, y.events)
	}
}

func TestWhatIsOverOnlyLosesItsLease(t *testing.T) {
	for name, change := range map[string]func(y *yard, e archive.Entry){
		"complete":  func(y *yard, e archive.Entry) { e.Complete = true; y.entries[e.Session] = e },
		"abandoned": func(y *yard, e archive.Entry) { e.Abandoned = true; y.entries[e.Session] = e },
		"unknown":   func(y *yard, e archive.Entry) { delete(y.entries, e.Session) },
	} {
		y := newYard(t)
		id := y.session(now.Add(-time.Minute), 0)
		change(y, y.entries[id])
		if closed, err := y.sweep(now); closed != nil || err != nil || len(y.leases) > 0 || len(y.events) > 0 || len(y.objects) != 1 {
			t.Errorf("%s: %v, %v, %v", name, closed, err, y.events)
		}
	}
}

// Each step that fails leaves the recording to the next run, which tells of it no twice than it must, and holds up no other.
func TestWhatFailsIsMadeGoodByTheNextRun(t *testing.T) {
	for _, step := range []string{"state", "ledger", "mark"} {
		y := newYard(t)
		y.fail[step] = errors.New(step + " is broken")
		id := y.session(now.Add(-time.Minute), 0)
		if closed, err := y.sweep(now); closed != nil || err == nil || !strings.Contains(err.Error(), id) || y.entries[id].Abandoned {
			t.Errorf("%s: %v, %v", step, closed, err)
		}
		first := y.objects[y.prefix(id)+recording.StatementName]
		delete(y.fail, step)
		if closed, err := y.sweep(now.Add(10 * time.Minute)); len(closed) != 1 || err != nil || !y.entries[id].Abandoned {
			t.Errorf("%s, again: %v, %v", step, closed, err)
		}
		if y.objects[y.prefix(id)+recording.StatementName] != first && first != "" {
			t.Errorf("%s: another statement was made", step)
		}
		ends := 0
		for _, e := range y.told(id) {
			if e == audit.SessionEnd {
				ends++
			}
		}
		if ends != 1 {
			t.Errorf("%s: %d ends of the session", step, ends)
		}
	}
	y := newYard(t)
	bad, good := y.session(now.Add(-time.Minute), 0), y.session(now.Add(-time.Minute), 0)
	e := y.entries[bad]
	e.Target = identity.Target{Kind: "node"} // an event about it isn't one
	y.entries[bad] = e
	if closed, err := y.sweep(now); !slices.Equal(closed, []string{good}) || err == nil {
		t.Errorf("beside a bad one: %v, %v", closed, err)
	}
}

func TestAnAgentThatLeavesManyHoldsUpNoOther(t *testing.T) {
	y := newYard(t)
	for range 300 {
		y.session(now.Add(-time.Minute))
	}
	y.fail["mark"] = errors.New("it can never be closed")
	last := y.session(now.Add(-time.Minute))
	y.leases[len(y.leases)-1].Agent = "agt_b"
	y.meddle = func() { // the other agent's alone can be marked
		if e := y.events[len(y.events)-1]; e.SessionID == last {
			delete(y.fail, "mark")
		} else {
			y.fail["mark"] = errors.New("it can never be closed")
		}
	}
	closed, err := y.sweep(now)
	if !slices.Contains(closed, last) || err == nil || len(y.events) != 400 {
		t.Errorf("closed %v with %d events", closed, len(y.events))
	}
}
