package dynamodb_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var untyped = cmpopts.IgnoreUnexported(types.AttributeValueMemberS{}, types.AttributeValueMemberN{}, types.AttributeValueMemberM{}, types.AttributeValueMemberL{}, types.AttributeValueMemberSS{})

func TestItemGoesRoundThroughAllFourOperations(t *testing.T) {
	ctx, c := context.Background(), client(t, open(t))
	table(t, c, "state")
	first := attrs{"pk": str("a"), "sk": str("1"), "n": num("007.50")}
	if _, err := c.PutItem(ctx, &sdk.PutItemInput{TableName: aws.String("state"), Item: first, ConditionExpression: aws.String("attribute_not_exists(pk)")}); err != nil {
		t.Fatal(err)
	}
	_, err := c.PutItem(ctx, &sdk.PutItemInput{
		TableName: aws.String("state"), Item: first, ConditionExpression: aws.String("attribute_not_exists(pk)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		t.Fatalf("a second put under the condition: %v", err)
	}
	want := attrs{"pk": str("a"), "sk": str("1"), "n": num("7.5")}
	if diff := cmp.Diff(want, failed.Item, untyped); diff != "" {
		t.Errorf("the item in the refusal: %s", diff)
	}
	up, err := c.UpdateItem(ctx, &sdk.UpdateItemInput{
		TableName: aws.String("state"), Key: key("a", "1"), UpdateExpression: aws.String("SET n = n + :one ADD tags :t"),
		ExpressionAttributeValues: attrs{":one": num("1"), ":t": &types.AttributeValueMemberSS{Value: []string{"x"}}},
		ReturnValues:              types.ReturnValueUpdatedNew,
	})
	if err != nil {
		t.Fatal(err)
	}
	want = attrs{"n": num("8.5"), "tags": &types.AttributeValueMemberSS{Value: []string{"x"}}}
	if diff := cmp.Diff(want, up.Attributes, untyped); diff != "" {
		t.Errorf("updated attributes: %s", diff)
	}
	if _, err := c.DeleteItem(ctx, &sdk.DeleteItemInput{TableName: aws.String("state"), Key: key("a", "1")}); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetItem(ctx, &sdk.GetItemInput{TableName: aws.String("state"), Key: key("a", "1")})
	if err != nil || got.Item != nil {
		t.Errorf("after the delete: %v %v", got.Item, err)
	}
}

func TestTransactionTellsTheReasonOfEachItemInOrder(t *testing.T) {
	ctx, c := context.Background(), client(t, open(t))
	table(t, c, "state")
	put := func(sk string) types.TransactWriteItem {
		return types.TransactWriteItem{Put: &types.Put{
			TableName: aws.String("state"), Item: key("a", sk), ConditionExpression: aws.String("attribute_not_exists(pk)"),
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}}
	}
	if _, err := c.TransactWriteItems(ctx, &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{put("2")}}); err != nil {
		t.Fatal(err)
	}
	_, err := c.TransactWriteItems(ctx, &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{put("1"), put("2"), put("3")}})
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) {
		t.Fatalf("got %v", err)
	}
	want := []types.CancellationReason{
		{Code: aws.String("None")},
		{Code: aws.String("ConditionalCheckFailed"), Message: aws.String("The conditional request failed"), Item: key("a", "2")},
		{Code: aws.String("None")},
	}
	if diff := cmp.Diff(want, cancelled.CancellationReasons, untyped, cmpopts.IgnoreUnexported(types.CancellationReason{})); diff != "" {
		t.Error(diff)
	}
	page, err := c.Query(ctx, &sdk.QueryInput{
		TableName: aws.String("state"), KeyConditionExpression: aws.String("pk = :p"),
		ExpressionAttributeValues: attrs{":p": str("a")},
	})
	if err != nil || page.Count != 1 {
		t.Errorf("after a cancelled transaction: %d items, %v", page.Count, err)
	}
}
