// Package query decides who may ask the audit lake in SQL, records each question before it is asked, and lets nobody but who asked
// one see how it goes, what it found, or stop it.
//
// It knows no AWS; what it needs are the small interfaces below. Its entry point is [New].
package query

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/query/named"
	"github.com/stile-dev/stile/pkg/query/statement"
	"github.com/stile-dev/stile/pkg/wire"
)

// Verb is what rules call asking.
const Verb = "query"

// Run is a query that was started.
type Run struct {
	Text         string // as it was started
	State        string // queued, running, succeeded, failed or stopped
	Reason, Hint string // why it failed or was stopped, and what to do
	Scanned      int64  // bytes of the lake
	Milliseconds int64  // that it ran
}

// Lake runs queries. What it knows nothing of is [fault.NotFound].
type Lake interface {
	// Start starts a query whose question marks are these SQL literals, and returns its id. One token starts one query.
	Start(ctx context.Context, text string, literals []string, token string) (id string, err error)
	// Look says how a query goes.
	Look(ctx context.Context, id string) (Run, error)
	// Rows returns a page of what a query found, and the next page's cursor.
	Rows(ctx context.Context, id, cursor string) (wire.QueryRows, error)
	// Stop ends a query; one that has ended stays as it is.
	Stop(ctx context.Context, id string) error
}

// Ledger keeps events. When it returns nil they are kept.
type Ledger interface {
	Append(context.Context, ...audit.Event) error
}

// Bodies keeps texts that events have no room for, under their SHA-256.
type Bodies interface {
	// Keep keeps a text; when it returns nil it is kept.
	Keep(ctx context.Context, text string) error
	// Read returns a text; [fault.NotFound] when none is kept under a SHA-256.
	Read(ctx context.Context, sum string) (string, error)
}

// Recent has what the lake lacks yet.
type Recent interface {
	// Take puts beside the lake, for the question of an event's id, what happened from since until before until and was received
	// lately, and returns from when on it has all that was received.
	Take(ctx context.Context, question string, since, until, now time.Time) (from time.Time, err error)
}

// Compared knows what of the ledger the lake has.
type Compared interface {
	// Known returns until when what the ledger received was compared with the lake, zero for not yet, and what the lake lacks.
	Known(ctx context.Context, now time.Time) (until time.Time, lacks []wire.LakeGap, err error)
}

// Pace bounds how often one person asks, or is denied.
type Pace interface {
	// Count counts once, or fails with [fault.RateLimited].
	Count(ctx context.Context, who string, now time.Time) error
}

// Config is what a desk needs.
type Config struct {
	Lake     Lake
	Recent   Recent
	Bodies   Bodies
	Compared Compared
	Ledger   Ledger
	Pace     Pace
	Cluster  string
	Entropy  io.Reader
}

// Desk takes questions. It is safe for concurrent use.
type Desk struct{ config Config }

// New makes a desk.
func New(c Config) *Desk { return &Desk{c} }

// Person is who asks.
type Person struct {
	User                identity.User
	State               document.State
	RequestID, SourceIP string
	Now                 time.Time
}

// slack is how much shorter than as many days a period may be: clocks differ.
const slack = time.Hour

// usual is how far back a question goes that doesn't say.
const usual = 7 * 24 * time.Hour

