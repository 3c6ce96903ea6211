package cmd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/audit/ocsf"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/wire"
)

func (a *app) audit() *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Show what the audit log has",
		Args: unknownCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	ls := a.auditLs()
	ls.ValidArgsFunction = cobra.NoFileCompletions
	c.AddCommand(ls, a.auditQuery(), a.auditBody(), a.auditVerify())
	export := a.auditExport()
	export.ValidArgsFunction = cobra.NoFileCompletions
	c.AddCommand(export)
	return c
}

func (a *app) auditLs() *cobra.Command {
	var q wanted
	c := &cobra.Command{
		Use:   "ls",
		Short: "List events, and whether they are proven",
		Long: "List the events that you may see, in the order of their arrival in the audit log: without --since, those of the last hour. It\n" +
			"keeps them for 30 days. With --session those of one session, oldest first, and with --decision that of one decision with all that\n" +
			"it has, whenever they were.\n" +
			"An event is proven if the agent that it is from signed it, or if only its function can have written it.\n" +
			"A command is cut after 200 characters; --format json prints an array of the events with all that they have, ndjson one per\n" +
			"line, and ocsf one per line as OCSF " + ocsf.Version + " does, with the standing in unmapped.\n" +
			"--follow goes on with what is received from then on, until you end it.",
		Args: exactly(0, "stile audit ls --since 24h"),
		Example: "  stile audit ls --since 24h --type session.denied,user.login_refused\n  stile audit ls --since 7d --actor ada --target node/web-1 --format json\n" +
			"  stile audit ls --follow --outcome denied\n  stile audit ls --session ses_01h2xcejqtf2nbrexx3vqjhp41\n" +
			"  stile audit ls --decision dec_01h2xcejqtf2nbrexx3vqjhp41",
	}
	c.Flags().StringVar(&q.types, "type", "", "only events of these types, such as session.start, or groups of types, such as session, which is all session.…; commas between them")
	c.Flags().StringVar(&q.actor, "actor", "", "only what this user did, or this actor as events name it: user/NAME, agent/ID, proxy/ID, function/NAME, aws/… (a login that was refused)")
	c.Flags().StringVar(&q.session, "session", "", "only events of this session: an id as in stile recording ls")
	c.Flags().StringVar(&q.decision, "decision", "", "only the event of this decision, whole: an id as a denial prints it")
	c.Flags().StringVar(&q.target, "target", "", "only what was done to this target: KIND/NAME, or the name of a node")
	c.Flags().StringVar(&q.since, "since", "", "only what was received since: 24h, 7d, 2006-01-02 (its beginning, here), '2006-01-02 15:04:05' (here), or a time as in RFC 3339; without it, an hour before --until or now")
	c.Flags().StringVar(&q.until, "until", "", "only what was received before, written as --since")
	c.Flags().StringVar(&q.outcome, "outcome", "", "only what ended so: success, failure or denied")
	c.Flags().BoolVar(&q.follow, "follow", false, "go on with what is received from then on")
	// It fails only for a flag that c doesn't have.
	_ = c.RegisterFlagCompletionFunc("session", a.completeSession)
	offer(c, "type", types()...)
	offer(c, "outcome", string(audit.Success), string(audit.Failure), string(audit.Denied))
	format := formatFlag(c, formatText, formatText, output.JSON, formatNDJSON, formatOCSF)
	c.RunE = func(c *cobra.Command, _ []string) error {
		f, err := format()
		if err == nil {
			err = filled(c, "type", "actor", "session", "decision", "target", "since", "until", "outcome")
		}
		if err != nil {
			return err
		}
		if q.target != "" && !strings.Contains(q.target, "/") {
			q.target = names.KindNode + "/" + q.target
		}
		chosen, err := audit.ParseFilter(q.types, q.actor, q.target, q.outcome)
		if err != nil {
			return explain(err)
		}
		query := client.EventQuery{Types: chosen.Types, Actor: chosen.Actor, Target: chosen.Target, Outcome: string(chosen.Outcome)}
		if query.Since, query.Until, err = window(q.since, q.until, a.Now()); err != nil {
			return err
		}
		if err := q.check(f); err != nil {
			return err
		}
		s, err := a.session()
		if err != nil {
			return err
		}
		l := listing{app: a, client: s.client, printer: a.printer(f), query: query}
		switch {
		case q.session != "":
			err = l.session(c.Context(), q.session, chosen)
		case q.decision != "":
			if f == formatText {
				l.printer = &whole{app: a}
			}
			err = l.decision(c.Context(), q.decision, chosen)
		case q.follow:
			err = l.follow(c.Context())
		default:
			err = l.all(c.Context())
		}
		return silence(err)
	}
	return c
}

