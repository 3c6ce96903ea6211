// Package roster has the operations of functions/api: who the caller is, and what may be reached.
//
// It knows neither AWS nor what serves it. Its entry point is [Operations].
package roster

import (
	"context"
	"time"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/inventory"
	"github.com/stile-dev/stile/pkg/wire"
)

// Shelf has the agent's programs.
type Shelf interface {
	Binaries(context.Context, time.Time) (wire.AgentBinaries, error)
}

// Operations are the operations of tag api.
func Operations(targets *inventory.Inventory, shelf Shelf) map[string]api.Handler {
	return map[string]api.Handler{
		"status":        func(_ context.Context, c api.Call) (any, error) { return status(c), nil },
		"hostStatus":    func(_ context.Context, c api.Call) (any, error) { return hostStatus(c), nil },
		"agentBinaries": func(ctx context.Context, c api.Call) (any, error) { return shelf.Binaries(ctx, c.Now) },
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
