// Package query has the operations of functions/query: HTTP calls turned into calls of the use case.
//
// It knows neither AWS nor what serves it. Its entry point is [Operations].
package query

import (
	"context"
	"encoding/base64"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/query"
	"github.com/stile-dev/stile/pkg/wire"
)

// maxCursor is how many bytes a cursor may have: Athena's are of no documented form.
const maxCursor = 4096

// Operations are the operations of tag query.
func Operations(d *query.Desk) map[string]api.Handler {
	return map[string]api.Handler{
		"startQuery": api.JSON(func(ctx context.Context, c api.Call, r wire.QueryRequest) (any, error) {
			return d.Ask(ctx, person(c), r)
		}),
		"getQuery": func(ctx context.Context, c api.Call) (any, error) {
			return d.State(ctx, person(c), c.Params["query"])
		},
		"stopQuery": func(ctx context.Context, c api.Call) (any, error) {
			return d.Stop(ctx, person(c), c.Params["query"])
		},
		"auditBody": func(ctx context.Context, c api.Call) (any, error) {
			return d.Body(ctx, person(c), c.Params["sha256"])
		},
		"queryRows": func(ctx context.Context, c api.Call) (any, error) {
			cursor, err := base64.RawURLEncoding.Strict().DecodeString(c.Query["cursor"])
			if err != nil || len(cursor) > maxCursor {
				return nil, fault.New(fault.BadInput, "the cursor did not come from this API", "send the previous page's next unchanged").With("cursor", "malformed")
			}
			out, err := d.Rows(ctx, person(c), c.Params["query"], string(cursor))
			out.Next = api.Cursor(out.Next)
			return out, err
		},
	}
}

func person(c api.Call) query.Person {
	return query.Person{User: c.User, State: c.View.State, RequestID: c.RequestID, SourceIP: c.SourceIP, Now: c.Now}
}
