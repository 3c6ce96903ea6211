package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/recording"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// resourceName is what rules call recordings.
const resourceName = names.Recording

// may reports whether the caller may do something with a recording.
func (p Person) may(verb string, e Entry) bool {
	own := e.User == p.User.Name && e.UID == p.User.UID
	return p.State.Roles().MayOwn(p.State.Subject(p.User, p.Now), resourceName, verb, e.Scope, own).Allowed
}

// somewhere reports whether the caller may do it with some recordings: with own, with some of theirs at least.
func (p Person) somewhere(verb string, own bool) bool {
	return p.State.Roles().MayOwnSomewhere(p.State.Subject(p.User, p.Now), resourceName, verb, own)
}

// denied says that the caller may do it with no recording at all, and why.
func (p Person) denied(verb string) *fault.Fault {
	d := p.State.Roles().MayOwn(p.State.Subject(p.User, p.Now), resourceName, verb, "/", true)
	return fault.Newf(fault.Denied, fmt.Sprintf("ask an administrator for a role whose rules allow %s on %s", verb, resourceName), "%s may not %s recordings: %s", p.User.Name, verb, d.Reason)
}

// find returns a recording that the caller may read. What there is and what isn't look the same to others.
func (a *Archive) find(ctx context.Context, p Person, session string) (Entry, error) {
	if !identity.ValidID("ses", session) {
		return Entry{}, notThere(session)
	}
	e, err := a.config.Store.Get(ctx, session)
	if errors.Is(err, ErrNone) || err == nil && !p.may("read", e) {
		return Entry{}, a.refuse(ctx, p, notThere(session), session)
	}
	return e, err
}

// refuse writes the event of a refusal and returns the fault with its decision id. What the caller may not read and what isn't there
// have the same event, since it is one of their own, which they may see: it has the session's id, beside whose events it is found, and
// no more of what was asked for. Refusals beyond what one person is allowed are answered without an event, and without an id.
func (a *Archive) refuse(ctx context.Context, p Person, f *fault.Fault, session string) error {
	if err := a.config.Denials.Take(ctx, p.User.UID, 1, p.Now); err != nil {
		return f.Because(fmt.Errorf("counting the refusal: %w", err))
	}
	e := a.event(audit.RequestRefused, p)
	e.Outcome, e.Reason, e.Scope, e.DecisionID = audit.Denied, f.Message, "/", identity.NewID("dec", a.config.Entropy, p.Now)
	e.TargetKind, e.Target, e.SessionID = names.Recording, cmp.Or(session, "all"), session
	if err := a.config.Ledger.Append(ctx, e); err != nil {
		return f.Because(fmt.Errorf("recording the refusal: %w", err))
	}
	f.DecisionID = e.DecisionID
	return f
}

// event begins an event about a person's call.
func (a *Archive) event(t audit.Type, p Person) audit.Event {
	e := audit.New(t, a.config.Entropy, p.Now)
	e.Cluster, e.Source = a.config.Cluster, names.WriterFunction+"recording"
	e.Actor, e.ActorRoles = "user/"+p.User.Name, p.User.Roles
	e.RequestID, e.SourceIP = p.RequestID, p.SourceIP
	e.Data = map[string]string{"certificate": p.User.Certificate, "uid": p.User.UID}
	return e
}

// Get describes a recording that the caller may read.
func (a *Archive) Get(ctx context.Context, p Person, session string) (wire.Recording, error) {
	e, err := a.find(ctx, p, session)
	if err != nil {
		return wire.Recording{}, err
	}
	return e.outside(), nil
}

// Read gives URLs of all versions of a recording's objects, a page at a time. The ledger holds that each was asked for before
// there is any: a caller can make up where to go on after, so that no page is known to come after one that was noted.
func (a *Archive) Read(ctx context.Context, p Person, session, after string) (wire.RecordingObjects, error) {
	e, err := a.find(ctx, p, session)
	if err != nil {
		return wire.RecordingObjects{}, err
	}
	prefix, err := recording.Prefix(e.Session)
	if err != nil {
		return wire.RecordingObjects{}, err
	}
	event := a.event(audit.RecordingRead, p)
	event.TargetKind, event.Target, event.Scope, event.SessionID = e.Target.Kind, e.Target.Name, e.Scope, e.Session
	event.Data["user"] = e.User
	if after != "" {
		event.Data["after"] = fmt.Sprintf("%.64s", after)
	}
	if err := a.config.Ledger.Append(ctx, event); err != nil {
		return wire.RecordingObjects{}, err
	}
	objects, next, err := a.config.Objects.Read(ctx, prefix, after)
	if err != nil {
		return wire.RecordingObjects{}, err
	}
	if objects == nil {
		objects = []wire.RecordingObject{}
	}
	return wire.RecordingObjects{Objects: objects, ExpiresAt: p.Now.Add(Lasts).UTC().Truncate(time.Second), Next: next}, nil
}

// Query narrows a list.
type Query struct {
	User   string
	Target string    // kind/name
	Since  time.Time // zero is a week before Until
	Until  time.Time // zero is now
	After  string    // the last session of the page before
	Limit  int       // 0 is 100
}

