package conformance_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var plain = cmpopts.IgnoreUnexported(types.AttributeValueMemberS{}, types.AttributeValueMemberN{}, types.AttributeValueMemberL{}, types.AttributeValueMemberM{}, types.AttributeValueMemberSS{})

// wantRefusal demands an API error of that code and sentence.
func wantRefusal(t *testing.T, err error, code, sentence string) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != code || api.ErrorMessage() != sentence {
		t.Errorf("got  %v\nwant %s: %s", err, code, sentence)
	}
}

func TestDynamoDBConditionalPutsAndUpdatesReturnWhatTheyShould(t *testing.T) {
	holds(t, "dynamodb/write/conditional")
	c, name := tableMade(t)
	item := attributes{"pk": text("a"), "sk": text("1"), "n": digits("1.50"), "m": &types.AttributeValueMemberM{Value: attributes{"x": text("y"), "z": digits("1")}}}
	create := &dynamodb.PutItemInput{TableName: &name, Item: item, ConditionExpression: aws.String("attribute_not_exists(pk)"), ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}
	if _, err := c.PutItem(t.Context(), create); err != nil {
		t.Fatal(err)
	}
	_, err := c.PutItem(t.Context(), create)
	failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !ok || failed.ErrorMessage() != "The conditional request failed" {
		t.Fatalf("a second creation: %v", err)
	}
	item["n"] = digits("1.5")
	if diff := cmp.Diff(item, failed.Item, plain); diff != "" {
		t.Errorf("the item in the refusal: %s", diff)
	}
	out, err := c.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: &name, Key: at("a", "1"), ReturnValues: types.ReturnValueUpdatedNew,
		UpdateExpression:          aws.String("SET m.x = :s, n = n + :n, l = list_append(if_not_exists(l, :l), :l) ADD tags :t"),
		ExpressionAttributeValues: attributes{":s": text("new"), ":n": digits("1"), ":l": &types.AttributeValueMemberL{Value: []types.AttributeValue{text("e")}}, ":t": &types.AttributeValueMemberSS{Value: []string{"t"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := attributes{
		"m": &types.AttributeValueMemberM{Value: attributes{"x": text("new")}}, "n": digits("2.5"),
		"l":    &types.AttributeValueMemberL{Value: []types.AttributeValue{text("e"), text("e")}},
		"tags": &types.AttributeValueMemberSS{Value: []string{"t"}},
	}
	if diff := cmp.Diff(want, out.Attributes, plain); diff != "" {
		t.Errorf("updated attributes: %s", diff)
	}
}

func TestDynamoDBRefusesExpressionsThatAreWrong(t *testing.T) {
	holds(t, "dynamodb/expression/refusals")
	c, name := tableMade(t)
	for expression, want := range map[string]string{
		"name = :v":             "Invalid ConditionExpression: Attribute name is a reserved keyword; reserved keyword: name",
		"a = :other":            "Invalid ConditionExpression: An expression attribute value used in expression is not defined; attribute value: :other",
		"#a = :v":               "Invalid ConditionExpression: An expression attribute name used in the document path is not defined; attribute name: #a",
		"attribute_exists(a)":   "Value provided in ExpressionAttributeValues unused in expressions: keys: {:v}",
		"a = = :v":              `Invalid ConditionExpression: Syntax error; token: "=", near: "= = :v"`,
		"a = :v AND foo(:v)":    "Invalid ConditionExpression: Invalid function name; function: foo",
		"begins_with(a, :v, b)": "Invalid ConditionExpression: Incorrect number of operands for operator or function; operator or function: begins_with, number of operands: 3",
	} {
		_, err := c.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &name, Key: at("a", "1"), ConditionExpression: &expression, ExpressionAttributeValues: attributes{":v": text("x")}})
		wantRefusal(t, err, "ValidationException", want)
	}
	for expression, want := range map[string]string{
		"SET pk = :v":           "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of the key",
		"SET a = :v, a.b = :v":  "Invalid UpdateExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
		"SET a.b = :v":          "The document path provided in the update expression is invalid for update",
		"SET a = b, c = :v":     "The provided expression refers to an attribute that does not exist in the item",
		"SET a = :v SET b = :v": `Invalid UpdateExpression: The "SET" section can only be used once in an update expression;`,
		"ADD a :v":              "Invalid UpdateExpression: Incorrect operand type for operator or function; operator: ADD, operand type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND",
	} {
		_, err := c.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: &name, Key: at("a", "1"), UpdateExpression: &expression, ExpressionAttributeValues: attributes{":v": text("x")}})
		wantRefusal(t, err, "ValidationException", want)
	}
	_, err := c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: attributes{"pk": text("a")}})
	wantRefusal(t, err, "ValidationException", "One or more parameter values were invalid: Missing the key sk in the item")
	_, err = c.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &name, Key: attributes{"pk": text("a")}})
	wantRefusal(t, err, "ValidationException", "The provided key element does not match the schema")
	_, err = c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: at("a", "")})
	wantCode(t, err, "ValidationException")
	_, err = c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: attributes{"pk": text("a"), "sk": text("1"), "v": text(strings.Repeat("x", 400*1024))}})
	wantRefusal(t, err, "ValidationException", "Item size has exceeded the maximum allowed size")
	_, err = c.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String(here.Prefix + "-test-nowhere"), Key: at("a", "1")})
	wantRefusal(t, err, "ResourceNotFoundException", "Requested resource not found")
}

func TestDynamoDBQueriesInOrderByPages(t *testing.T) {
	holds(t, "dynamodb/query/pages")
	c, name := tableMade(t)
	for _, sk := range []string{"b2", "a1", "b10", "c"} {
		if _, err := c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: at("p", sk)}); err != nil {
			t.Fatal(err)
		}
	}
	query := func(condition string, forward bool, values attributes) (found []string) {
		values[":p"] = text("p")
		pages := dynamodb.NewQueryPaginator(c, &dynamodb.QueryInput{
			TableName: &name, KeyConditionExpression: aws.String("pk = :p" + condition), ExpressionAttributeValues: values,
			Limit: aws.Int32(1), ScanIndexForward: &forward, ConsistentRead: aws.Bool(true),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range page.Items {
				found = append(found, i["sk"].(*types.AttributeValueMemberS).Value)
			}
		}
		return found
	}
	for _, q := range []struct {
		condition string
		forward   bool
		values    attributes
		want      []string
	}{
		{"", true, attributes{}, []string{"a1", "b10", "b2", "c"}},
		{"", false, attributes{}, []string{"c", "b2", "b10", "a1"}},
		{" AND begins_with(sk, :v)", true, attributes{":v": text("b")}, []string{"b10", "b2"}},
		{" AND sk BETWEEN :v AND :w", false, attributes{":v": text("b"), ":w": text("b2")}, []string{"b2", "b10"}},
		{" AND sk > :v", true, attributes{":v": text("b10")}, []string{"b2", "c"}},
		{" AND sk <= :v", true, attributes{":v": text("b10")}, []string{"a1", "b10"}},
	} {
		if diff := cmp.Diff(q.want, query(q.condition, q.forward, q.values)); diff != "" {
			t.Errorf("%q forward %v: %s", q.condition, q.forward, diff)
		}
	}
	_, err := c.Query(t.Context(), &dynamodb.QueryInput{TableName: &name, KeyConditionExpression: aws.String("pk > :p"), ExpressionAttributeValues: attributes{":p": text("p")}})
	wantRefusal(t, err, "ValidationException", "Query key condition not supported")
}
