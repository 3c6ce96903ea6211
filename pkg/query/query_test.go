package query_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/query"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

var now = time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC)

// lake keeps what was started, with what the ledger held by then.
type lake struct {
	texts    map[string]string
	literals []string
	token    string
	state    string
	stopped  []string
	events   []audit.Event
	before   int      // events when the last query was started
	taken    []string // question, since, until and now of each time that the ledger was read, with the number of events there
	broken   error
	unread   error
	slow     error
	counted  int
	kept     []string
	bodies   map[string]string
	full     error
	compared time.Time
	lacks    []wire.LakeGap
	lost     error
}

func (l *lake) Known(context.Context, time.Time) (time.Time, []wire.LakeGap, error) {
	return l.compared, l.lacks, l.lost
}

func (l *lake) Keep(_ context.Context, text string) error {
	if len(l.events) > 0 {
		return errors.New("the event was there before")
	}
	l.kept = append(l.kept, text)
	return l.full
}

func (l *lake) Read(_ context.Context, sum string) (string, error) {
	text, ok := l.bodies[sum]
	if !ok {
		return "", fault.New(fault.NotFound, "none", "ask")
	}
	return text, nil
}

func (l *lake) Start(_ context.Context, text string, literals []string, token string) (string, error) {
	id := string(rune('a' + len(l.texts)))
	l.texts[id], l.literals, l.token, l.before = text, literals, token, len(l.events)
	return id, nil
}

func (l *lake) Take(_ context.Context, question string, since, until, now time.Time) (time.Time, error) {
	l.taken = append(l.taken, fmt.Sprint(question, " ", since.Format(time.DateTime), " ", until.Format(time.DateTime), " ", now.Format(time.DateTime), " ", len(l.events), " ", len(l.texts)))
	return now.Add(-time.Minute), l.unread
}

func (l *lake) Look(_ context.Context, id string) (query.Run, error) {
	text, ok := l.texts[id]
	if !ok {
		return query.Run{}, fault.New(fault.NotFound, "none", "ask")
	}
	return query.Run{Text: text, State: l.state, Reason: "line 2:1: no", Scanned: 7}, nil
}

func (l *lake) Rows(context.Context, string, string) (wire.QueryRows, error) {
	return wire.QueryRows{Next: "n"}, nil
}

func (l *lake) Stop(_ context.Context, id string) error {
	l.stopped = append(l.stopped, id)
	return nil
}

func (l *lake) Append(_ context.Context, events ...audit.Event) error {
	for _, e := range events {
		if err := e.Validate(); err != nil {
			return err
		}
	}
	l.events = append(l.events, events...)
	return l.broken
}

func (l *lake) Count(context.Context, string, time.Time) error {
	l.counted++
	return l.slow
}

// desk returns a desk, its lake, and people with roles by name.
func desk(t *testing.T) (*query.Desk, *lake, func(name string, roles ...string) query.Person) {
	t.Helper()
	roles := []resource.Role{{
		Metadata: resource.Metadata{Name: "below", Scope: "/a"},
		Spec:     resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"audit"}, Verbs: []string{"query"}}}}},
	}, {
		Metadata: resource.Metadata{Name: "asks", Scope: "/"},
		Spec:     resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"audit"}, Verbs: []string{"query"}}}}},
	}}
	view, err := clustertest.New(t, roles...).Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := &lake{texts: map[string]string{}, state: "succeeded"}
	return query.New(query.Config{Lake: l, Recent: l, Bodies: l, Compared: l, Ledger: l, Pace: l, Cluster: "c", Entropy: rand.Reader}), l, func(name string, roles ...string) query.Person {
		return query.Person{User: identity.User{Name: name, UID: "usr_" + name, Certificate: "crt_1", Roles: roles}, State: view.State, RequestID: "r", SourceIP: "192.0.2.1", Now: now}
	}
}

func sql(text string) wire.QueryRequest { return wire.QueryRequest{SQL: text} }

