package dynamodb_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/localstack/dynamodb"
)

// open is a server over a fresh directory that ends with the test.
func open(t testing.TB, change ...func(*dynamodb.Config)) *dynamodb.Server {
	t.Helper()
	c := dynamodb.Config{Dir: t.TempDir(), Account: "111122223333", Region: "eu-west-1"}
	for _, f := range change {
		f(&c)
	}
	s, err := dynamodb.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client is the SDK's client of a server for a user who may do everything.
func client(t testing.TB, s *dynamodb.Server) *sdk.Client {
	t.Helper()
	return serve(t, s).as(t, "owner", everything)
}

// table makes a table with string keys pk and sk.
func table(t testing.TB, c *sdk.Client, name string, change ...func(*sdk.CreateTableInput)) {
	t.Helper()
	in := &sdk.CreateTableInput{
		TableName: aws.String(name), BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
		},
	}
	for _, f := range change {
		f(in)
	}
	if _, err := c.CreateTable(context.Background(), in); err != nil {
		t.Fatal(err)
	}
}

type attrs = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }

func key(pk, sk string) attrs { return attrs{"pk": str(pk), "sk": str(sk)} }

// refused checks an error's code and message.
func refused(t testing.TB, err error, code, message string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("got %v, want %s", err, code)
	}
	if api.ErrorCode() != code || api.ErrorMessage() != message {
		t.Fatalf("got  %s: %s\nwant %s: %s", api.ErrorCode(), api.ErrorMessage(), code, message)
	}
}

func asAPI(err error, to *smithy.APIError) bool { return errors.As(err, to) }
