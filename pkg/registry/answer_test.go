package registry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/registry"
)

// broken is a network on which no answer arrives.
type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection reset")
}

// mailbox takes the answer as the bucket behind a presigned URL does.
type mailbox struct{ body []byte }

func (m *mailbox) RoundTrip(r *http.Request) (res *http.Response, err error) {
	m.body, err = io.ReadAll(r.Body)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, err
}

// What AWS denies while the role's policies take effect is tried again, at each step: the denial gets to where that is done.
func TestWhatIsDeniedAtFirstBecomesAnImage(t *testing.T) {
	for _, operation := range []string{
		"GetObject", "BatchGetImage", "BatchCheckLayerAvailability", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload", "PutImage",
	} {
		synctest.Test(t, func(t *testing.T) {
			before, m := http.DefaultTransport, &mailbox{}
			http.DefaultTransport = m
			defer func() { http.DefaultTransport = before }()
			r, s, e := newRepository(), &store{content: program(1 << 10)}, event(cfn.RequestCreate)
			if operation == "GetObject" {
				s.denied = 2
			}
			denial := &smithy.GenericAPIError{Code: "AccessDeniedException"}
			r.fail[operation] = []error{denial, denial}
			e.ResponseURL, e.ResourceProperties["Sha256"] = "http://response.test/answer", strings.TrimPrefix(digest(s.content), "sha256:")
			payload, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			p := registry.New(registry.Config{ECR: r, S3: s, Log: slog.New(slog.DiscardHandler)})
			if said, err := lambda.NewHandler(p.Handler()).Invoke(t.Context(), payload); err != nil || !bytes.Contains(m.body, []byte("SUCCESS")) || len(r.images) != 1 {
				t.Errorf("%s is denied twice: %s, %v, %s", operation, said, err, m.body)
			}
		})
	}
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
