// Package invoke is how one function calls another: the request as JSON, and an answer that holds either the
// value or a fault, so that a refusal is never a Lambda error.
//
// It knows no function by name. Its entry points are [Call] and [Handle].
package invoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/strict"
)

// API is what is used of a *lambda.Client.
type API interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// reply is the answer on the wire; exactly one of the two is set.
type reply struct {
	Value json.RawMessage `json:"value,omitempty"`
	Fault *refusal        `json:"fault,omitempty"`
}

type refusal struct {
	Code       fault.Code    `json:"code"`
	Message    string        `json:"message"`
	Hint       string        `json:"hint,omitempty"`
	Fields     []fault.Field `json:"fields,omitempty"`
	DecisionID string        `json:"decision_id,omitempty"`
	RetryMS    int64         `json:"retry_ms,omitempty"`
}

// Call invokes a function and waits for its answer. A fault that the function answers comes back as it was.
func Call[In, Out any](ctx context.Context, api API, function string, in In) (Out, error) {
	var out Out
	payload, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("writing the call of %s: %w", function, err)
	}
	res, err := api.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: payload})
	if err != nil {
		return out, unreachable(function, err)
	}
	if res.FunctionError != nil {
		return out, fmt.Errorf("calling %s: it failed: %s", function, *res.FunctionError)
	}
	var r reply
	if err := json.Unmarshal(res.Payload, &r); err != nil {
		return out, fmt.Errorf("reading the answer of %s: %w", function, err)
	}
	if r.Fault != nil {
		return out, r.Fault.fault()
	}
	if err := json.Unmarshal(r.Value, &out); err != nil {
		return out, fmt.Errorf("reading the answer of %s: %w", function, err)
	}
	return out, nil
}

func (r refusal) fault() error {
	f := fault.New(r.Code, r.Message, r.Hint)
	if !r.Code.Known() {
		f.Code = fault.Internal
	}
	f.Fields, f.DecisionID, f.RetryAfter = r.Fields, r.DecisionID, time.Duration(r.RetryMS)*time.Millisecond
	return f
}

func unreachable(function string, err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "TooManyRequestsException" {
		f := fault.New(fault.RateLimited, "too many requests at once", "try again in a few seconds").Because(err)
		f.RetryAfter = 2 * time.Second
		return f
	}
	return fmt.Errorf("calling %s: %w", function, err)
}

// maxCall bounds the request that a function takes from another: a body of the API and what is added to it.
const maxCall = 128 << 10

// Handle makes a Lambda handler of a use case: strict reading, a fault as an answer, one line of log.
func Handle[In, Out any](log *slog.Logger, use func(context.Context, In) (Out, error)) func(context.Context, json.RawMessage) (any, error) {
	return func(ctx context.Context, payload json.RawMessage) (any, error) {
		started := time.Now()
		var in In
		err := strict.JSON(payload, maxCall, &in)
		var out Out
		if err == nil {
			out, err = guard(ctx, in, use)
		}
		line(ctx, log, started, err)
		if err != nil {
			f := fault.From(err)
			return reply{Fault: &refusal{f.Code, f.Message, f.Hint, f.Fields, f.DecisionID, f.RetryAfter.Milliseconds()}}, nil
		}
		value, err := json.Marshal(out)
		if err != nil {
			return nil, fmt.Errorf("writing the answer: %w", err)
		}
		return reply{Value: value}, nil
	}
}

// guard turns a panic into an error: the caller gets an answer and the instance lives on.
func guard[In, Out any](ctx context.Context, in In, use func(context.Context, In) (Out, error)) (out Out, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return use(ctx, in)
}

func line(ctx context.Context, log *slog.Logger, started time.Time, err error) {
	attrs := []slog.Attr{slog.Duration("duration", time.Since(started))}
	level := slog.LevelInfo
	if err != nil {
		f := fault.From(err)
		attrs = append(attrs, slog.String("code", string(f.Code)), slog.String("message", f.Message), slog.String("decision_id", f.DecisionID))
		if cause := f.Unwrap(); cause != nil {
			attrs = append(attrs, slog.String("cause", cause.Error()))
		}
		if f.Code == fault.Internal {
			level = slog.LevelError
		}
	}
	log.LogAttrs(ctx, level, "Call answered", attrs...)
}
