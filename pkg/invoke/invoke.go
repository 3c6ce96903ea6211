// Package invoke is how one function calls another and gets its answer, see package answer.
//
// It knows no function by name. Its entry points are [Call] and [Function].
package invoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/answer"
	"github.com/stile-dev/stile/pkg/fault"
)

// API is what we use of a *lambda.Client.
type API interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Call invokes a function and waits for its answer. It returns a fault that the function answers unchanged.
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
	err = answer.Read(res.Payload, &out)
	if _, refused := errors.AsType[*fault.Fault](err); err != nil && !refused {
		return out, fmt.Errorf("reading the answer of %s: %w", function, err)
	}
	return out, err
}

// Function returns [Call] of one function.
func Function[In, Out any](api API, name string) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (Out, error) { return Call[In, Out](ctx, api, name, in) }
}

func unreachable(function string, err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "TooManyRequestsException" {
		f := fault.New(fault.RateLimited, "too many requests at once", "try again in a few seconds").Because(err)
		f.RetryAfter = 2 * time.Second
		return f
	}
	return fmt.Errorf("calling %s: %w", function, err)
}
