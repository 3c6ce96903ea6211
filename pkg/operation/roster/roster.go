// Package roster has the operations of functions/api: who the caller is, and what may be reached.
//
// It knows neither AWS nor what serves it. Its entry point is [Operations].
package roster

import (
	"context"
	"time"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/inventory"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/wire"
)

// Shelf has the agent's programs.
type Shelf interface {
	Binaries(context.Context, time.Time) (wire.AgentBinaries, error)
}

// Events reads a session's events, each with how far it can be believed.
type Events interface {
	Session(ctx context.Context, session, after string, limit int, trust []document.Trust) (entries []wire.LedgerEvent, next string, err error)
}

// Operations are the operations of tag api.
func Operations(targets *inventory.Inventory, shelf Shelf, ledger Events) map[string]api.Handler {
	return map[string]api.Handler{
		"status":        func(_ context.Context, c api.Call) (any, error) { return status(c), nil },
		"hostStatus":    func(_ context.Context, c api.Call) (any, error) { return hostStatus(c), nil },
		"agentBinaries": func(ctx context.Context, c api.Call) (any, error) { return shelf.Binaries(ctx, c.Now) },
		"sessionEvents": func(ctx context.Context, c api.Call) (any, error) { return sessionEvents(ctx, c, ledger) },
		"listTargets": func(ctx context.Context, c api.Call) (any, error) {
			page, err := c.Page()
			if err != nil {
				return nil, err
			}
			list, next, err := targets.List(ctx, inventory.Query{
				User: c.User, Kind: c.Params["kind"], State: c.View.State, Now: c.Now, After: page.After, Limit: page.Limit,
			})
			list.Next = api.Cursor(next)
			return list, err
		},
	}
}

// eventsPage is how many events are on a page.
const eventsPage = 100

// sessionEvents lists those of a session's events that the caller may see. What they did is their own: a name that somebody else
// had before is not enough.
func sessionEvents(ctx context.Context, c api.Call, ledger Events) (any, error) {
	page, err := c.Page()
	if err != nil {
		return nil, err
	}
	if !identity.ValidID("ses", c.Params["session"]) {
		return nil, fault.New(fault.BadInput, "that is not a session's id", "write it as STILE_SESSION_ID has it: ses_ and 26 letters and digits")
	}
	trust, err := document.OpenChain(c.View.Trust, "")
	if err != nil {
		return nil, err
	}
	limit := eventsPage
	if page.Limit > 0 {
		limit = min(page.Limit, limit)
	}
	all, next, err := ledger.Session(ctx, c.Params["session"], page.After, limit, trust)
	if err != nil {
		return nil, err
	}
	roles, subject := c.View.State.Roles(), c.View.State.Subject(c.User, c.Now)
	out := wire.EventList{Events: []wire.LedgerEvent{}, Next: api.Cursor(next)}
	for _, e := range all {
		event, err := audit.Parse([]byte(e.Event))
		if err != nil {
			continue
		}
		own := event.Actor == "user/"+c.User.Name && event.Data["uid"] == c.User.UID
		if roles.MayOwn(subject, names.AuditRule, "list", event.Scope, own).Allowed {
			out.Events = append(out.Events, e)
		}
	}
	return out, nil
}

func status(c api.Call) wire.Status {
	v := c.View.State.Versions()
	return wire.Status{
		Cluster: c.User.Cluster, User: c.User.Name, UID: c.User.UID, Roles: c.User.Roles, CertificateID: c.User.Certificate,
		ExpiresAt: c.Expires, Trust: version(v.Trust), Policy: version(v.Policy), Revocations: version(v.Revocations), Time: c.Now.UTC(),
	}
}

func hostStatus(c api.Call) wire.HostStatus {
	v := c.View.State.Versions()
	h := wire.HostStatus{
		Cluster: c.Host.Cluster, Kind: c.Host.Kind, ID: c.Host.ID, Targets: []string{}, CertificateID: c.Host.Certificate,
		ExpiresAt: c.Expires, Trust: version(v.Trust), Policy: version(v.Policy), Revocations: version(v.Revocations), Time: c.Now.UTC(),
	}
	for _, t := range c.Host.Targets {
		h.Targets = append(h.Targets, t.String())
	}
	return h
}

func version(v identity.Version) wire.Version {
	return wire.Version{Epoch: int64(v.Epoch), Counter: int64(v.Counter)}
}
