package app

import (
	"context"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/invoke"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/join"
	"github.com/stile-dev/stile/pkg/kms"
	"github.com/stile-dev/stile/pkg/login"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/wire"
)

// remote calls a signer, another function.
type remote[In, Out any] struct {
	api      invoke.API
	function string
}

// Issue gives the signer's answer or its fault.
func (r remote[In, Out]) Issue(ctx context.Context, in In) (Out, error) {
	return invoke.Call[In, Out](ctx, r.api, r.function, in)
}

// Login makes functions/login.
func Login(ctx context.Context) (*api.Server, error) {
	b, err := begin(ctx, "login")
	if err != nil {
		return nil, err
	}
	front := login.New(login.Config{
		Cluster: b.cluster, MAC: kms.NewMAC(b.kms(), b.env.Key(names.KeyChallenge)), Proxies: b.presence(),
		Signer: remote[issue.UserRequest, wire.UserCredential]{b.lambda(), b.env.Need(names.EnvSignUser)},
	})
	return b.serve("login", LoginHandlers(front), nil)
}

// LoginHandlers are the operations of tag login.
func LoginHandlers(f *login.Front) map[string]api.Handler {
	call := func(c api.Call) login.Call {
		return login.Call{RequestID: c.RequestID, SourceIP: c.SourceIP, Now: c.Now}
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

// Join makes functions/join.
func Join(ctx context.Context) (*api.Server, error) {
	b, err := begin(ctx, "join")
	if err != nil {
		return nil, err
	}
	front := join.New(join.Config{
		Cluster: b.cluster, MAC: kms.NewMAC(b.kms(), b.env.Key(names.KeyChallenge)), Proxies: b.presence(),
		Signer: remote[issue.HostRequest, wire.HostCredential]{b.lambda(), b.env.Need(names.EnvSignHost)},
	})
	return b.serve("join", JoinHandlers(front), nil)
}

// JoinHandlers are the operations of tag join.
func JoinHandlers(f *join.Front) map[string]api.Handler {
	call := func(c api.Call) join.Call { return join.Call{RequestID: c.RequestID, SourceIP: c.SourceIP, Now: c.Now} }
	return map[string]api.Handler{
		"joinChallenge": api.JSON(func(ctx context.Context, c api.Call, r wire.ChallengeRequest) (any, error) {
			return f.Challenge(ctx, call(c), r)
		}),
		"joinIAM": api.JSON(func(ctx context.Context, c api.Call, r wire.JoinIAMRequest) (any, error) {
			return f.IAM(ctx, call(c), r)
		}),
		"joinToken": api.JSON(func(ctx context.Context, c api.Call, r wire.JoinTokenRequest) (any, error) {
			return f.Token(ctx, call(c), r)
		}),
	}
}

// serve makes the server once the environment is known to be whole.
func (b base) serve(function string, handlers map[string]api.Handler, documents api.Documents) (*api.Server, error) {
	if err := b.env.Err(); err != nil {
		return nil, err
	}
	return api.New(api.Config{Function: function, Handlers: handlers, Documents: documents, Log: b.log})
}
