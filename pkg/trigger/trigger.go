// Package trigger runs a function whatever triggered it: a call by another function, a stream, a schedule, or
// CloudFormation, each with the answer that it expects.
//
// It doesn't know what it runs. Its entry point is [Handle].
package trigger

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/aws/aws-lambda-go/cfn"

	"github.com/stile-dev/stile/pkg/answer"
	"github.com/stile-dev/stile/pkg/custom"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
)

// Published is what a run answers to whoever invoked it directly.
type Published struct {
	Trust       string `json:"trust"`
	Policy      string `json:"policy"`
	Revocations string `json:"revocations"`
	Input       int64  `json:"input"`
}

func published(h document.Head) Published {
	return Published{
		Trust:       fmt.Sprintf("%d.%d", h.Trust.Epoch, h.Trust.Counter),
		Policy:      fmt.Sprintf("%d.%d", h.Policy.Epoch, h.Policy.Counter),
		Revocations: fmt.Sprintf("%d.%d", h.Revocations.Epoch, h.Revocations.Counter), Input: h.Input,
	}
}

// Direct marks the event of a caller that wants a fault as an answer. Everything else (stream, schedule) wants an
// error, so that AWS tries again.
type Direct struct {
	Direct bool `json:"direct"`
}

// Check judges the properties of a custom resource. It must let pass a template of the revision before, which may not have
// the property that it is about: a rollback comes with it.
type Check func(properties map[string]any) error

// Property checks the value of one property, where the template has it.
func Property[T any](name string, parse func(string) (T, error)) Check {
	return func(properties map[string]any) error {
		v, given := properties[name]
		if !given {
			return nil
		}
		text, ok := v.(string)
		if !ok {
			return fault.Newf(fault.BadInput, "deploy the template as it was synthesised", "the property %s is not a text", name)
		}
		_, err := parse(text)
		return err
	}
}

// Handle makes a Lambda handler from a run that takes only the way to answer from its event. CloudFormation's properties are
// checked before it.
func Handle(log *slog.Logger, run func(context.Context) (document.Head, error), checks ...Check) func(context.Context, json.RawMessage) (any, error) {
	forCloudFormation := custom.Handle(log, func(ctx context.Context, e cfn.Event) (map[string]any, error) {
		for _, check := range checks {
			if err := check(e.ResourceProperties); err != nil {
				return nil, err
			}
		}
		h, err := run(ctx)
		p := published(h)
		return map[string]any{"Trust": p.Trust, "Policy": p.Policy, "Revocations": p.Revocations}, err
	})
	return func(ctx context.Context, payload json.RawMessage) (any, error) {
		var event struct {
			Direct
			RequestType string `json:"RequestType"`
			ResponseURL string `json:"ResponseURL"`
		}
		if err := json.Unmarshal(payload, &event); err != nil {
			return nil, fmt.Errorf("reading the event: %w", err)
		}
		switch {
		case event.RequestType != "" && event.ResponseURL != "":
			return forCloudFormation(ctx, payload)
		case event.Direct.Direct:
			return answer.Handle(log, func(ctx context.Context, _ Direct) (Published, error) {
				h, err := run(ctx)
				return published(h), err
			})(ctx, payload)
		}
		h, err := run(ctx)
		if err != nil {
			failed(ctx, log, err)
			return nil, err
		}
		log.LogAttrs(ctx, slog.LevelInfo, "Run ended", slog.Any("published", published(h)))
		return published(h), nil
	}
}

// failed logs a run that nobody may be asked about: it is an error whatever its fault.
func failed(ctx context.Context, log *slog.Logger, err error) {
	_, reason := answer.Logged(err)
	log.LogAttrs(ctx, slog.LevelError, "Run ended", reason...)
}
