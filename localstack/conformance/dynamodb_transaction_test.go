package conformance_test

import (
	"crypto/rand"
	"errors"
	"maps"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	shapes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDynamoDBTransactionsAreAllOrNothingAndSayWhy(t *testing.T) {
	holds(t, "dynamodb/transaction/reasons")
	c, name := tableMade(t)
	create := func(sk string) types.TransactWriteItem {
		return types.TransactWriteItem{Put: &types.Put{
			TableName: &name, Item: at("a", sk), ConditionExpression: aws.String("attribute_not_exists(pk)"),
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}}
	}
	transact := func(items ...types.TransactWriteItem) error {
		_, err := c.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: items})
		return err
	}
	if err := transact(create("2")); err != nil {
		t.Fatal(err)
	}
	err := transact(create("1"), create("2"), create("3"))
	cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok || cancelled.ErrorMessage() != "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed, None]" {
		t.Fatalf("got %v", err)
	}
	want := []types.CancellationReason{
		{Code: aws.String("None")},
		{Code: aws.String("ConditionalCheckFailed"), Message: aws.String("The conditional request failed"), Item: at("a", "2")},
		{Code: aws.String("None")},
	}
	if diff := cmp.Diff(want, cancelled.CancellationReasons, plain, cmpopts.IgnoreUnexported(types.CancellationReason{})); diff != "" {
		t.Error(diff)
	}
	wantRefusal(t, transact(create("5"), create("5")), "ValidationException", "Transaction request cannot include multiple operations on one item")
	got, err := c.TransactGetItems(t.Context(), &dynamodb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{
		{Get: &types.Get{TableName: &name, Key: at("a", "1")}}, {Get: &types.Get{TableName: &name, Key: at("a", "2")}},
	}})
	if err != nil || got.Responses[0].Item != nil || got.Responses[1].Item == nil {
		t.Errorf("after a cancelled transaction: %+v, %v", got, err)
	}
}

func TestDynamoDBAnswersARepeatedTokenWithoutDoingItAgain(t *testing.T) {
	holds(t, "dynamodb/transaction/token")
	c, name := tableMade(t)
	token := rand.Text()
	count := func(by string) error {
		_, err := c.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{
			ClientRequestToken: &token,
			TransactItems: []types.TransactWriteItem{{Update: &types.Update{
				TableName: &name, Key: at("a", "1"), UpdateExpression: aws.String("ADD n :n"), ExpressionAttributeValues: attributes{":n": digits(by)},
			}}},
		})
		return err
	}
	if err := errors.Join(count("1"), count("1")); err != nil {
		t.Fatal(err)
	}
	wantCode(t, count("2"), "IdempotentParameterMismatchException")
	got, err := c.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &name, Key: at("a", "1"), ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(attributes{"pk": text("a"), "sk": text("1"), "n": digits("1")}, got.Item, plain); diff != "" {
		t.Error(diff)
	}
}

func TestDynamoDBEnforcesLeadingKeysAndDeniesWhatNamesNone(t *testing.T) {
	holds(t, "dynamodb/leading-keys")
	_, name := tableMade(t)
	narrow := dynamoClient(narrowed(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":{
		"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["user#*"]},"Null":{"dynamodb:LeadingKeys":"false"}}}}`))
	put := func(pk string) error {
		_, err := narrow.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: at(pk, "1")})
		return err
	}
	if err := put("user#1"); err != nil {
		t.Error(err)
	}
	wantCode(t, put("role#1"), "AccessDeniedException")
	_, err := narrow.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Put: &types.Put{TableName: &name, Item: at("user#2", "1")}}, {Delete: &types.Delete{TableName: &name, Key: at("role#1", "1")}},
	}})
	wantCode(t, err, "AccessDeniedException")
	_, err = narrow.BatchGetItem(t.Context(), &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{name: {Keys: []map[string]types.AttributeValue{at("user#1", "1"), at("role#1", "1")}}}})
	wantCode(t, err, "AccessDeniedException")
	_, err = narrow.Scan(t.Context(), &dynamodb.ScanInput{TableName: &name})
	wantCode(t, err, "AccessDeniedException")
}

func TestDynamoDBStreamsTellOldAndNew(t *testing.T) {
	holds(t, "dynamodb/stream/images")
	c, name := tableMade(t)
	r := dynamodbstreams.NewFromConfig(here.Config, func(o *dynamodbstreams.Options) {
		if here.Endpoint != "" {
			o.BaseEndpoint = aws.String(here.Endpoint)
		}
	})
	for _, n := range []string{"1", "1", "2"} { // the second changes nothing
		if _, err := c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: attributes{"pk": text("a"), "sk": text("1"), "n": digits(n)}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &name, Key: at("a", "1")}); err != nil {
		t.Fatal(err)
	}
	told, err := c.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &name})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := r.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: told.Table.LatestStreamArn})
	if err != nil {
		t.Fatal(err)
	}
	it, err := r.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{
		StreamArn: told.Table.LatestStreamArn, ShardId: stream.StreamDescription.Shards[0].ShardId, ShardIteratorType: shapes.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for next := it.ShardIterator; len(events) < 3 && next != nil && t.Context().Err() == nil; {
		out, err := r.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: next})
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range out.Records {
			events = append(events, string(record.EventName)+number(record.Dynamodb.OldImage)+number(record.Dynamodb.NewImage))
		}
		next = out.NextShardIterator
	}
	if diff := cmp.Diff([]string{"INSERT - 1", "MODIFY 1 2", "REMOVE 2 -"}, events); diff != "" {
		t.Error(diff)
	}
}

func number(image map[string]shapes.AttributeValue) string {
	if n, ok := image["n"].(*shapes.AttributeValueMemberN); ok {
		return " " + n.Value
	}
	return " -"
}

func TestDynamoDBReadsATransactionWholeInATransaction(t *testing.T) {
	holds(t, "dynamodb/transaction/snapshot")
	c, name := tableMade(t)
	keys := []attributes{at("a", "1"), at("b", "2")}
	write := func(n string) error {
		var items []types.TransactWriteItem
		for _, k := range keys {
			item := maps.Clone(k)
			item["n"] = digits(n)
			items = append(items, types.TransactWriteItem{Put: &types.Put{TableName: &name, Item: item}})
		}
		_, err := c.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: items})
		return err
	}
	const writes = 30
	done := make(chan error, 1)
	go func() {
		var all []error
		for n := range writes {
			err := write(strconv.Itoa(n + 1))
			if len(conflicts(err)) > 0 {
				err = nil // a read was in its way
			}
			all = append(all, err)
		}
		done <- errors.Join(all...)
	}()
	for reading := true; reading; {
		select {
		case err := <-done:
			if reading = false; err != nil {
				t.Error(err)
			}
		default:
		}
		got, err := c.TransactGetItems(t.Context(), &dynamodb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{
			{Get: &types.Get{TableName: &name, Key: keys[0]}}, {Get: &types.Get{TableName: &name, Key: keys[1]}},
		}})
		if len(conflicts(err)) > 0 {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got.Responses[0].Item["n"], got.Responses[1].Item["n"], plain); diff != "" {
			t.Fatalf("a part of a transaction: %s", diff)
		}
	}
}

// conflicts lists the items for which a transaction was cancelled because another one was at them.
func conflicts(err error) (items []int) {
	cancelled, _ := errors.AsType[*types.TransactionCanceledException](err)
	if cancelled == nil {
		return nil
	}
	for i, r := range cancelled.CancellationReasons {
		if aws.ToString(r.Code) == "TransactionConflict" {
			items = append(items, i)
		}
	}
	return items
}