func TestAQuestionIsInTheLedgerBeforeItIsAsked(t *testing.T) {
	d, l, person := desk(t)
	started, err := d.Ask(t.Context(), person("ada", "asks"), sql("SELECT 1"))
	if err != nil || l.before != 1 || len(l.events) != 1 {
		t.Fatalf("%+v, %v; %d events before it started", started, err, l.before)
	}
	e := l.events[0]
	if e.Type != audit.LakeQueried || e.Actor != "user/ada" || e.Target != "sql" || e.Data["sql"] != "SELECT 1" || e.Data["since"] != "2026-03-02T12:00:00Z" || e.Data["until"] != "2026-03-09T12:00:00Z" ||
		e.Source != "function/query" || e.Data["uid"] != "usr_ada" || l.token != "stile-"+e.ID {
		t.Errorf("%+v, token %s", e, l.token)
	}
	l.broken = errors.New("away")
	if _, err := d.Ask(t.Context(), person("ada", "asks"), sql("SELECT 2")); err == nil || len(l.texts) != 1 {
		t.Errorf("without the ledger: %v, %d started", err, len(l.texts))
	}
}

// Who was there before the period counts as never having been there, so a question about days has a period of as many.
func TestAQuestionAboutDaysIsAboutAPeriodOfAsMany(t *testing.T) {
	d, l, person := desk(t)
	day := 24 * time.Hour
	ask := func(days string, since, until time.Time) (wire.StartedQuery, error) {
		return d.Ask(t.Context(), person("ada", "asks"), wire.QueryRequest{Name: "dormant-access", Parameters: map[string]string{"days": days}, Since: since, Until: until})
	}
	for days, want := range map[string]time.Duration{"90": 90 * day, "1": 7 * day} {
		if s, err := ask(days, time.Time{}, time.Time{}); err != nil || !s.Since.Equal(now.Add(-want)) {
			t.Errorf("%s days without a beginning: %+v, %v", days, s, err)
		}
	}
	if _, err := ask("30", now.Add(-30*day), time.Time{}); err != nil {
		t.Errorf("as many days: %v", err)
	}
	asked := len(l.texts)
	for _, until := range []time.Time{{}, now.Add(-day)} {
		_, err := ask("30", now.Add(-30*day+2*time.Hour), until)
		if f := fault.From(err); !fault.Is(err, fault.BadInput) || !strings.Contains(f.Message, "30 days") || !strings.Contains(f.Hint, "--since") || len(l.texts) != asked {
			t.Errorf("fewer: %v", err)
		}
	}
}

// What was received last is taken when the ledger has the question itself, and before the lake is asked.
func TestAQuestionIsAskedWithWhatTheLedgerReceivedUntilThen(t *testing.T) {
	d, l, person := desk(t)
	r := sql("SELECT 1")
	r.Since, r.Until = now.Add(-2*time.Hour), now.Add(-time.Hour)
	started, err := d.Ask(t.Context(), person("ada", "asks"), r)
	if err != nil || !started.Recent.Equal(now.Add(-time.Minute)) {
		t.Fatalf("%+v, %v", started, err)
	}
	id := l.events[0].ID
	if want := []string{id + " 2026-03-09 10:00:00 2026-03-09 11:00:00 2026-03-09 12:00:00 1 0"}; !slices.Equal(l.taken, want) {
		t.Errorf("taken %q, want %q", l.taken, want)
	}
	if !strings.Contains(l.texts["a"], "FROM recent WHERE question = '"+id+"'") {
		t.Errorf("asked %s", l.texts["a"])
	}
}

// An answer that lacks the last minutes looks like any other.
func TestAQuestionIsNotAskedWithoutWhatTheLedgerReceivedLast(t *testing.T) {
	d, l, person := desk(t)
	l.unread = fault.New(fault.Unavailable, "away", "wait")
	if _, err := d.Ask(t.Context(), person("ada", "asks"), sql("SELECT 1")); !fault.Is(err, fault.Unavailable) || len(l.texts) != 0 {
		t.Errorf("%v, %d started", err, len(l.texts))
	}
}