// wanted is what was typed for audit ls.
type wanted struct {
	types, actor, session, decision, target, since, until, outcome string
	follow                                                         bool
}

// check refuses what doesn't go together.
func (q wanted) check(f output.Format) error {
	bounded := q.follow || q.since != "" || q.until != ""
	switch {
	case q.session != "" && q.decision != "":
		return fault.New(fault.BadInput, "--session lists the events of a session, and --decision that of a decision", "leave out one of them")
	case q.session != "" && !identity.ValidID("ses", q.session):
		return fault.Newf(fault.BadInput, "name one that stile recording ls lists", "%.64q is not a session's id", q.session)
	case q.session != "" && bounded:
		return fault.New(fault.BadInput, "--session lists all events of a session, whenever they were", "leave out --follow, --since and --until, or --session")
	case q.decision != "" && !identity.ValidID("dec", q.decision):
		return fault.Newf(fault.BadInput, "write it as the denial printed it: dec_ and 26 letters and digits", "%.64q is not a decision's id", q.decision)
	case q.decision != "" && (bounded || q.types+q.actor+q.target+q.outcome != ""):
		return fault.New(fault.BadInput, "--decision shows the event of a decision, whatever and whenever it was", "leave out the other flags but --format, or --decision")
	case q.follow && f == output.JSON:
		return fault.New(fault.BadInput, "an array has no end while it is followed", "use --format ndjson, of which each line is an event")
	case q.follow && q.until != "":
		return fault.New(fault.BadInput, "what is received from now on isn't before --until", "leave out --until or --follow")
	}
	return nil
}

// completeSession offers the sessions that have recordings, whatever stands before the flag.
func (a *app) completeSession(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeRecordings(c, nil, typed)
}

// explain says of a filter's only fault what to write instead.
func explain(err error) error {
	f := fault.From(err)
	if f == nil || len(f.Fields) != 1 {
		return err
	}
	switch f.Fields[0].Path {
	case "type":
		f.Hint = "write types, such as session.start, or groups of types, with commas between them; the groups are: " + strings.Join(groups(), ", ")
	case "target":
		f.Hint = "write KIND/NAME, such as node/web-1 or role/developer, or the name of a node; it is one target, without *: to see all of a kind, leave it out and narrow by --type"
	case "actor":
		f.Hint = "write the name of a user, or the actor as events name it: user/NAME, agent/ID, proxy/ID, function/NAME, aws/… or unknown"
	case "outcome":
		f.Hint = "write one of them, or leave out --outcome"
	}
	return f
}

// groups are the groups of types in alphabetical order.
func groups() []string {
	all := map[string]bool{}
	for t := range audit.Types {
		group, _, _ := strings.Cut(string(t), ".")
		all[group] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// types are the groups, and the types of events.
func types() []string {
	all := groups()
	for t := range audit.Types {
		all = append(all, string(t))
	}
	slices.Sort(all)
	return all
}

// filled refuses a flag that is given and empty, as a variable that isn't set makes it: it may mean any or none.
func filled(c *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if f := c.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return fault.Newf(fault.BadInput, "give it a value, or leave it out for any", "--%s is empty", name)
		}
	}
	return nil
}

// window reads --since and --until of events, of which an hour is listed where it isn't said when to begin.
func window(since, until string, now time.Time) (from, to time.Time, err error) {
	from, to, err = between(since, until, now)
	if err == nil && from.IsZero() && !to.IsZero() {
		if from = to; now.Before(to) {
			from = now
		}
		from = from.Add(-time.Hour)
	}
	return from, to, err
}

// between reads --since and --until.
func between(since, until string, now time.Time) (from, to time.Time, err error) {
	if from, err = moment("--since", since, now); err != nil {
		return from, to, err
	}
	to, err = moment("--until", until, now)
	switch {
	case err != nil:
	case from.After(now):
		err = fault.New(fault.BadInput, "--since is in the future", "name a time that has begun: --since 24h, --since 7d or a day before this one")
	case !to.IsZero() && !from.Before(to):
		err = fault.New(fault.BadInput, "--until isn't after --since", "name first when it begins: --since 2h --until 1h is the hour before the last one, and --since 2006-01-02 --until 2006-01-03 that day")
	}
	return from, to, err
}

// listing lists events.
type listing struct {
	*app
	client  *client.Client
	printer printer
	query   client.EventQuery
	seen    seen
	firm    time.Time // all that was received before was seen, and no more of it comes

	before, after func(wire.ReceivedEvents) error // each page; nil is none
}

