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
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/inventory"
	"github.com/stile-dev/stile/pkg/wire"
)

// Shelf has the agent's programs.
type Shelf interface {
	Binaries(context.Context, time.Time) (wire.AgentBinaries, error)
}

// Events reads events from the ledger, each with how far it can be believed. What next they return is where the following page
// begins, "" after the last.
type Events interface {
	// Session reads a session's, oldest first.
	Session(ctx context.Context, session, after string, limit int, trust []document.Trust) (entries []wire.LedgerEvent, next string, err error)
	// Decision reads those that name a decision.
	Decision(ctx context.Context, decision, after string, limit int, trust []document.Trust) (entries []wire.LedgerEvent, next string, err error)
	// Received reads what was received, in that order, those that want chooses.
	Received(ctx context.Context, s Span, want func(audit.Event) bool, trust []document.Trust) (entries []wire.LedgerEvent, next string, err error)
	// Reached returns a time before which nothing was received that is behind a position of Received, if it shows one.
	Reached(position string) (time.Time, bool)
}

// Span is what was received from one moment to before another, behind a position unless that is "".
type Span struct {
	Since, Until time.Time
	After        string
	Limit        int
}

// Operations are the operations of tag api.
func Operations(targets *inventory.Inventory, shelf Shelf, ledger Events) map[string]api.Handler {
	return map[string]api.Handler{
		"status":         func(_ context.Context, c api.Call) (any, error) { return status(c), nil },
		"hostStatus":     func(_ context.Context, c api.Call) (any, error) { return hostStatus(c), nil },
		"agentBinaries":  func(ctx context.Context, c api.Call) (any, error) { return shelf.Binaries(ctx, c.Now) },
		"sessionEvents":  func(ctx context.Context, c api.Call) (any, error) { return sessionEvents(ctx, c, ledger) },
		"decisionEvents": func(ctx context.Context, c api.Call) (any, error) { return decisionEvents(ctx, c, ledger) },
		"listEvents":     func(ctx context.Context, c api.Call) (any, error) { return listEvents(ctx, c, ledger) },
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