// oldest is before any event: cluster and lake are younger.
var oldest = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Ask starts a query. The ledger holds who asked what before it starts, and holds who was denied. What the ledger received until then
// is in the answer: a question that this can't be had for isn't asked.
func (d *Desk) Ask(ctx context.Context, p Person, r wire.QueryRequest) (wire.StartedQuery, error) {
	if err := d.config.Pace.Count(ctx, p.User.UID, p.Now); err != nil {
		return wire.StartedQuery{}, err
	}
	if decision := p.decide(); !decision.Allowed {
		return wire.StartedQuery{}, d.denied(ctx, p, r, decision)
	}
	since, until, err := window(r, p.Now, least(r))
	if err != nil {
		return wire.StartedQuery{}, err
	}
	sql, literals := r.SQL, []string(nil)
	if r.Name != "" {
		if sql, literals, err = bind(r); err != nil {
			return wire.StartedQuery{}, err
		}
	} else if len(r.Parameters) > 0 {
		return wire.StartedQuery{}, fault.New(fault.BadInput, "SQL of your own takes no parameters", "write the values into the SQL, text in single quotes")
	}
	e := d.event(audit.LakeQueried, p, r)
	text, err := statement.Compose(statement.Head{Owner: p.User.UID, Event: e.ID, Since: since, Until: until}, sql, r.Name != "")
	if err != nil {
		return wire.StartedQuery{}, err
	}
	if err := describe(&e, r, since, until); err != nil {
		return wire.StartedQuery{}, err
	}
	if e.Data["sql_sha256"] != "" { // before the event says that it is there
		if err := d.config.Bodies.Keep(ctx, r.SQL); err != nil {
			return wire.StartedQuery{}, err
		}
	}
	if err := d.config.Ledger.Append(ctx, e); err != nil {
		return wire.StartedQuery{}, err
	}
	recent, err := d.config.Recent.Take(ctx, e.ID, since, until, p.Now)
	if err != nil {
		return wire.StartedQuery{}, err
	}
	compared, lacks, err := d.config.Compared.Known(ctx, p.Now)
	if err != nil {
		return wire.StartedQuery{}, err
	}
	// What happened in the period was received in it or later.
	lacks = slices.DeleteFunc(lacks, func(g wire.LakeGap) bool { return !g.To.After(since) })
	id, err := d.config.Lake.Start(ctx, text, literals, "stile-"+e.ID)
	return wire.StartedQuery{ID: id, Since: since, Until: until, Asked: p.Now, Recent: recent, Compared: compared, Lacks: lacks}, err
}

// bind finds a named query and puts the parameters in.
func bind(r wire.QueryRequest) (string, []string, error) {
	if r.SQL != "" {
		return "", nil, fault.New(fault.BadInput, "a question has a name or SQL, and this one has both", "send one of them")
	}
	q, ok := named.Find(r.Name)
	if !ok {
		return "", nil, fault.Newf(fault.NotFound, "see those that there are with: stile audit query --list", "there is no named query %.64q", r.Name)
	}
	return q.Bind(r.Parameters)
}

// least is how long the period of a named query must be.
func least(r wire.QueryRequest) time.Duration {
	q, _ := named.Find(r.Name) // one that isn't there needs none
	return q.Least(r.Parameters)
}

// window is the period that a question is about, which has a least length for some. What is to come has no events.
func window(r wire.QueryRequest, now time.Time, least time.Duration) (since, until time.Time, err error) {
	since, until = r.Since, r.Until
	if until.IsZero() {
		until = now
	}
	if since.IsZero() {
		since = until.Add(-max(usual, least))
	}
	const bad = "no time for a question"
	since, until = since.UTC().Truncate(time.Millisecond), until.UTC().Truncate(time.Millisecond)
	switch {
	case since.Before(oldest):
		err = fault.Newf(fault.BadInput, "name a later time with --since", "the period would begin before %d", oldest.Year()).With("since", bad)
	case !since.Before(until):
		err = fault.New(fault.BadInput, "the period would end before it begins", "name a time with --until that is after --since").With("until", bad)
	case until.Sub(since) < least-slack:
		err = fault.Newf(fault.BadInput, "name a time that is longer ago with --since, or ask about fewer days",
			"the question is about %d days, and the period is shorter: what was before it would count as never", least/(24*time.Hour)).With("since", bad)
	case until.After(now.Add(statement.Grace)):
		err = fault.New(fault.BadInput, "the period would end in the future", "leave out --until").With("until", bad)
	}
	return since, until, err
}

// describe puts into the event what was asked. Of SQL that has no room it has the beginning, and the SHA-256 of the whole.
func describe(e *audit.Event, r wire.QueryRequest, since, until time.Time) error {
	e.Data["since"], e.Data["until"] = since.Format(time.RFC3339Nano), until.Format(time.RFC3339Nano)
	if len(r.Parameters) > 0 {
		b, err := json.Marshal(r.Parameters)
		if err != nil {
			return fmt.Errorf("describing a question: %w", err)
		}
		e.Data["parameters"] = string(b)
	}
	if r.SQL == "" {
		return nil
	}
	e.Data["sql"] = r.SQL
	if e.Validate() == nil {
		return nil
	}
	e.Data["sql_sha256"] = audit.Sum(r.SQL)
	begin := func(n int) { e.Data["sql"] = strings.ToValidUTF8(r.SQL[:n], "") }
	begin(sort.Search(len(r.SQL), func(n int) bool { begin(n + 1); return e.Validate() != nil }))
	return nil
}

