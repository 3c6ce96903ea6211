package dynamodb_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/localstack/dynamodb"
)

func TestItemsAndKeysAreRefusedAsAWSRefusesThem(t *testing.T) {
	c := client(t, open(t))
	table(t, c, "state")
	name := aws.String("state")
	for what, i := range map[string]struct {
		item    attrs
		message string
	}{
		"no sort key":     {attrs{"pk": str("a")}, "One or more parameter values were invalid: Missing the key sk in the item"},
		"wrong type":      {attrs{"pk": str("a"), "sk": num("1")}, "One or more parameter values were invalid: Type mismatch for key sk expected: S actual: N"},
		"empty key":       {key("", "1"), "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: pk"},
		"long hash key":   {key(strings.Repeat("x", 2049), "1"), "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes"},
		"long sort key":   {key("a", strings.Repeat("x", 1025)), "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes"},
		"over 400 KB":     {attrs{"pk": str("a"), "sk": str("1"), "v": str(strings.Repeat("x", 400*1024))}, "Item size has exceeded the maximum allowed size"},
		"too many digits": {attrs{"pk": str("a"), "sk": str("1"), "v": num(strings.Repeat("1", 39))}, "Attempting to store more than 38 significant digits in a Number"},
	} {
		_, err := c.PutItem(t.Context(), &sdk.PutItemInput{TableName: name, Item: i.item})
		t.Run(what, func(t *testing.T) { refused(t, err, "ValidationException", i.message) })
	}
	put(t, c, "state", attrs{"pk": str("a"), "sk": str("1"), "v": str(strings.Repeat("x", 400*1024-10))})
	_, err := c.UpdateItem(t.Context(), &sdk.UpdateItemInput{TableName: name, Key: key("a", "1"), UpdateExpression: aws.String("SET w = :w"), ExpressionAttributeValues: attrs{":w": str("0123456789")}})
	refused(t, err, "ValidationException", "Item size to update has exceeded the maximum allowed size")
	_, err = c.UpdateItem(t.Context(), &sdk.UpdateItemInput{TableName: name, Key: key("a", "1"), UpdateExpression: aws.String("SET sk = :w"), ExpressionAttributeValues: attrs{":w": str("0")}})
	refused(t, err, "ValidationException", "One or more parameter values were invalid: Cannot update attribute sk. This attribute is part of the key")
	_, err = c.GetItem(t.Context(), &sdk.GetItemInput{TableName: name, Key: attrs{"pk": str("a")}})
	refused(t, err, "ValidationException", "The provided key element does not match the schema")
	_, err = c.GetItem(t.Context(), &sdk.GetItemInput{TableName: aws.String("nowhere"), Key: key("a", "1")})
	refused(t, err, "ResourceNotFoundException", "Requested resource not found")
	_, err = c.PutItem(t.Context(), &sdk.PutItemInput{TableName: name, Item: key("a", "1"), ReturnValues: types.ReturnValueAllNew})
	refused(t, err, "ValidationException", "ReturnValues can only be ALL_OLD or NONE")
}

func TestAPageEndsAtOneMegabyte(t *testing.T) {
	c := client(t, open(t))
	table(t, c, "state")
	for n := range 4 {
		put(t, c, "state", attrs{"pk": str("a"), "sk": str(strconv.Itoa(n)), "v": str(strings.Repeat("x", 390*1024))})
	}
	in := &sdk.QueryInput{TableName: aws.String("state"), KeyConditionExpression: aws.String("pk = :p"), ExpressionAttributeValues: attrs{":p": str("a")}}
	first, err := c.Query(t.Context(), in)
	if err != nil || first.Count != 2 || first.LastEvaluatedKey == nil {
		t.Fatalf("first page: %d items, more: %v, %v", first.Count, first.LastEvaluatedKey != nil, err)
	}
	in.ExclusiveStartKey = first.LastEvaluatedKey
	second, err := c.Query(t.Context(), in)
	if err != nil || second.Count != 2 || second.LastEvaluatedKey != nil {
		t.Errorf("second page: %d items, more: %v, %v", second.Count, second.LastEvaluatedKey != nil, err)
	}
	in.ExclusiveStartKey = key("another", "1")
	_, err = c.Query(t.Context(), in)
	refused(t, err, "ValidationException", "The provided starting key is outside query boundaries based on provided conditions")
}

