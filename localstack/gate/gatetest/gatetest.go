// Package gatetest calls a service of the local AWS as its clients do, signed and through the gate. Its entry point is [Ask].
package gatetest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// Ask begins to serve a service that speaks JSON, and returns what calls it through the gate, with a role that may do what the
// statement says: of the value of X-Amz-Target and a body it returns the status and the body of the answer.
func Ask(t testing.TB, s gate.Service, a *iam.Authority, statement string) func(operation, body string) (int, string) {
	t.Helper()
	role, err := a.PutRole(iam.Role{
		Name:   "analyst",
		Trust:  json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Statement":[` + statement + `]}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Mint(role.ARN, "one", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(gate.Config{Authority: a, Services: []gate.Service{s}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return func(operation, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", operation)
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		sum := sha256.Sum256([]byte(body))
		who := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
		if err := v4.NewSigner().SignHTTP(t.Context(), who, r, hex.EncodeToString(sum[:]), s.Name(), "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(raw)
	}
}
