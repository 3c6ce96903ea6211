package roster

import (
	"context"
	"time"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/wire"
)

const (
	eventsPage = 100                 // events on a page
	longest    = 31 * 24 * time.Hour // that is looked back: the ledger keeps events for a day less
	usual      = time.Hour
)

// sessionEvents lists those of a session's events that the caller may see.
func sessionEvents(ctx context.Context, c api.Call, ledger Events) (any, error) {
	if !identity.ValidID("ses", c.Params["session"]) {
		return nil, fault.New(fault.BadInput, "that is not a session's id", "write it as STILE_SESSION_ID has it: ses_ and 26 letters and digits")
	}
	return belonging(ctx, c, ledger.Session, c.Params["session"])
}

// decisionEvents lists those of the events that name a decision that the caller may see. Of what they may not see there is nothing in
// the answer, as of an id that nobody has.
func decisionEvents(ctx context.Context, c api.Call, ledger Events) (any, error) {
	if !identity.ValidID("dec", c.Params["decision"]) {
		return nil, fault.New(fault.BadInput, "that is not a decision's id", "write it as the denial printed it: dec_ and 26 letters and digits")
	}
	return belonging(ctx, c, ledger.Decision, c.Params["decision"])
}

// belonging lists those of the events that belong to something that the caller may see.
func belonging(
	ctx context.Context, c api.Call, read func(ctx context.Context, id, after string, limit int, trust []document.Trust) ([]wire.LedgerEvent, string, error), id string,
) (any, error) {
	page, err := c.Page()
	if err != nil {
		return nil, err
	}
	trust, err := document.OpenChain(c.View.Trust, "")
	if err != nil {
		return nil, err
	}
	all, next, err := read(ctx, id, page.After, most(page), trust)
	if err != nil {
		return nil, err
	}
	may := visible(c)
	out := wire.EventList{Events: []wire.LedgerEvent{}, Next: api.Cursor(next)}
	for _, e := range all {
		if event, err := audit.Parse([]byte(e.Event)); err == nil && may(event) {
			out.Events = append(out.Events, e)
		}
	}
	return out, nil
}

// listEvents lists those of the events that were received that the caller asks for and may see.
func listEvents(ctx context.Context, c api.Call, ledger Events) (any, error) {
	page, err := c.Page()
	if err != nil {
		return nil, err
	}
	chosen, err := audit.ParseFilter(c.Query["type"], c.Query["actor"], c.Query["target"], c.Query["outcome"])
	if err != nil {
		return nil, err
	}
	s, err := span(c)
	if err != nil {
		return nil, err
	}
	s.After, s.Limit = page.After, most(page)
	roles, subject := c.View.State.Roles(), c.View.State.Subject(c.User, c.Now)
	if !roles.MayOwnSomewhere(subject, names.AuditRule, "list", true) { // nothing is read for who may see none
		return wire.ReceivedEvents{Events: []wire.LedgerEvent{}, Since: s.Since, Until: s.Until}, nil
	}
	trust, err := document.OpenChain(c.View.Trust, "")
	if err != nil {
		return nil, err
	}
	may := visible(c)
	events, next, err := ledger.Received(ctx, s, func(e audit.Event) bool { return chosen.Match(e) && may(e) }, trust)
	if err != nil {
		return nil, err
	}
	out := wire.ReceivedEvents{Events: append([]wire.LedgerEvent{}, events...), Since: s.Since, Until: s.Until, Next: api.Cursor(next)}
	if at, known := ledger.Reached(next); next != "" && known {
		out.Reached = at
	}
	return out, nil
}

// most is how many events a page may have.
func most(p api.Page) int {
	if p.Limit > 0 {
		return min(p.Limit, eventsPage)
	}
	return eventsPage
}

// span reads since and until.
func span(c api.Call) (Span, error) {
	s := Span{Since: c.Now.Add(-usual), Until: c.Now}
	for name, into := range map[string]*time.Time{"since": &s.Since, "until": &s.Until} {
		text, ok := c.Query[name]
		if !ok {
			continue
		}
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return s, fault.Newf(fault.BadInput, "write it as 2006-01-02T15:04:05Z", "%s is not a time", name).With(name, "not RFC 3339")
		}
		*into = t
	}
	if oldest := c.Now.Add(-longest); s.Since.Before(oldest) {
		s.Since = oldest
	}
	if s.Until.After(c.Now) {
		s.Until = c.Now
	}
	s.Since, s.Until = s.Since.UTC(), s.Until.UTC()
	return s, nil
}

// visible returns whether the caller may see an event. What they did is their own: a name that somebody else had before is not
// enough.
func visible(c api.Call) func(audit.Event) bool {
	roles, subject := c.View.State.Roles(), c.View.State.Subject(c.User, c.Now)
	return func(e audit.Event) bool {
		own := e.Actor == "user/"+c.User.Name && e.Data["uid"] == c.User.UID
		return roles.MayOwn(subject, names.AuditRule, "list", e.Scope, own).Allowed
	}
}
