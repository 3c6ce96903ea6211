package lambda_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/lambda"
)

// client signs calls to the Lambda API as a role that may invoke the function "fn" alone.
func client(t *testing.T, w world) *sdk.Client {
	t.Helper()
	policy := `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":["arn:aws:lambda:us-east-1:111122223333:function:fn","arn:aws:lambda:us-east-1:111122223333:function:none"]}]}`
	role, err := w.Authority.PutRole(iam.Role{Name: "caller", Trust: json.RawMessage(trust("ec2.amazonaws.com")), Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(policy)}}})
	if err != nil {
		t.Fatal(err)
	}
	minted, err := w.Authority.Mint(role.ARN, "session", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(gate.Config{Authority: w.Authority, Services: []gate.Service{w.Service()}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(minted.AccessKeyID, minted.SecretAccessKey, minted.SessionToken),
	})
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func TestTheInvokeAPI(t *testing.T) {
	w := newWorld(t, nil)
	w.put(t, "fn", nil)
	w.put(t, "other", nil)
	c := client(t, w)
	got, err := c.Invoke(t.Context(), &sdk.InvokeInput{FunctionName: aws.String("arn:aws:lambda:us-east-1:111122223333:function:fn"), Payload: []byte(`{"a":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Payload) != `{"a":1}` || got.StatusCode != 200 || got.FunctionError != nil || aws.ToString(got.ExecutedVersion) != "$LATEST" {
		t.Errorf("answer %+v", got)
	}
	failed, err := c.Invoke(t.Context(), &sdk.InvokeInput{FunctionName: aws.String("fn"), Payload: []byte(`{"Do":"fail"}`)})
	if err != nil || aws.ToString(failed.FunctionError) != "Unhandled" || !strings.Contains(string(failed.Payload), "on purpose") {
		t.Errorf("%v, answer %+v", err, failed)
	}
	dry, err := c.Invoke(t.Context(), &sdk.InvokeInput{FunctionName: aws.String("fn"), InvocationType: types.InvocationTypeDryRun})
	if err != nil || dry.StatusCode != 204 {
		t.Errorf("%v, answer %+v", err, dry)
	}
}

func TestTheInvokeAPIRefuses(t *testing.T) {
	w := newWorld(t, nil)
	w.put(t, "fn", nil)
	w.put(t, "other", nil)
	c := client(t, w)
	for name, call := range map[string]struct {
		in   sdk.InvokeInput
		want string
	}{
		"a function that the caller may not invoke": {sdk.InvokeInput{FunctionName: aws.String("other")}, "AccessDeniedException"},
		"a function that does not exist":            {sdk.InvokeInput{FunctionName: aws.String("none")}, "ResourceNotFoundException"},
		"a payload that is no JSON":                 {sdk.InvokeInput{FunctionName: aws.String("fn"), Payload: []byte("{")}, "InvalidRequestContentException"},
		"a payload that is too large":               {sdk.InvokeInput{FunctionName: aws.String("fn"), Payload: bytes.Repeat([]byte("1"), 6<<20+1)}, "RequestTooLargeException"},
		"a version":                                 {sdk.InvokeInput{FunctionName: aws.String("fn"), Qualifier: aws.String("7")}, "ResourceNotFoundException"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.Invoke(t.Context(), &call.in); code(err) != call.want {
				t.Errorf("error %v, want %s", err, call.want)
			}
		})
	}
}

func TestABusyFunctionAnswersTooManyRequests(t *testing.T) {
	w := newWorld(t, func(c *lambda.Config) { c.Instances, c.Queue = 1, 1 })
	w.put(t, "fn", nil)
	c := client(t, w)
	gate := filepath.Join(t.TempDir(), "gate")
	payload := []byte(`{"Do": "wait", "File": "` + gate + `"}`)
	var refusal error
	eventually(t, "a refusal", func() bool { // asynchronous ones fill the one instance and the queue
		_, err := c.Invoke(t.Context(), &sdk.InvokeInput{FunctionName: aws.String("fn"), Payload: payload, InvocationType: types.InvocationTypeEvent})
		if err != nil {
			t.Fatal(err)
		}
		_, refusal = c.Invoke(contextFor(t, 50*time.Millisecond), &sdk.InvokeInput{FunctionName: aws.String("fn"), Payload: []byte(`{}`)})
		return code(refusal) == "TooManyRequestsException"
	})
	var typed *types.TooManyRequestsException
	if !errors.As(refusal, &typed) || typed.Reason != types.ThrottleReasonConcurrentInvocationLimitExceeded {
		t.Errorf("error %v", refusal)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
