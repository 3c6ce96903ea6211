package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/head"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/inventory"
	"github.com/stile-dev/stile/pkg/invoke"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/presence"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// API makes functions/api.
func API(ctx context.Context) (*api.Server, error) {
	b, err := begin(ctx, "api")
	if err != nil {
		return nil, err
	}
	targets := inventory.New(inventory.Config{Targets: b.store(false), Watch: watch{b.presence()}})
	return b.serve("api", APIHandlers(targets), head.NewKeeper(b.head(), b.cluster))
}

// watch gives presence as the inventory wants it.
type watch struct{ store *presence.Store }

// Presence tells who is there.
func (w watch) Presence(ctx context.Context, now time.Time) (inventory.Presence, error) {
	snap, err := w.store.List(ctx, now)
	if err != nil {
		return inventory.Presence{}, err
	}
	p := inventory.Presence{Proxies: presence.Addrs(snap.Leases), Agents: map[string][]string{}}
	for agent, leases := range snap.Agents {
		p.Agents[agent] = presence.Addrs(leases)
	}
	return p, nil
}

// APIHandlers are the operations of tag api.
func APIHandlers(targets *inventory.Inventory) map[string]api.Handler {
	return map[string]api.Handler{
		"status":     func(_ context.Context, c api.Call) (any, error) { return status(c), nil },
		"hostStatus": func(_ context.Context, c api.Call) (any, error) { return hostStatus(c), nil },
		"listTargets": func(ctx context.Context, c api.Call) (any, error) {
			return targets.List(ctx, c.User, c.Params["kind"], c.View.State, c.Now)
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

// Admin makes functions/admin.
func Admin(ctx context.Context) (*api.Server, error) {
	b, err := begin(ctx, "admin")
	if err != nil {
		return nil, err
	}
	desk := resource.New(resource.Config{
		Cluster: b.cluster, Bootstrap: b.env.Match(names.EnvBootstrapAdmin), Store: b.store(true),
		Publisher: publisher{b.lambda(), b.env.Need(names.EnvPublish)},
	})
	return b.serve("admin", AdminHandlers(desk), head.NewKeeper(b.head(), b.cluster))
}

// publisher has functions/publish run.
type publisher struct {
	api      invoke.API
	function string
}

// Publish waits for the run and gives the input counter that it took.
func (p publisher) Publish(ctx context.Context) (int64, error) {
	out, err := invoke.Call[direct, Published](ctx, p.api, p.function, direct{Direct: true})
	return out.Input, err
}

// AdminHandlers are the operations of tag admin.
func AdminHandlers(d *resource.Desk) map[string]api.Handler {
	return map[string]api.Handler{
		"listResources": func(ctx context.Context, c api.Call) (any, error) {
			all, err := d.List(ctx, caller(c), c.Params["kind"])
			if err != nil {
				return nil, err
			}
			out := wire.ResourceList{Resources: []wire.Resource{}}
			for _, r := range all {
				w, err := outside(r)
				if err != nil {
					return nil, err
				}
				out.Resources = append(out.Resources, w)
			}
			return out, nil
		},
		"getResource": func(ctx context.Context, c api.Call) (any, error) {
			r, err := d.Get(ctx, caller(c), c.Params["kind"], c.Params["name"])
			if err != nil {
				return nil, err
			}
			return outside(r)
		},
		"createResource": written(d.Create),
		"updateResource": written(d.Update),
		"deleteResource": func(ctx context.Context, c api.Call) (any, error) {
			return told(d.Delete(ctx, caller(c), c.Params["kind"], c.Params["name"]))
		},
	}
}

// written makes a handler that reads a resource from the body, by the kinds table.
func written(change func(context.Context, resource.Caller, access.Resource) (resource.Outcome, error)) api.Handler {
	return func(ctx context.Context, c api.Call) (any, error) {
		r, err := access.DecodeJSON(c.Params["kind"], c.Body)
		if err != nil {
			return nil, err
		}
		if r.Metadata.Name != c.Params["name"] {
			return nil, fault.New(fault.BadInput, "the path and the body name different resources", "write the same name in both").
				With("metadata.name", "not the path's")
		}
		return told(change(ctx, caller(c), r))
	}
}

// told gives what a change came to.
func told(out resource.Outcome, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	w, err := outside(out.Resource)
	return wire.Created{Resource: w, Secret: out.Secret, Warning: out.Warning}, err
}

func caller(c api.Call) resource.Caller {
	return resource.Caller{
		User: c.User, State: c.View.State, Nonce: c.Nonce,
		RequestID: c.RequestID, SourceIP: c.SourceIP, Now: c.Now,
	}
}

// outside turns a resource into the API's form.
func outside(r access.Resource) (wire.Resource, error) {
	spec, err := r.SpecJSON()
	if err != nil {
		return wire.Resource{}, err
	}
	w := wire.Resource{Kind: r.Kind, Metadata: wire.Metadata{Name: r.Metadata.Name, Scope: r.Metadata.Scope, Revision: r.Metadata.Revision}}
	if err := json.Unmarshal(spec, &w.Spec); err != nil {
		return wire.Resource{}, fmt.Errorf("writing %s %q: %w", r.Kind, r.Metadata.Name, err)
	}
	return w, nil
}
