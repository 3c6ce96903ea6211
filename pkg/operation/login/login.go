// Package login has the operations of functions/login: HTTP calls turned into calls of the use case.
//
// It knows neither AWS nor what serves it. Its entry point is [Operations].
package login

import (
	"context"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/front"
	"github.com/stile-dev/stile/pkg/wire"
)

// Operations are the operations of tag login.
func Operations(f *front.Logins) map[string]api.Handler {
	call := func(c api.Call) front.Call {
		return front.Call{RequestID: c.RequestID, SourceIP: c.SourceIP, Via: c.Via, Now: c.Now}
	}
	return map[string]api.Handler{
		"loginChallenge": api.JSON(func(ctx context.Context, c api.Call, r wire.ChallengeRequest) (any, error) {
			return f.Challenge(ctx, call(c), r)
		}),
		"loginIAM": api.JSON(func(ctx context.Context, c api.Call, r wire.LoginIAMRequest) (any, error) {
			return f.IAM(ctx, call(c), r)
		}),
	}
}
