package conformance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
)

func lambdaClient(c aws.Config, options ...func(*lambda.Options)) *lambda.Client {
	return lambda.NewFromConfig(c, append(options, func(o *lambda.Options) {
		if here.Endpoint != "" {
			o.BaseEndpoint = aws.String(here.Endpoint)
		}
	})...)
}

// invoked is what a caller sees of an invocation.
func invoked(t *testing.T, c *lambda.Client, function, payload string, kind types.InvocationType) string {
	t.Helper()
	out, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &function, Payload: []byte(payload), InvocationType: kind})
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		text := api.ErrorCode()
		if busy, ok := errors.AsType[*types.TooManyRequestsException](err); ok {
			text += " " + string(busy.Reason)
		}
		return text
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s\n%s", out.StatusCode, aws.ToString(out.FunctionError), compact(string(out.Payload))))
}

// kind leaves of a failure's payload its type, because messages hold ids and durations.
func kind(failed string) string {
	var why struct{ ErrorType string }
	_, payload, _ := strings.Cut(failed, "\n")
	_ = json.Unmarshal([]byte(payload), &why) // a payload of another shape has no type
	return strings.TrimSuffix(failed, payload) + why.ErrorType
}

func TestLambdaAnswersACallerWhoWaits(t *testing.T) {
	c, work := lambdaClient(here.Config), here.Outputs["Work"]
	saw(t, "lambda/invoke/answer", invoked(t, c, work, `{"do":"nothing"}`, types.InvocationTypeRequestResponse),
		"200 \n{\"do\":\"nothing\"}")
	saw(t, "lambda/invoke/function-error", invoked(t, c, work, `{"do":"fail"}`, types.InvocationTypeRequestResponse),
		"200 Unhandled\n{\"errorMessage\":\"on purpose\",\"errorType\":\"errorString\"}")
	saw(t, "lambda/invoke/crash", kind(invoked(t, c, work, `{"do":"crash"}`, types.InvocationTypeRequestResponse)),
		"200 Unhandled\nRuntime.ExitError")
	saw(t, "lambda/invoke/timeout", kind(invoked(t, c, here.Outputs["Brief"], `{"do":"hang"}`, types.InvocationTypeRequestResponse)),
		"200 Unhandled\nSandbox.Timedout")
	saw(t, "lambda/invoke/no-json", invoked(t, c, work, `{`, types.InvocationTypeRequestResponse),
		"InvalidRequestContentException")
	saw(t, "lambda/invoke/too-large", invoked(t, c, work, `"`+strings.Repeat("x", 6<<20)+`"`, types.InvocationTypeRequestResponse),
		"RequestTooLargeException")
	if absent(t, "lambda/invoke/dry-run") {
		return
	}
	saw(t, "lambda/invoke/dry-run", invoked(t, c, work, `{}`, types.InvocationTypeDryRun), "204")
}

func TestLambdaTellsWhoMayCallThatAFunctionIsNone(t *testing.T) {
	name := here.Prefix + "-nowhere"
	saw(t, "lambda/invoke/unknown", invoked(t, lambdaClient(here.Config), name, `{}`, types.InvocationTypeRequestResponse),
		"ResourceNotFoundException")
	narrow := lambdaClient(narrowed(t, allow("s3:GetObject", "*")))
	saw(t, "lambda/invoke/denied", invoked(t, narrow, here.Outputs["Work"], `{}`, types.InvocationTypeRequestResponse),
		"AccessDeniedException")
	saw(t, "lambda/invoke/unknown-and-denied", invoked(t, narrow, name, `{}`, types.InvocationTypeRequestResponse),
		"AccessDeniedException")
}

func TestLambdaTriesAnAsynchronousInvocationThreeTimes(t *testing.T) {
	if absent(t, "lambda/async/retries") {
		return
	}
	t.Parallel()
	c := lambdaClient(here.Config)
	order := func(note string, fails int) string {
		return fmt.Sprintf(`{"note":%q,"fails":%d}`, note, fails)
	}
	run := nonce()
	saw(t, "lambda/async/accepted", invoked(t, c, here.Outputs["Work"], order("async-never"+run, 9), types.InvocationTypeEvent),
		"202")
	invoked(t, c, here.Outputs["Work"], order("async-twice"+run, 2), types.InvocationTypeEvent)
	tried := awaitNotes(t, 6*time.Minute, "async-twice"+run, 3)
	saw(t, "lambda/async/retries", fmt.Sprintf("%d tries", len(tried)), "3 tries")
	saw(t, "lambda/async/request-id", fmt.Sprintf("%d request ids", len(slices.Compact(tried))), "1 request ids")
	awaitNotes(t, 6*time.Minute, "async-never"+run, 3)
	// One that comes later shows that no fourth try of the earlier one came first: there is none to wait for.
	invoked(t, c, here.Outputs["Work"], order("async-later"+run, 2), types.InvocationTypeEvent)
	awaitNotes(t, 6*time.Minute, "async-later"+run, 3)
	saw(t, "lambda/async/given-up", fmt.Sprintf("%d tries", len(awaitNotes(t, time.Minute, "async-never"+run, 3))), "3 tries")
}

func TestLambdaThrottlesAFunctionWithoutConcurrency(t *testing.T) {
	if absent(t, "lambda/throttle/reserved") {
		return
	}
	e := extra(t)
	once := lambdaClient(here.Config, func(o *lambda.Options) { o.RetryMaxAttempts = 1 })
	saw(t, "lambda/throttle/reserved", invoked(t, once, e["Busy"], `{}`, types.InvocationTypeRequestResponse),
		"TooManyRequestsException ReservedFunctionConcurrentInvocationLimitExceeded")
	busy := elsewhere(t, e["BusyURL"])
	saw(t, "apigateway/throttle/function", refusal(busy(request("GET", "/v1/busy"))),
		"500 InternalServerErrorException\n{\"message\":\"Internal server error\"}")
}