// session lists the events of a session.
func (l *listing) session(ctx context.Context, id string, chosen audit.Filter) error {
	found, err := l.belonging(l.client.SessionEvents(ctx, id), chosen)
	if err != nil {
		return err
	}
	if !found {
		_, _ = fmt.Fprintln(l.Err, "There are no events of that session that your roles let you see; the audit log keeps events for 30 days")
	}
	return l.printer.end()
}

// decision shows the event of a decision. What the caller may not see and what isn't there are the same.
func (l *listing) decision(ctx context.Context, id string, chosen audit.Filter) error {
	found, err := l.belonging(l.client.DecisionEvents(ctx, id), chosen)
	if err != nil {
		return err
	}
	if !found {
		return fault.Newf(fault.NotFound, "wait a minute if a node denied it, since its agent reports it then; ask the lake for one of more than 30 days ago, or somebody who sees more events than you",
			"there is no event of %s that your roles let you see", id)
	}
	return l.printer.end()
}

// belonging prints those events of a session or a decision that are chosen, and reports whether there are any at all.
func (l *listing) belonging(events iter.Seq2[wire.LedgerEvent, error], chosen audit.Filter) (found bool, err error) {
	for e, err := range events {
		if err != nil {
			return found, err
		}
		found = true
		if event, err := audit.Parse([]byte(e.Event)); err == nil && !chosen.Match(event) {
			continue
		}
		if err := l.printer.print(e); err != nil {
			return found, err
		}
	}
	return found, nil
}

// all lists what was received, and says when that was.
func (l *listing) all(ctx context.Context) error {
	since, until, err := l.receive(ctx)
	if err != nil {
		return err
	}
	if asked := l.query.Since; !asked.IsZero() && since.After(asked) {
		l.warn("the audit log keeps events for 30 days: this list begins at " + since.Local().Format(time.DateTime))
	}
	_, _ = fmt.Fprintf(l.Err, "%s, of what was received from %s to %s\n", events(l.printer.count()), since.Local().Format(time.DateTime), until.Local().Format(time.DateTime))
	return l.printer.end()
}

// events says how many there are.
func events(n int) string {
	if n == 1 {
		return "1 event"
	}
	return fmt.Sprintf("%d events", n)
}

// How often followers ask, and how far back: what is received at a moment may become readable later.
const (
	askEvery = time.Second
	lately   = 5 * time.Second
	late     = 2 * time.Minute // a minute is how long that may take, and there must be such a look within the other
	lateEach = 15              // times it looks that far back
	restEach = 5 * time.Second
)

