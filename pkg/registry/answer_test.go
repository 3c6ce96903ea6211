package registry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/stile-dev/stile/pkg/registry"
)

// broken is a network on which no answer arrives.
type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection reset")
}

// TestSec_S83_APresignedURLIsNotWritten: whoever reads the function's log could answer for it, and name an image.
func TestSec_S83_APresignedURLIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := http.DefaultTransport
		http.DefaultTransport = broken{}
		defer func() { http.DefaultTransport = before }()
		e := event(cfn.RequestCreate)
		e.ResponseURL = "http://response.test/answer?X-Amz-Signature=SECRET"
		payload, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		p := registry.New(registry.Config{ECR: newRepository(), S3: &store{content: program(1 << 10)}, Log: slog.New(slog.NewJSONHandler(&log, nil))})
		said, err := lambda.NewHandler(p.Handler()).Invoke(t.Context(), payload)
		if err == nil {
			t.Fatalf("nobody was answered, and nothing failed: %s", said)
		}
		for where, text := range map[string]string{"the error": err.Error(), "the reply": string(said), "the log": log.String()} {
			if strings.Contains(text, "SECRET") {
				t.Errorf("%s holds the URL: %s", where, text)
			}
		}
	})
}
