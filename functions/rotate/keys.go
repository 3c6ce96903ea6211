package main

import (
	"context"
	"crypto"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/kms/signer"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
)

// keys are the root key and the public halves of all that the trust document names.
func keys(f app.Function) (root *signer.Key, public map[string]func(context.Context) (crypto.PublicKey, error)) {
	api := awskms.NewFromConfig(f.AWS)
	public = map[string]func(context.Context) (crypto.PublicKey, error){}
	for _, purpose := range []string{names.KeyRoot, names.KeyPolicy, names.KeyUserSSH, names.KeyUserX509, names.KeyHostSSH, names.KeyHostX509} {
		key := signer.New(api, purpose, f.Key(purpose))
		public[purpose] = func(ctx context.Context) (crypto.PublicKey, error) { return key.Public(ctx) }
		if purpose == names.KeyRoot {
			root = key
		}
	}
	return root, public
}

// journal is the ledger in the form that the use case needs.
type journal struct{ ledger *ledger.Ledger }

// Record writes an event.
func (j journal) Record(ctx context.Context, e audit.Event) error { return j.ledger.Append(ctx, e) }

// Claim says what was signed.
func (j journal) Claim(ctx context.Context, of string, requests, doubtful []string) error {
	return j.ledger.Claim(ctx, ledger.Claim{Function: "rotate", Of: of, Requests: requests, Doubtful: doubtful})
}
