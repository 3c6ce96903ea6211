package app

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/aws/aws-lambda-go/cfn"

	"github.com/stile-dev/stile/pkg/bundle"
	"github.com/stile-dev/stile/pkg/dynamo"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/head"
	"github.com/stile-dev/stile/pkg/invoke"
	"github.com/stile-dev/stile/pkg/kms"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/publication"
)

// Publish makes functions/publish. Whatever calls it — admin, the stream, the schedule, CloudFormation — has
// the same done; only CloudFormation wants its answer elsewhere.
func Publish(ctx context.Context) (Invoked, error) {
	b, err := begin(ctx, "publish")
	if err != nil {
		return nil, err
	}
	key := kms.NewKey(b.kms(), names.KeyPolicy, b.env.Key(names.KeyPolicy))
	p := publication.NewPublisher(publication.Config{
		Cluster: b.cluster, Inputs: b.store(false), Place: b.head(),
		Key: func(ctx context.Context) (crypto.Signer, error) { return key.Signer(ctx) },
	})
	return triggered(b.log, p.Publish), b.env.Err()
}

// Rotate makes functions/rotate.
func Rotate(ctx context.Context) (Invoked, error) {
	b, err := begin(ctx, "rotate")
	if err != nil {
		return nil, err
	}
	public := map[string]func(context.Context) (crypto.PublicKey, error){}
	var root *kms.Key
	for _, purpose := range []string{names.KeyRoot, names.KeyPolicy, names.KeyUserSSH, names.KeyUserX509, names.KeyHostSSH, names.KeyHostX509} {
		key := kms.NewKey(b.kms(), purpose, b.env.Key(purpose))
		public[purpose] = func(ctx context.Context) (crypto.PublicKey, error) { return key.Public(ctx) }
		if purpose == names.KeyRoot {
			root = key
		}
	}
	r := publication.NewRotator(publication.RotatorConfig{
		Cluster: b.cluster, Name: b.env.Need(names.EnvClusterName), Vault: b.head(), Ledger: b.store(false), Public: public,
		Root: func(ctx context.Context) (crypto.Signer, error) { return root.Signer(ctx) },
	})
	return triggered(b.log, r.Rotate), b.env.Err()
}

// Check that the adapters are what the use cases want.
var (
	_ publication.Place  = (*head.Store)(nil)
	_ publication.Vault  = (*head.Store)(nil)
	_ publication.Inputs = (*dynamo.Store)(nil)
)

// Published is what a run answers to whoever invoked it directly.
type Published struct {
	Trust       string `json:"trust"`
	Policy      string `json:"policy"`
	Revocations string `json:"revocations"`
	Input       int64  `json:"input"`
}

func published(h bundle.Head) Published {
	return Published{
		Trust:       fmt.Sprintf("%d.%d", h.Trust.Epoch, h.Trust.Counter),
		Policy:      fmt.Sprintf("%d.%d", h.Policy.Epoch, h.Policy.Counter),
		Revocations: fmt.Sprintf("%d.%d", h.Revocations.Epoch, h.Revocations.Counter), Input: h.Input,
	}
}

// direct marks the event of a caller that wants a fault as an answer. All else — stream, schedule — wants an
// error, so that AWS tries again.
type direct struct {
	Direct bool `json:"direct"`
}

// triggered makes a handler of a run that takes nothing from its event but how to answer.
func triggered(log *slog.Logger, run func(context.Context) (bundle.Head, error)) Invoked {
	return func(ctx context.Context, payload json.RawMessage) (any, error) {
		var event struct {
			direct
			RequestType string `json:"RequestType"`
			ResponseURL string `json:"ResponseURL"`
		}
		if err := json.Unmarshal(payload, &event); err != nil {
			return nil, fmt.Errorf("reading the event: %w", err)
		}
		switch {
		case event.RequestType != "" && event.ResponseURL != "":
			return custom(ctx, log, payload, run)
		case event.Direct:
			return invoke.Handle(log, func(ctx context.Context, _ direct) (Published, error) {
				h, err := run(ctx)
				return published(h), err
			})(ctx, payload)
		}
		h, err := run(ctx)
		if err != nil {
			log.LogAttrs(ctx, slog.LevelError, "Run ended", slog.String("detail", fault.From(err).Message), slog.Any("cause", fault.From(err).Unwrap()))
			return nil, err
		}
		log.LogAttrs(ctx, slog.LevelInfo, "Run ended", slog.Any("published", published(h)))
		return published(h), nil
	}
}

// custom answers CloudFormation by the URL in its event. Deleting the resource deletes nothing: documents are
// retained with the tables.
func custom(ctx context.Context, log *slog.Logger, payload json.RawMessage, run func(context.Context) (bundle.Head, error)) (any, error) {
	var event cfn.Event
	if err := json.Unmarshal(payload, &event); err != nil {
		return nil, fmt.Errorf("reading CloudFormation's event: %w", err)
	}
	return cfn.LambdaWrap(func(ctx context.Context, e cfn.Event) (string, map[string]any, error) {
		id := "stile-" + e.LogicalResourceID
		if e.RequestType == cfn.RequestDelete {
			return e.PhysicalResourceID, nil, nil
		}
		h, err := run(ctx)
		if err != nil {
			f := fault.From(err)
			log.LogAttrs(ctx, slog.LevelError, "Run ended", slog.String("detail", f.Message), slog.Any("cause", f.Unwrap()))
			return id, nil, fmt.Errorf("%s; %s", f.Message, f.Hint)
		}
		p := published(h)
		log.LogAttrs(ctx, slog.LevelInfo, "Run ended", slog.Any("published", p))
		return id, map[string]any{"Trust": p.Trust, "Policy": p.Policy, "Revocations": p.Revocations}, nil
	})(ctx, event)
}
