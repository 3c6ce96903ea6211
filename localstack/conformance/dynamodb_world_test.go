package conformance_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func dynamoClient(c aws.Config) *dynamodb.Client {
	return dynamodb.NewFromConfig(c, func(o *dynamodb.Options) {
		if here.Endpoint != "" {
			o.BaseEndpoint = aws.String(here.Endpoint)
		}
	})
}

// tableMade makes a table with string keys pk and sk and a stream, which goes with the test.
func tableMade(t *testing.T) (c *dynamodb.Client, name string) {
	t.Helper()
	c, name = dynamoClient(here.Config), here.Prefix+"-test-"+rand.Text()
	if err := newTable(t.Context(), c, name, here.Prefix); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.DeleteTable(context.WithoutCancel(t.Context()), &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
			t.Error(err)
		}
	})
	if err := dynamodb.NewTableExistsWaiter(c).Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: &name}, 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	return c, name
}

// newTable makes a table with the tag of a run, by which cleaning up knows it; without one if owner is "".
func newTable(ctx context.Context, c *dynamodb.Client, name, owner string) error {
	var tags []types.Tag
	if owner != "" {
		tags = []types.Tag{{Key: aws.String(tag), Value: &owner}}
	}
	_, err := c.CreateTable(ctx, &dynamodb.CreateTableInput{
		Tags:      tags,
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}, {AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
		},
		StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages},
	})
	return err
}

type attributes = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func digits(n string) types.AttributeValue { return &types.AttributeValueMemberN{Value: n} }

func at(pk, sk string) attributes { return attributes{"pk": text(pk), "sk": text(sk)} }