// Bounds of a list.
const (
	oneDay   = 24 * time.Hour
	usual    = 7 * oneDay
	longest  = 92 * oneDay
	slack    = time.Hour   // of the longest: a day on which clocks are put back, and how long a call takes
	ahead    = time.Minute // that an agent's clock may be
	mostRead = 2000        // entries for one page
	pageSize = 100
)

// target fails when what the list is narrowed to can be no target.
func (q Query) target() error {
	if q.Target == "" {
		return nil
	}
	t, err := identity.ParseTarget(q.Target)
	if err != nil || resource.IsTargetKind(t.Kind) {
		return err
	}
	var kinds []string
	for _, k := range resource.TargetKinds {
		kinds = append(kinds, k.Name)
	}
	return fault.Newf(fault.BadInput, "name a target as KIND/NAME, of one of the kinds "+strings.Join(kinds, ", "), "there is no kind of targets %q", t.Kind).With("target", "of no kind")
}

// times fills in what of the time wasn't given, and returns the session ids that begin and end it. What is to come has no
// recordings and is left out.
func (q *Query) times(now time.Time) (from, below string, err error) {
	end := q.Until
	if latest := now.Add(ahead); end.IsZero() || end.After(latest) {
		end = latest
	}
	if q.Since.IsZero() {
		q.Since = end.Add(-usual)
	}
	const bad = "no time for a list"
	switch {
	case q.Since.After(now.Add(ahead)):
		err = fault.Newf(fault.BadInput, "name a time with --since that has begun", "the list would begin in the future, at %s", q.Since.UTC().Format(time.RFC3339)).With("since", bad)
	case end.Before(q.Since):
		err = fault.New(fault.BadInput, "the list would end before it begins", "name a time with --until that is after --since").With("until", bad)
	case q.Since.Before(time.Unix(0, 0)):
		err = fault.New(fault.BadInput, "the list would begin before 1970", "name a time with --since after that").With("since", bad)
	case end.Sub(q.Since) > longest+slack:
		err = fault.Newf(fault.BadInput, "use --since 92d, or --since and --until of a time that isn't longer",
			"the list would be of %d days, and one is of at most %d", (end.Sub(q.Since)-slack+oneDay-1)/oneDay, longest/oneDay).With("since", bad)
	}
	if err != nil {
		return "", "", err
	}
	return identity.FirstSession(q.Since), identity.FirstSession(end), nil
}

// List returns recordings that the caller may list, the newest first, and the last one that was looked at, to go on after. A
// page may be empty though more follow. Who may list none at all is denied.
func (a *Archive) List(ctx context.Context, p Person, q Query) ([]wire.Recording, string, error) {
	if !p.somewhere("list", true) {
		return nil, "", a.refuse(ctx, p, p.denied("list"), "")
	}
	if err := q.target(); err != nil {
		return nil, "", err
	}
	from, below, err := q.times(p.Now)
	if err != nil {
		return nil, "", err
	}
	if q.Limit == 0 {
		q.Limit = pageSize
	}
	if q.After != "" {
		if !identity.ValidID("ses", q.After) {
			return nil, "", fault.New(fault.BadInput, "the cursor did not come from this API", "send the previous page's next unchanged").With("cursor", "malformed")
		}
		if below = min(below, q.After); below < from { // the list began later when it was asked for the page before
			return []wire.Recording{}, "", nil
		}
	}
	own := !p.somewhere("list", false)
	out, last, read := []wire.Recording{}, "", 0
	for read < mostRead && len(out) < q.Limit {
		entries, more, err := a.page(ctx, p, own, from, below)
		if err != nil {
			return nil, "", err
		}
		read += len(entries)
		for _, e := range entries {
			last, below = e.Session, e.Session
			if q.shows(e) && p.may("list", e) {
				r := e.outside()
				r.Last = "" // who verifies a recording asks for it alone
				out = append(out, r)
			}
			if len(out) == q.Limit {
				return out, last, nil
			}
		}
		if more {
			continue
		}
		if below, more = earlier(below, from); own || !more {
			return out, "", nil
		}
		last = below
		read += 10 // a day without any is read as well
	}
	return out, last, nil
}

// page reads the entries before one, of the caller or of one day.
func (a *Archive) page(ctx context.Context, p Person, own bool, from, below string) ([]Entry, bool, error) {
	if own {
		return a.config.Store.Of(ctx, p.User.Name, from, below, pageSize)
	}
	day, err := identity.SessionTime(below)
	if err != nil {
		return nil, false, err
	}
	day = day.Add(-time.Millisecond).Truncate(24 * time.Hour) // ids below the first of a day are of the day before
	return a.config.Store.Day(ctx, day, from, below, pageSize)
}

// earlier returns the first id of the day of those below an id, and whether that is still not below from.
func earlier(below, from string) (string, bool) {
	t, err := identity.SessionTime(below)
	if err != nil {
		return below, false
	}
	start, err := first(t.Add(-time.Millisecond).Truncate(24 * time.Hour))
	return start, err == nil && start > from
}

// first is the lowest id that a session of a time can have.
func first(t time.Time) (string, error) {
	if t.Before(time.Unix(0, 0)) {
		return "", errors.New("a time before 1970")
	}
	return identity.FirstSession(t), nil
}

// shows reports whether an entry is one that was asked for.
func (q Query) shows(e Entry) bool {
	return (q.User == "" || q.User == e.User) && (q.Target == "" || q.Target == e.Target.String())
}
