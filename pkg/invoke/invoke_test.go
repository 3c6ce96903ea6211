package invoke_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stile-dev/stile/pkg/answer"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/invoke"
)

type question struct {
	Word string `json:"word"`
}

// linked runs a handler where Lambda would.
type linked struct {
	handle func(context.Context, json.RawMessage) (any, error)
	out    *lambda.InvokeOutput
	err    error
}

func (l linked) Invoke(ctx context.Context, in *lambda.InvokeInput, _ ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	if l.out != nil || l.err != nil {
		return l.out, l.err
	}
	answer, err := l.handle(ctx, in.Payload)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(answer)
	return &lambda.InvokeOutput{Payload: b}, err
}

func handler(log *bytes.Buffer, use func(context.Context, question) (string, error)) linked {
	return linked{handle: answer.Handle(slog.New(slog.NewJSONHandler(log, nil)), use)}
}

func TestValuesAndFaultsCrossAsTheyAre(t *testing.T) {
	var log bytes.Buffer
	got, err := invoke.Call[question, string](t.Context(), handler(&log, func(_ context.Context, q question) (string, error) { return q.Word + "!", nil }), "f", question{"hello"})
	if err != nil || got != "hello!" {
		t.Errorf("%q, %v", got, err)
	}
	want := fault.New(fault.Quarantined, "no", "do this").With("a.b", "bad").Because(errors.New("the cause stays"))
	want.DecisionID, want.RetryAfter = "dec_1", 1500*time.Millisecond
	_, err = invoke.Call[question, string](t.Context(), handler(&log, func(context.Context, question) (string, error) { return "", want }), "f", question{})
	if d := cmp.Diff(want, fault.From(err), cmpopts.IgnoreUnexported(fault.Fault{})); d != "" {
		t.Error(d)
	}
	if errors.Unwrap(fault.From(err)) != nil || !strings.Contains(log.String(), "the cause stays") {
		t.Errorf("the cause crossed, or was not logged: %s", log.String())
	}
}

func TestLambdasOwnFailuresAreFaults(t *testing.T) {
	for name, c := range map[string]struct {
		api  linked
		want fault.Code
	}{
		"a crash":          {linked{out: &lambda.InvokeOutput{FunctionError: aws.String("Unhandled"), Payload: []byte(`{"errorMessage":"x"}`)}}, fault.Internal},
		"too many at once": {linked{err: &smithy.GenericAPIError{Code: "TooManyRequestsException"}}, fault.RateLimited},
		"no permission":    {linked{err: &smithy.GenericAPIError{Code: "AccessDeniedException"}}, fault.Internal},
		"no JSON":          {linked{out: &lambda.InvokeOutput{Payload: []byte("x")}}, fault.Internal},
		"neither":          {linked{out: &lambda.InvokeOutput{Payload: []byte("{}")}}, fault.Internal},
		"an unknown code":  {linked{out: &lambda.InvokeOutput{Payload: []byte(`{"fault":{"code":"odd","message":"m"}}`)}}, fault.Internal},
	} {
		if _, err := invoke.Call[question, string](t.Context(), c.api, "f", question{}); err == nil || fault.From(err).Code != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
