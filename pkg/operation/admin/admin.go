// Package admin has the operations of functions/admin: reading and changing resources.
//
// It knows neither AWS nor what serves it. Its entry point is [Operations].
package admin

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// Operations are the operations of tag admin.
func Operations(d *admin.Desk) map[string]api.Handler {
	return map[string]api.Handler{
		"listResources": func(ctx context.Context, c api.Call) (any, error) {
			page, err := c.Page()
			if err != nil {
				return nil, err
			}
			all, next, err := d.List(ctx, caller(c), c.Params["kind"], page.After, page.Limit)
			if err != nil {
				return nil, err
			}
			out := wire.ResourceList{Resources: []wire.Resource{}, Next: api.Cursor(next)}
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
func written(change func(context.Context, admin.Caller, resource.Resource) (admin.Outcome, error)) api.Handler {
	return func(ctx context.Context, c api.Call) (any, error) {
		r, err := resource.DecodeJSON(c.Params["kind"], c.Body)
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

// told returns the outcome of a change.
func told(out admin.Outcome, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	w, err := outside(out.Resource)
	return wire.Created{Resource: w, Secret: out.Secret, Warning: out.Warning}, err
}

func caller(c api.Call) admin.Caller {
	return admin.Caller{
		User: c.User, State: c.View.State, Orders: c.View.Head.Orders, Nonce: c.Nonce,
		RequestID: c.RequestID, SourceIP: c.SourceIP, Now: c.Now,
	}
}

// outside turns a resource into the API's form.
func outside(r resource.Resource) (wire.Resource, error) {
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