// Whoever asks is told what the answer may lack, and gets none when nobody knows.
func TestAnAnswerSaysWhatTheLakeIsKnownToLack(t *testing.T) {
	d, l, person := desk(t)
	hour := func(ago int) time.Time { return now.Add(-time.Duration(ago) * time.Hour) }
	l.compared = hour(2)
	l.lacks = []wire.LakeGap{{From: hour(40), To: hour(39)}, {From: hour(25), To: hour(24)}, {From: hour(24), To: hour(23)}, {From: hour(4), To: hour(3)}}
	r := sql("SELECT 1")
	r.Since, r.Until = hour(24), hour(20)
	started, err := d.Ask(t.Context(), person("ada", "asks"), r)
	if err != nil || !started.Compared.Equal(l.compared) || len(started.Lacks) != 2 || !started.Lacks[0].From.Equal(hour(24)) || !started.Lacks[1].From.Equal(hour(4)) {
		t.Errorf("%+v, %v", started, err)
	}
	l.lost = errors.New("away")
	if _, err := d.Ask(t.Context(), person("ada", "asks"), r); !errors.Is(err, l.lost) || len(l.texts) != 1 {
		t.Errorf("%v, %d started", err, len(l.texts))
	}
}

func TestANamedQueryTakesItsParametersBesideTheText(t *testing.T) {
	d, l, person := desk(t)
	r := wire.QueryRequest{Name: "sessions", Parameters: map[string]string{"user": "it's"}, Since: now.Add(-time.Hour)}
	if _, err := d.Ask(t.Context(), person("ada", "auditor"), r); err != nil {
		t.Fatal(err)
	}
	if e := l.events[0]; e.Target != "sessions" || e.Data["sql"] != "" || e.Data["parameters"] != `{"user":"it's"}` {
		t.Errorf("%+v", e)
	}
	if strings.Contains(l.texts["a"], "it's") || !slices.Contains(l.literals, "'it''s'") {
		t.Errorf("%q, %q", l.texts["a"], l.literals)
	}
	if _, err := d.Ask(t.Context(), person("ada", "auditor"), wire.QueryRequest{Name: "denied"}); err != nil {
		t.Errorf("without parameters: %v", err)
	}
	for want, r := range map[string]wire.QueryRequest{
		"no named query":       {Name: "denials"},
		"has both":             {Name: "denied", SQL: "SELECT 1"},
		"takes no parameters":  {SQL: "SELECT 1", Parameters: map[string]string{"a": "b"}},
		"no SQL":               {},
		"can't be asked with":  {Name: "denied", Parameters: map[string]string{"strange": "b"}},
		"end before it begins": {SQL: "SELECT 1", Since: now, Until: now},
		"in the future":        {SQL: "SELECT 1", Until: now.Add(48 * time.Hour)},
		"begin before 2020":    {SQL: "SELECT 1", Since: time.Unix(0, 0)},
	} {
		started := len(l.texts)
		if _, err := d.Ask(t.Context(), person("ada", "auditor"), r); err == nil || !strings.Contains(err.Error(), want) || fault.From(err).Hint == "" || len(l.texts) != started {
			t.Errorf("%+v: %v, want %s", r, err, want)
		}
	}
}

