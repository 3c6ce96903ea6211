// Package recording has the operations of functions/recording: HTTP calls turned into calls of the use case.
//
// It knows neither AWS nor what serves it. Its entry point is [Operations].
package recording

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// Operations are the operations of tag recording.
func Operations(a *archive.Archive) map[string]api.Handler {
	return map[string]api.Handler{
		"claimRecording": api.JSON(func(ctx context.Context, c api.Call, r wire.RecordingClaim) (any, error) {
			return a.Claim(ctx, c.Host, c.Params["session"], r, c.Now)
		}),
		"grantUploads": api.JSON(func(ctx context.Context, c api.Call, r wire.UploadRequest) (any, error) {
			return a.Grant(ctx, c.Host, c.Params["session"], r, c.Now)
		}),
		"confirmUploads": api.JSON(func(ctx context.Context, c api.Call, r wire.HeldRequest) (any, error) {
			return a.Held(ctx, c.Host, c.Params["session"], r, c.Now)
		}),
		"listRecordings": func(ctx context.Context, c api.Call) (any, error) {
			q, err := query(c)
			if err != nil {
				return nil, err
			}
			list, next, err := a.List(ctx, person(c), q)
			return wire.RecordingList{Recordings: list, Next: api.Cursor(next)}, err
		},
		"getRecording": func(ctx context.Context, c api.Call) (any, error) {
			return a.Get(ctx, person(c), c.Params["session"])
		},
		"readRecording": api.JSON(func(ctx context.Context, c api.Call, r wire.ReadRequest) (any, error) {
			after, err := base64.RawURLEncoding.Strict().DecodeString(r.Cursor)
			if err != nil || len(after) > 1024 {
				return nil, fault.New(fault.BadInput, "the cursor did not come from this API", "send the previous page's next unchanged").With("cursor", "malformed")
			}
			out, err := a.Read(ctx, person(c), c.Params["session"], string(after))
			out.Next = api.Cursor(out.Next)
			return out, err
		}),
	}
}

func person(c api.Call) archive.Person {
	return archive.Person{User: c.User, State: c.View.State, Source: archive.Source{RequestID: c.RequestID, SourceIP: c.SourceIP, Now: c.Now}}
}

func query(c api.Call) (archive.Query, error) {
	page, err := c.Page()
	q := archive.Query{User: c.Query["user"], Target: c.Query["target"], After: page.After, Limit: page.Limit}
	if err != nil {
		return q, err
	}
	for name, into := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if text, ok := c.Query[name]; ok {
			if *into, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return q, fault.Newf(fault.BadInput, "write it as 2006-01-02T15:04:05Z", "%s is not a time", name).With(name, "not RFC 3339")
			}
		}
	}
	return q, nil
}
