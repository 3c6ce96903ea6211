package dynamodb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// leading is the condition that limits a role to an entity's partition keys.
const leading = `{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["user#*"]},"Null":{"dynamodb:LeadingKeys":"false"}}`

func policy(effect, actions, condition string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":[%s],"Resource":"arn:aws:dynamodb:eu-west-1:111122223333:table/state","Condition":%s}]}`, effect, actions, condition)
}

// allowed checks whether an error is a denial, and demands that it be told as AWS tells it.
func allowed(t *testing.T, what string, want bool, err error) {
	t.Helper()
	var api smithy.APIError
	denied := err != nil && asAPI(err, &api) && api.ErrorCode() == "AccessDeniedException"
	if denied == want || !denied && err != nil {
		t.Errorf("%s: want allowed %v, got %v", what, want, err)
	}
	if denied && (!strings.HasPrefix(api.ErrorMessage(), "User: arn:aws:iam::111122223333:user/") || !strings.Contains(api.ErrorMessage(), "is not authorized to perform: dynamodb:")) {
		t.Errorf("%s: told as %q", what, api.ErrorMessage())
	}
}

func TestLeadingKeysBindEveryOperation(t *testing.T) {
	a := serve(t, open(t))
	table(t, a.as(t, "owner", everything), "state")
	c := a.as(t, "front", policy("Allow", `"dynamodb:GetItem","dynamodb:PutItem","dynamodb:UpdateItem","dynamodb:DeleteItem","dynamodb:Query","dynamodb:BatchGetItem","dynamodb:ConditionCheckItem","dynamodb:Scan"`, leading))
	name, ctx := aws.String("state"), t.Context()
	for pk, want := range map[string]bool{"user#1": true, "role#1": false} {
		_, err := c.GetItem(ctx, &sdk.GetItemInput{TableName: name, Key: key(pk, "1")})
		allowed(t, "get "+pk, want, err)
		_, err = c.PutItem(ctx, &sdk.PutItemInput{TableName: name, Item: key(pk, "1")})
		allowed(t, "put "+pk, want, err)
		_, err = c.UpdateItem(ctx, &sdk.UpdateItemInput{TableName: name, Key: key(pk, "1")})
		allowed(t, "update "+pk, want, err)
		_, err = c.Query(ctx, &sdk.QueryInput{TableName: name, KeyConditionExpression: aws.String(":p = #pk"), ExpressionAttributeNames: map[string]string{"#pk": "pk"}, ExpressionAttributeValues: attrs{":p": str(pk)}})
		allowed(t, "query "+pk, want, err)
		_, err = c.BatchGetItem(ctx, &sdk.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"state": {Keys: []map[string]types.AttributeValue{key("user#1", "1"), key(pk, "2")}}}})
		allowed(t, "batch get "+pk, want, err)
		_, err = c.TransactWriteItems(ctx, &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
			{Put: &types.Put{TableName: name, Item: key("user#1", "5")}},
			{ConditionCheck: &types.ConditionCheck{TableName: name, Key: key(pk, "6"), ConditionExpression: aws.String("attribute_not_exists(pk)")}},
		}})
		allowed(t, "transaction "+pk, want, err)
		_, err = c.TransactGetItems(ctx, &sdk.TransactGetItemsInput{TransactItems: []types.TransactGetItem{{Get: &types.Get{TableName: name, Key: key(pk, "5")}}}})
		allowed(t, "transact get "+pk, want, err)
		_, err = c.DeleteItem(ctx, &sdk.DeleteItemInput{TableName: name, Key: key(pk, "1")})
		allowed(t, "delete "+pk, want, err)
	}
	_, err := c.Scan(ctx, &sdk.ScanInput{TableName: name})
	allowed(t, "scan, which names no key", false, err)
	_, err = c.GetItem(ctx, &sdk.GetItemInput{TableName: aws.String("another"), Key: key("user#1", "1")})
	allowed(t, "a table that isn't there, which is not told", false, err)
}

func TestWithoutTheNullConditionAScanPassesLeadingKeys(t *testing.T) {
	a := serve(t, open(t))
	table(t, a.as(t, "owner", everything), "state")
	c := a.as(t, "lax", policy("Allow", `"dynamodb:Scan"`, `{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["user#*"]}}`))
	_, err := c.Scan(t.Context(), &sdk.ScanInput{TableName: aws.String("state")})
	allowed(t, "scan", true, err)
}

func TestEachActionOfATransactionNeedsItsOwnPermission(t *testing.T) {
	a := serve(t, open(t))
	table(t, a.as(t, "owner", everything), "state")
	c := a.as(t, "writer", policy("Allow", `"dynamodb:PutItem"`, `{}`))
	one := func(i types.TransactWriteItem) error {
		_, err := c.TransactWriteItems(t.Context(), &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
			{Put: &types.Put{TableName: aws.String("state"), Item: key("a", "1")}}, i,
		}})
		return err
	}
	allowed(t, "put", true, one(types.TransactWriteItem{Put: &types.Put{TableName: aws.String("state"), Item: key("a", "2")}}))
	allowed(t, "delete", false, one(types.TransactWriteItem{Delete: &types.Delete{TableName: aws.String("state"), Key: key("a", "2")}}))
	allowed(t, "check", false, one(types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: aws.String("state"), Key: key("a", "2"), ConditionExpression: aws.String("attribute_exists(pk)")}}))
}
