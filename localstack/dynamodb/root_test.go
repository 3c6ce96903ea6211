package dynamodb_test

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"

	"github.com/stile-dev/stile/localstack/dynamodb"
	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

const everything = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"dynamodb:*","Resource":"*"}]}`

// account is a server behind the gate, with users to be made.
type account struct {
	url       string
	authority *iam.Authority
}

func serve(t testing.TB, s *dynamodb.Server) account {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: "111122223333", Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(gate.Config{Authority: a, Services: []gate.Service{s}})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(g)
	t.Cleanup(func() {
		web.Close()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return account{url: web.URL, authority: a}
}

// user makes a user with one policy, and its credentials.
func (a account) user(t testing.TB, name, policy string) aws.CredentialsProvider {
	t.Helper()
	if _, err := a.authority.PutUser(iam.UserRecord{Name: name, Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(policy)}}}); err != nil {
		t.Fatal(err)
	}
	k, err := a.authority.CreateAccessKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)
}

// as is a client that signs as a user with that policy.
func (a account) as(t testing.TB, name, policy string) *sdk.Client {
	t.Helper()
	return sdk.New(sdk.Options{Region: "eu-west-1", BaseEndpoint: aws.String(a.url), RetryMaxAttempts: 1, Credentials: a.user(t, name, policy)})
}

func (a account) streams(t testing.TB) *streams.Client {
	t.Helper()
	return streams.New(streams.Options{Region: "eu-west-1", BaseEndpoint: aws.String(a.url), RetryMaxAttempts: 1, Credentials: a.user(t, "reader", everything)})
}