func TestBatchesAndTransactionsHaveTheirLimits(t *testing.T) {
	c := client(t, open(t))
	table(t, c, "state")
	var keys []map[string]types.AttributeValue
	var steps []types.TransactWriteItem
	for n := range 101 {
		k := key("a", strconv.Itoa(n))
		keys = append(keys, k)
		steps = append(steps, types.TransactWriteItem{Put: &types.Put{TableName: aws.String("state"), Item: k}})
	}
	get := func(keys []map[string]types.AttributeValue) (*sdk.BatchGetItemOutput, error) {
		return c.BatchGetItem(t.Context(), &sdk.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"state": {Keys: keys}}})
	}
	transact := func(i ...types.TransactWriteItem) error {
		_, err := c.TransactWriteItems(t.Context(), &sdk.TransactWriteItemsInput{TransactItems: i})
		return err
	}
	if err := transact(steps[:100]...); err != nil {
		t.Fatal(err)
	}
	if out, err := get(keys[:100]); err != nil || len(out.Responses["state"]) != 100 {
		t.Errorf("100 keys: %v", err)
	}
	_, err := get(keys)
	refused(t, err, "ValidationException", "Too many items requested for the BatchGetItem call")
	_, err = get([]map[string]types.AttributeValue{keys[0], keys[0]})
	refused(t, err, "ValidationException", "Provided list of item keys contains duplicates")
	refused(t, transact(steps...), "ValidationException", "1 validation error detected: Value '[101 items]' at 'transactItems' failed to satisfy constraint: Member must have length less than or equal to 100")
	refused(t, transact(steps[0], steps[0]), "ValidationException", "Transaction request cannot include multiple operations on one item")
	for n := range 11 {
		steps[n].Put.Item["v"] = str(strings.Repeat("x", 390*1024))
	}
	err = transact(steps[:11]...)
	refused(t, err, "ValidationException", fmt.Sprintf("Transaction payload size cannot exceed 4MB. Payload Size: %d", 10*(390*1024+7)+390*1024+8))
	bad := types.TransactWriteItem{Update: &types.Update{TableName: aws.String("state"), Key: key("z", "1"), UpdateExpression: aws.String("SET a = b")}}
	var cancelled *types.TransactionCanceledException
	if err := transact(steps[50], bad); !errors.As(err, &cancelled) || aws.ToString(cancelled.CancellationReasons[1].Code) != "ValidationError" ||
		aws.ToString(cancelled.CancellationReasons[1].Message) != "The provided expression refers to an attribute that does not exist in the item" {
		t.Errorf("a step that can't be done: %v", err)
	}
}

func TestARequestTokenStandsForOneRequestForTenMinutes(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	clock := func(c *dynamodb.Config) { c.Now, c.Dir, c.SweepEvery = func() time.Time { return now }, dir, time.Hour }
	count := func(c *sdk.Client, by string) error {
		_, err := c.TransactWriteItems(t.Context(), &sdk.TransactWriteItemsInput{
			ClientRequestToken: aws.String("token"),
			TransactItems: []types.TransactWriteItem{{Update: &types.Update{
				TableName: aws.String("state"), Key: key("a", "1"), UpdateExpression: aws.String("ADD n :n"), ExpressionAttributeValues: attrs{":n": num(by)},
			}}},
		})
		return err
	}
	s, err := dynamodb.Open(dynamodb.Config{Dir: dir, Account: "111122223333", Region: "eu-west-1", Now: func() time.Time { return now }, SweepEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, s)
	table(t, c, "state")
	if err := errors.Join(count(c, "1"), count(c, "1"), s.Close()); err != nil {
		t.Fatal(err)
	}
	c = client(t, open(t, clock)) // the token outlives the process
	if err := count(c, "1"); err != nil {
		t.Fatal(err)
	}
	var mismatch *types.IdempotentParameterMismatchException
	if err := count(c, "2"); !errors.As(err, &mismatch) {
		t.Errorf("another request with the token: %v", err)
	}
	now = now.Add(10*time.Minute + time.Second)
	if err := count(c, "2"); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetItem(t.Context(), &sdk.GetItemInput{TableName: aws.String("state"), Key: key("a", "1")})
	if err != nil || got.Item["n"].(*types.AttributeValueMemberN).Value != "3" {
		t.Errorf("counted %v, %v", got.Item["n"], err)
	}
}

func TestAnswersCarryTheirChecksumAndErrorsTheirType(t *testing.T) {
	a := serve(t, open(t))
	credentials := a.user(t, "raw", everything)
	for body, want := range map[string]string{
		`{"TableName":"nowhere","Key":{"pk":{"S":"a"}}}`:           `{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`,
		`{"TableName":"nowhere"}`:                                  `{"__type":"com.amazon.coral.validate#ValidationException","message":"1 validation error detected: Value null at 'key' failed to satisfy constraint: Member must not be null"}`,
		`{"TableName":5}`:                                          `{"__type":"com.amazon.coral.service#SerializationException","message":"NUMBER_VALUE cannot be converted to String"}`,
		`{"TableName":"nowhere","Key":{},"AttributesToGet":["a"]}`: `{"__type":"com.amazon.coral.validate#ValidationException","message":"The parameter AttributesToGet is not served here"}`,
		`{"TableName":"nowhere","Key":{"pk":{"S":"a"}}`:            `{"__type":"com.amazon.coral.service#SerializationException","message":"Unexpected end of payload or malformed JSON"}`,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", "DynamoDB_20120810.GetItem")
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
		keys, err := credentials.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, hex.EncodeToString(sum[:]), "dynamodb", "eu-west-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if string(text) != want || response.StatusCode != http.StatusBadRequest || response.Header.Get("X-Amzn-Requestid") == "" {
			t.Errorf("%s: got %d %s", body, response.StatusCode, text)
		}
		if got := response.Header.Get("X-Amz-Crc32"); got != strconv.FormatUint(uint64(crc32.ChecksumIEEE(text)), 10) {
			t.Errorf("%s: checksum %s", body, got)
		}
	}
}
