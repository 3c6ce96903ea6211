// Package custom answers CloudFormation for a custom resource, and keeps the contract whatever the run does: there is an
// answer before every deadline, with the real reason; the id of a resource never changes; a Delete is a success; and
// nothing is ever deleted, so that a rollback finds all that the revision before needs.
//
// It doesn't know what a run makes. Whoever may invoke the function names the URL that is answered: so an answer has no
// secret in it, no redirect is followed, and nothing of the reply is passed on. Its entry point is [Handle].
package custom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/answer"
	"github.com/stile-dev/stile/pkg/fault"
)

// Run makes what the resource stands for, on Create and on Update alike, and must be idempotent: Lambda may deliver an
// event twice, and the Update of a rollback comes with the previous properties. It deletes nothing. It isn't called for a
// Delete: what it made is kept, or belongs to another resource of the stack. Its data are what Fn::GetAtt finds.
type Run func(ctx context.Context, e cfn.Event) (data map[string]any, err error)

const (
	margin = 10 * time.Second // kept for the answer, before the deadline
	grace  = time.Second      // of the margin, in which a run that was cut short may say what it waited for
	settle = time.Minute      // how long a denial may be IAM's delay
	again  = 3 * time.Second  // between two runs in that time
)

// Handle makes a Lambda handler that answers CloudFormation's events by their URL. It returns an error only if no answer
// could be delivered, so that Lambda tries the event again.
func Handle(log *slog.Logger, run Run) func(context.Context, json.RawMessage) (any, error) {
	return func(ctx context.Context, payload json.RawMessage) (any, error) {
		var e cfn.Event
		// What has the wrong type is passed over, so that a URL that could be read is answered all the same.
		err := json.Unmarshal(payload, &e)
		if e.ResponseURL == "" {
			return nil, errors.Join(errors.New("reading CloudFormation's event: there is no URL to answer"), err)
		}
		var data map[string]any
		switch {
		case err != nil:
			err = fmt.Errorf("reading CloudFormation's event: %w", err)
		case e.RequestType == cfn.RequestDelete:
		case e.RequestType == cfn.RequestCreate, e.RequestType == cfn.RequestUpdate:
			data, err = within(ctx, log, e, run)
		default:
			err = fmt.Errorf("reading CloudFormation's event: there is no request type %.20q", e.RequestType)
		}
		level, attrs := answer.Logged(err)
		if err != nil {
			level = slog.LevelError // it ends a deployment, whatever its fault
		}
		attrs = append(attrs, slog.String("request_type", string(e.RequestType)), slog.String("resource", e.LogicalResourceID), slog.Any("data", data))
		log.LogAttrs(ctx, level, "Custom resource ended", attrs...)
		if err := deliver(ctx, e.ResponseURL, encode(respond(e, data, err))); err != nil {
			log.LogAttrs(ctx, slog.LevelError, "CloudFormation not answered", slog.String("cause", err.Error()))
			return nil, fmt.Errorf("answering CloudFormation: %w", err)
		}
		return nil, nil
	}
}

// respond makes the answer. The id is the one that the resource has, or the one fixed by its logical id: with an empty or a
// new one CloudFormation would delete what it believes to be the old resource.
func respond(e cfn.Event, data map[string]any, err error) response {
	r := response{
		Status: cfn.StatusSuccess, RequestID: e.RequestID, StackID: e.StackID, LogicalResourceID: e.LogicalResourceID,
		PhysicalResourceID: e.PhysicalResourceID, Data: data,
	}
	if r.PhysicalResourceID == "" {
		r.PhysicalResourceID = "stile-" + e.LogicalResourceID
	}
	if err != nil {
		r.fail(reason(err))
	}
	return r
}

// within runs until shortly before the first deadline: Lambda's, or the one after which CloudFormation listens no longer.
// A run that doesn't heed its context is left behind.
func within(ctx context.Context, log *slog.Logger, e cfn.Event, run Run) (map[string]any, error) {
	ctx, cancel := limit(ctx, e)
	defer cancel()
	type result struct {
		data map[string]any
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				log.LogAttrs(ctx, slog.LevelError, "Custom resource panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
				r.data, r.err = nil, fmt.Errorf("panic: %v", p)
			}
			ended <- r
		}()
		r.data, r.err = settled(ctx, log, e, run)
	}()
	started := time.Now()
	select {
	case r := <-ended:
		return r.data, r.err
	case <-ctx.Done():
	}
	waited := time.Since(started).Round(time.Second)
	select {
	case r := <-ended:
		if r.err == nil {
			return r.data, nil
		}
		return nil, late(waited, r.err)
	case <-time.After(grace):
		return nil, late(waited, context.Cause(ctx))
	}
}

// settled runs again for a while, and not beyond the deadline, when AWS denies something: IAM may take that long to apply
// the policies of a role that was made a moment ago. No run has to wait for that itself.
func settled(ctx context.Context, log *slog.Logger, e cfn.Event, run Run) (map[string]any, error) {
	until := time.Now().Add(settle)
	for {
		data, err := run(ctx, e)
		if err == nil || !denied(err) || time.Now().Add(again).After(until) {
			return data, err
		}
		log.LogAttrs(ctx, slog.LevelInfo, "Custom resource waits for its permissions", slog.String("cause", err.Error()))
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(again):
		}
	}
}

// denied reports whether it is AWS that denied something.
func denied(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && (api.ErrorCode() == "AccessDenied" || api.ErrorCode() == "AccessDeniedException")
}

func late(waited time.Duration, err error) *fault.Fault {
	return fault.Newf(fault.Unavailable, "deploy again; if it keeps happening, read the function's log for what it waited for",
		"the function didn't end within %v: %v", waited, err).Because(err)
}

// limit ends the context a margin before the first deadline; half of the time is left when there is no more.
func limit(ctx context.Context, e cfn.Event) (context.Context, context.CancelFunc) {
	now := time.Now()
	end, limited := ctx.Deadline()
	text, _ := e.ResourceProperties["ServiceTimeout"].(string)
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
		if heard := now.Add(time.Duration(seconds) * time.Second); !limited || heard.Before(end) {
			end, limited = heard, true
		}
	}
	if !limited {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-min(margin, end.Sub(now)/2)))
}