// decide is what the policy says about asking.
func (p Person) decide() policy.Decision {
	return p.State.Roles().May(p.State.Subject(p.User, p.Now), names.AuditLake, Verb, "/")
}

// denied turns the policy's denial into a fault with a decision id; the event with that id says why. The caller has counted it, so
// that whoever is denied all the time doesn't fill the ledger.
func (d *Desk) denied(ctx context.Context, p Person, r wire.QueryRequest, decision policy.Decision) error {
	f := fault.Newf(fault.Denied, fmt.Sprintf("ask an administrator for a role whose rules allow %s on %s", Verb, names.AuditLake),
		"%s may not %s the audit lake: %s", p.User.Name, Verb, decision.Reason)
	f.DecisionID = identity.NewID("dec", d.config.Entropy, p.Now)
	e := d.event(audit.RequestRefused, p, r)
	e.Outcome, e.Reason, e.DecisionID = audit.Denied, f.Message, f.DecisionID
	if err := d.config.Ledger.Append(ctx, e); err != nil {
		f = f.Because(fmt.Errorf("recording the denial: %w", err))
	}
	return f
}

// event begins an event about a question.
func (d *Desk) event(t audit.Type, p Person, r wire.QueryRequest) audit.Event {
	e := audit.New(t, d.config.Entropy, p.Now)
	e.Cluster, e.Source = d.config.Cluster, names.WriterFunction+"query"
	e.Actor, e.ActorRoles = "user/"+p.User.Name, p.User.Roles
	e.TargetKind, e.Target, e.Scope = names.AuditLake, "sql", "/"
	if _, ok := named.Find(r.Name); ok {
		e.Target = r.Name
	}
	e.RequestID, e.SourceIP = p.RequestID, p.SourceIP
	e.Data = map[string]string{"certificate": p.User.Certificate, "uid": p.User.UID}
	return e
}

// own returns a query of the caller's. Another's looks like one that isn't there, and who may no longer ask sees none.
func (d *Desk) own(ctx context.Context, p Person, id string) (Run, error) {
	if decision := p.decide(); !decision.Allowed {
		if err := d.config.Pace.Count(ctx, p.User.UID, p.Now); err != nil {
			return Run{}, err
		}
		return Run{}, d.denied(ctx, p, wire.QueryRequest{}, decision)
	}
	run, err := d.config.Lake.Look(ctx, id)
	if err == nil && statement.Owner(run.Text) != p.User.UID || fault.Is(err, fault.NotFound) {
		return Run{}, fault.Newf(fault.NotFound, "ask again; the ids of queries are good for some days", "there is no query %.64q of yours", id)
	}
	return run, err
}

// State says how a query goes.
func (d *Desk) State(ctx context.Context, p Person, id string) (wire.QueryState, error) {
	run, err := d.own(ctx, p, id)
	if err != nil {
		return wire.QueryState{}, err
	}
	return wire.QueryState{
		ID: id, State: run.State, Reason: statement.Where(run.Reason), Hint: run.Hint, ScannedBytes: run.Scanned, Milliseconds: run.Milliseconds,
	}, nil
}

// Rows returns a page of what a query found.
func (d *Desk) Rows(ctx context.Context, p Person, id, cursor string) (wire.QueryRows, error) {
	run, err := d.own(ctx, p, id)
	if err != nil {
		return wire.QueryRows{}, err
	}
	if run.State != "succeeded" {
		return wire.QueryRows{}, fault.Newf(fault.Conflict, "wait until its state is succeeded", "the query has no rows: it is %s", run.State)
	}
	return d.config.Lake.Rows(ctx, id, cursor)
}

// Stop ends a query.
func (d *Desk) Stop(ctx context.Context, p Person, id string) (wire.QueryState, error) {
	if _, err := d.own(ctx, p, id); err != nil {
		return wire.QueryState{}, err
	}
	if err := d.config.Lake.Stop(ctx, id); err != nil {
		return wire.QueryState{}, err
	}
	return d.State(ctx, p, id)
}
