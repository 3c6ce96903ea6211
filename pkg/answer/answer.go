// Package answer is how a function answers another that invokes it: with either a value or a fault, as JSON, so that a
// refusal is never an error of Lambda.
//
// It calls nothing. Its entry points are [Handle] for the side that answers, and [Read] for the side that asked.
package answer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/strict"
)

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

// Read reads an answer into out, a pointer. It returns a fault that was answered unchanged.
func Read(payload []byte, out any) error {
	var r reply
	if err := json.Unmarshal(payload, &r); err != nil {
		return err
	}
	if r.Fault != nil {
		return r.Fault.fault()
	}
	return json.Unmarshal(r.Value, out)
}

func (r refusal) fault() error {
	f := fault.New(r.Code, r.Message, r.Hint)
	if !r.Code.Known() {
		f.Code = fault.Internal
	}
	f.Fields, f.DecisionID, f.RetryAfter = r.Fields, r.DecisionID, time.Duration(r.RetryMS)*time.Millisecond
	return f
}

// maxCall bounds the request that a function accepts from another: a body of the API and what is added to it.
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

// guard turns a panic into an error: the caller gets an answer and the instance stays alive.
func guard[In, Out any](ctx context.Context, in In, use func(context.Context, In) (Out, error)) (out Out, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return use(ctx, in)
}

func line(ctx context.Context, log *slog.Logger, started time.Time, err error) {
	level, attrs := Logged(err)
	log.LogAttrs(ctx, level, "Call answered", append(attrs, slog.Duration("duration", time.Since(started)))...)
}

// Logged returns how a log line tells of what was answered: its level, which is Error when the fault is ours, and what it
// says of the fault with its cause, which nobody is answered. For nil that is Info and nothing.
func Logged(err error) (slog.Level, []slog.Attr) {
	if err == nil {
		return slog.LevelInfo, nil
	}
	f := fault.From(err)
	attrs := []slog.Attr{slog.String("code", string(f.Code)), slog.String("detail", f.Message), slog.String("decision_id", f.DecisionID)}
	if cause := f.Unwrap(); cause != nil {
		attrs = append(attrs, slog.String("cause", cause.Error()))
	}
	if f.Code == fault.Internal {
		return slog.LevelError, attrs
	}
	return slog.LevelInfo, attrs
}
