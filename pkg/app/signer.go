package app

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/head"
	"github.com/stile-dev/stile/pkg/invoke"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/kms"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/sts"
)

// Invoked handles an event of another function and answers in package invoke's form.
type Invoked = func(context.Context, json.RawMessage) (any, error)

// authority gives signers of one key.
func (b base) authority(purpose string) issue.Authority {
	key := kms.NewKey(b.kms(), purpose, b.env.Key(purpose))
	return func(ctx context.Context) (issue.Signer, error) {
		s, err := key.Signer(ctx)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// sts honours the variables that the SDK's clients honour.
func (b base) sts() (*sts.Client, error) {
	return sts.New(sts.Config{Endpoint: cmp.Or(b.env.Optional("AWS_ENDPOINT_URL_STS"), b.env.Optional("AWS_ENDPOINT_URL"))})
}

// SignUser makes functions/sign-user.
func SignUser(ctx context.Context) (Invoked, error) {
	b, err := begin(ctx, "sign-user")
	if err != nil {
		return nil, err
	}
	caller, err := b.sts()
	if err != nil {
		return nil, err
	}
	store := b.store(true)
	users := issue.NewUsers(issue.UserConfig{
		Cluster: b.cluster, Store: store,
		Methods: map[string]issue.Authenticator{
			access.MethodIAM: issue.IAM{STS: caller, Mappings: store.Mappings, Bootstrap: b.env.Match(names.EnvBootstrapAdmin)},
		},
		Documents: head.NewKeeper(b.head(), b.cluster), MAC: kms.NewMAC(b.kms(), b.env.Key(names.KeyChallenge)),
		SSH: b.authority(names.KeyUserSSH), X509: b.authority(names.KeyUserX509),
	})
	return invoke.Handle(b.log, users.Issue), b.env.Err()
}

// SignHost makes functions/sign-host.
func SignHost(ctx context.Context) (Invoked, error) {
	b, err := begin(ctx, "sign-host")
	if err != nil {
		return nil, err
	}
	caller, err := b.sts()
	if err != nil {
		return nil, err
	}
	hosts := issue.NewHosts(issue.HostConfig{
		Cluster: b.cluster, Fleet: b.env.Match(names.EnvFleetRole), STS: caller, Store: b.store(true),
		Documents: head.NewKeeper(b.head(), b.cluster), MAC: kms.NewMAC(b.kms(), b.env.Key(names.KeyChallenge)),
		SSH: b.authority(names.KeyHostSSH), X509: b.authority(names.KeyHostX509),
	})
	return invoke.Handle(b.log, hosts.Issue), b.env.Err()
}