// follow lists what was received and goes on with what is, until it is ended. What was received before its beginning isn't asked
// for; the API says when an hour ago was.
func (l *listing) follow(ctx context.Context) error {
	away := false
	for round := 1; ; round++ {
		_, until, err := l.receive(ctx)
		f, wait := fault.From(err), askEvery
		switch {
		case err == nil:
			away = false
			if l.query.Since = until.Add(-lately); round%lateEach == 0 || l.query.Since.Before(l.firm) {
				l.query.Since = l.firm
			}
		case ctx.Err() == nil && f != nil && (f.Code == fault.Unreachable || f.Code == fault.Unavailable):
			if !away {
				l.warn("the API doesn't answer; it is asked again until it does: " + f.Message)
			}
			l.query.Since = cmp.Or(l.firm, l.query.Since) // what is received meanwhile comes then
			away, wait = true, restEach
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// receive prints what was received that wasn't printed before.
func (l *listing) receive(ctx context.Context) (since, until time.Time, err error) {
	joins := !l.query.Since.After(l.firm) || l.firm.IsZero() // nothing is between this look and what was seen before
	return l.client.Events(ctx, l.query, func(page wire.ReceivedEvents) error {
		if l.before != nil {
			if err := l.before(page); err != nil {
				return err
			}
		}
		for _, e := range page.Events {
			if l.seen.add(e) {
				continue
			}
			if err := l.printer.print(e); err != nil {
				return err
			}
		}
		if joins {
			l.settled(page)
		}
		if l.after != nil {
			return l.after(page)
		}
		return nil
	})
}

// settled moves firm as far as a page leads: what was received lately may still be preceded by what isn't there yet. How far a page
// that has another behind it leads, the API says: the times that events have there are what their writers claim.
func (l *listing) settled(page wire.ReceivedEvents) {
	if page.Since.After(l.firm) {
		l.firm = page.Since
	}
	to := page.Until.Add(-late)
	if page.Next != "" {
		if page.Reached.Before(to) {
			to = page.Reached
		}
	}
	if to.After(l.firm) {
		l.firm = to
	}
}

// seen are the events that came last: one may be received twice, and be read again by whoever follows.
type seen struct {
	known map[[sha256.Size]byte]bool
	order []received
}

// received is an event that came, and when the ledger received it.
type received struct {
	key [sha256.Size]byte
	at  time.Time
}

// mostSeen is how many are remembered.
const mostSeen = 100_000

// add reports whether an event is there already, and adds it. One whose standing is another is told again: what somebody has put
// beside it, word for word and sooner, must not have it left out.
func (s *seen) add(e wire.LedgerEvent) bool {
	key := sha256.Sum256([]byte(e.Standing + "\x00" + e.Event))
	if s.known[key] {
		return true
	}
	s.put(key, e.Received)
	return false
}

func (s *seen) put(key [sha256.Size]byte, at time.Time) {
	if s.known == nil {
		s.known = map[[sha256.Size]byte]bool{}
	}
	if len(s.order) == mostSeen {
		delete(s.known, s.order[0].key)
		s.order = s.order[1:]
	}
	s.known[key], s.order = true, append(s.order, received{key, at})
}

// printer prints events in one format.
type printer interface {
	print(e wire.LedgerEvent) error
	count() int
	end() error
}

func (a *app) printer(f output.Format) printer {
	if f == output.JSON {
		return &array{app: a}
	}
	return &lines{app: a, format: f}
}

// lines has one for each event.
type lines struct {
	*app
	format output.Format
	n      int
}

func (p *lines) print(e wire.LedgerEvent) error { p.n++; return p.printEvent(p.format, e) }
func (p *lines) count() int                     { return p.n }
func (p *lines) end() error                     { return nil }

// array is that of JSON. One that is cut short has no end, so that nobody takes it for all.
type array struct {
	*app
	n int
}

func (p *array) print(e wire.LedgerEvent) error {
	before := ","
	if p.n == 0 {
		before = "["
	}
	if _, err := io.WriteString(p.Out, before); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	p.n++
	return p.printEvent(formatNDJSON, e)
}

func (p *array) count() int { return p.n }

func (p *array) end() error {
	text := "]\n"
	if p.n == 0 {
		text = "[]\n"
	}
	if _, err := io.WriteString(p.Out, text); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// toldEvent is an event as programs get it.
type toldEvent struct {
	audit.Event
	Received time.Time `json:"received"`
	Standing string    `json:"standing"` // proven, unproven or refused
	Why      string    `json:"why,omitempty"`
	Raw      string    `json:"raw,omitempty"` // what stands there, if it can't be read
}

// formatNDJSON prints one event per line.
const formatNDJSON output.Format = "ndjson"

// formatOCSF prints events in the terms of a schema that other systems read.
const formatOCSF output.Format = "ocsf"

// told is what a line shows of an event's data, in this order. All of it is in --format json.
var told = []string{"login", "recording", "command", "command_bytes", "columns", "rows", "exit_status", "exit_signal", "chunks", "missing"}

// printEvent prints an event on one line.
func (a *app) printEvent(f output.Format, l wire.LedgerEvent) error {
	e, err := audit.Parse([]byte(l.Event))
	if f == formatNDJSON {
		t := toldEvent{Event: e, Received: l.Received, Standing: l.Standing, Why: l.Why}
		if err != nil {
			t.Raw = l.Event
		}
		return output.Line(a.Out, t)
	}
	if f == formatOCSF && err == nil && e.Received() == nil {
		r := ocsf.Map(e)
		r.Unmapped["standing"], r.Unmapped["received"] = l.Standing, l.Received
		if l.Why != "" {
			r.Unmapped["why"] = l.Why
		}
		return output.Line(a.Out, r)
	}
	if f == formatOCSF {
		a.warn("an event that can't be read is left out")
		return nil
	}
	if err != nil {
		e.Reason = "it can't be read"
	}
	line := []string{fmt.Sprintf("%s  %-8s  %-18s  %-7s  %s", e.Time.Local().Format(time.DateTime), l.Standing, e.Type, e.Outcome, e.Actor)}
	if e.Target != "" {
		line = append(line, e.TargetKind+"/"+e.Target)
	}
	for _, key := range told {
		if v := e.Data[key]; v != "" {
			said := fmt.Sprintf("%s=%.200q", key, v)
			if utf8.RuneCountInString(v) > 200 { // nobody takes the beginning for the whole
				said += "…"
			}
			line = append(line, said)
		}
	}
	for _, text := range []string{e.Reason, l.Why} {
		if text = oneLine(text); text != "" {
			line = append(line, text)
		}
	}
	_, err = fmt.Fprintln(a.Out, escape.Text(strings.Join(line, "  ")))
	return err
}