// Who makes SQL long doesn't thereby hide what it is.
func TestLongSQLIsInTheEventAsFarAsThereIsRoom(t *testing.T) {
	d, l, person := desk(t)
	for _, sign := range []string{"<", "x", "é", `\`} {
		l.events, l.kept = nil, nil
		text := "SELECT '" + strings.Repeat(sign, 20<<10/len(sign)) + "'"
		if _, err := d.Ask(t.Context(), person("ada", "asks"), sql(text)); err != nil {
			t.Fatal(err)
		}
		e := l.events[0]
		had := e.Data["sql"]
		if sum := sha256.Sum256([]byte(text)); !strings.HasPrefix(text, had) || len(had) < 2000 || e.Data["sql_sha256"] != hex.EncodeToString(sum[:]) {
			t.Errorf("%q: %d bytes of SQL, %q", sign, len(had), e.Data["sql_sha256"])
		}
		if !slices.Equal(l.kept, []string{text}) {
			t.Errorf("%q: the whole is not kept", sign)
		}
		if e.Data["sql"] = text[:len(had)+len(sign)]; e.Validate() == nil {
			t.Errorf("%q: there was room for more than %d bytes", sign, len(had))
		}
	}
}

func TestWhoMayNotAskIsDeniedAndRecorded(t *testing.T) {
	d, l, person := desk(t)
	for name, roles := range map[string][]string{"bob": {"access"}, "below": {"below"}, "none": nil} {
		l.events = nil
		_, err := d.Ask(t.Context(), person(name, roles...), sql("SELECT 1"))
		f := fault.From(err)
		if !fault.Is(err, fault.Denied) || f.DecisionID == "" || len(l.texts) != 0 || len(l.events) != 1 {
			t.Fatalf("%s: %v, %d started, %d events", name, err, len(l.texts), len(l.events))
		}
		if e := l.events[0]; e.Type != audit.RequestRefused || e.Outcome != audit.Denied || e.DecisionID != f.DecisionID || e.Reason == "" {
			t.Errorf("%s: %+v", name, e)
		}
	}
	l.slow = fault.New(fault.RateLimited, "slow", "wait")
	if _, err := d.Ask(t.Context(), person("bob", "access"), sql("SELECT 1")); !fault.Is(err, fault.RateLimited) || len(l.events) != 1 {
		t.Errorf("too often: %v, %d events", err, len(l.events))
	}
	// Looking at a query is denied by the same pace.
	for _, look := range []func() error{
		func() error { _, err := d.State(t.Context(), person("bob", "access"), "a"); return err },
		func() error { _, err := d.Rows(t.Context(), person("bob", "access"), "a", ""); return err },
		func() error { _, err := d.Stop(t.Context(), person("bob", "access"), "a"); return err },
	} {
		if err := look(); !fault.Is(err, fault.RateLimited) || len(l.events) != 1 {
			t.Errorf("looking too often: %v, %d events", err, len(l.events))
		}
	}
	l.slow = nil
	if _, err := d.State(t.Context(), person("bob", "access"), "a"); !fault.Is(err, fault.Denied) || len(l.events) != 2 {
		t.Errorf("looking: %v, %d events", err, len(l.events))
	}
}

func TestAQueryIsItsAskersAlone(t *testing.T) {
	d, l, person := desk(t)
	ada, eve := person("ada", "asks"), person("eve", "editor")
	started, err := d.Ask(t.Context(), ada, sql("SELECT 1"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := d.State(t.Context(), ada, started.ID); err != nil || s.State != "succeeded" || s.ScannedBytes != 7 || s.Reason != "line 1:1: no" {
		t.Errorf("%+v, %v", s, err)
	}
	if rows, err := d.Rows(t.Context(), ada, started.ID, ""); err != nil || rows.Next != "n" {
		t.Errorf("%+v, %v", rows, err)
	}
	for _, id := range []string{started.ID, "z"} {
		_, one := d.State(t.Context(), eve, id)
		_, two := d.Rows(t.Context(), eve, id, "")
		_, three := d.Stop(t.Context(), eve, id)
		for _, err := range []error{one, two, three} {
			if !fault.Is(err, fault.NotFound) || strings.Contains(fault.From(err).Message, "ada") {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	if _, err := d.Rows(t.Context(), person("ada", "access"), started.ID, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("who may no longer ask: %v", err)
	}
	l.state = "running"
	if _, err := d.Rows(t.Context(), ada, started.ID, ""); !fault.Is(err, fault.Conflict) {
		t.Errorf("rows of a running query: %v", err)
	}
	if _, err := d.Stop(t.Context(), ada, started.ID); err != nil || len(l.stopped) != 1 {
		t.Errorf("%v, %q", err, l.stopped)
	}
}
