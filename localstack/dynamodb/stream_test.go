package dynamodb_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	shapes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/stile-dev/stile/localstack/dynamodb"
)

func streaming(in *sdk.CreateTableInput) {
	in.StreamSpecification = &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages}
}

func streamOf(t testing.TB, c *sdk.Client, name string) string {
	t.Helper()
	out, err := c.DescribeTable(context.Background(), &sdk.DescribeTableInput{TableName: aws.String(name)})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.Table.LatestStreamArn)
}

func put(t testing.TB, c *sdk.Client, name string, i attrs) {
	t.Helper()
	if _, err := c.PutItem(context.Background(), &sdk.PutItemInput{TableName: aws.String(name), Item: i}); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsHaveTheShapeOfLambdasEvent(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	s := open(t, func(c *dynamodb.Config) { c.Now = func() time.Time { return at } })
	c := client(t, s)
	table(t, c, "ledger", streaming)
	put(t, c, "ledger", attrs{"pk": str("a"), "sk": str("1"), "n": num("1")})
	put(t, c, "ledger", attrs{"pk": str("a"), "sk": str("1"), "n": num("1")}) // changes nothing: no record
	put(t, c, "ledger", attrs{"pk": str("a"), "sk": str("1"), "n": num("2")})
	arn := streamOf(t, c, "ledger")
	records, err := s.Records(t.Context(), arn, "", 10)
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	text, err := json.Marshal(records[1])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"eventID":"` + records[1].EventID + `","eventName":"MODIFY","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-west-1",` +
		`"dynamodb":{"ApproximateCreationDateTime":1772600767,"Keys":{"pk":{"S":"a"},"sk":{"S":"1"}},` +
		`"NewImage":{"n":{"N":"2"},"pk":{"S":"a"},"sk":{"S":"1"}},"OldImage":{"n":{"N":"1"},"pk":{"S":"a"},"sk":{"S":"1"}},` +
		`"SequenceNumber":"100000000000000000002","SizeBytes":24,"StreamViewType":"NEW_AND_OLD_IMAGES"},"eventSourceARN":"` + arn + `"}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestRecordsWaitsForOneWithoutPolling(t *testing.T) {
	s := open(t)
	c := client(t, s)
	table(t, c, "ledger", streaming)
	arn, latest := streamOf(t, c, "ledger"), ""
	got := make(chan []dynamodb.Record, 1)
	go func() {
		records, err := s.Records(t.Context(), arn, latest, 10)
		if err != nil {
			t.Error(err)
		}
		got <- records
	}()
	put(t, c, "ledger", key("a", "1"))
	records := <-got
	if len(records) != 1 || records[0].EventName != "INSERT" {
		t.Fatalf("got %v", records)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Records(ctx, arn, records[0].Change.SequenceNumber, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
}

func TestStreamsAPIReadsFromEveryKindOfPlace(t *testing.T) {
	s := open(t)
	a := serve(t, s)
	c, r := a.as(t, "owner", everything), a.streams(t)
	table(t, c, "ledger", streaming)
	for _, sk := range []string{"1", "2", "3"} {
		put(t, c, "ledger", key("a", sk))
	}
	arn := streamOf(t, c, "ledger")
	told, err := r.DescribeStream(t.Context(), &streams.DescribeStreamInput{StreamArn: &arn})
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	shard := told.StreamDescription.Shards[0].ShardId
	read := func(kind shapes.ShardIteratorType, number string) []string {
		in := &streams.GetShardIteratorInput{StreamArn: &arn, ShardId: shard, ShardIteratorType: kind}
		if number != "" {
			in.SequenceNumber = &number
		}
		it, err := r.GetShardIterator(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := r.GetRecords(t.Context(), &streams.GetRecordsInput{ShardIterator: it.ShardIterator})
		if err != nil {
			t.Fatal(err)
		}
		if (out.NextShardIterator == nil) != ended {
			t.Errorf("next iterator %v of a shard that has ended: %v", out.NextShardIterator, ended)
		}
		var keys []string
		for _, rec := range out.Records {
			keys = append(keys, rec.Dynamodb.Keys["sk"].(*shapes.AttributeValueMemberS).Value)
		}
		return keys
	}
	const second = "100000000000000000002"
	if got := len(read(shapes.ShardIteratorTypeTrimHorizon, "")); got != 3 {
		t.Errorf("from the horizon: %d", got)
	}
	if got := read(shapes.ShardIteratorTypeAtSequenceNumber, second); len(got) != 2 || got[0] != "2" {
		t.Errorf("at the second: %v", got)
	}
	if got := read(shapes.ShardIteratorTypeAfterSequenceNumber, second); len(got) != 1 || got[0] != "3" {
		t.Errorf("after the second: %v", got)
	}
	if got := read(shapes.ShardIteratorTypeLatest, ""); len(got) != 0 {
		t.Errorf("latest: %v", got)
	}
	_, err = r.GetRecords(t.Context(), &streams.GetRecordsInput{ShardIterator: aws.String("garbage")})
	refused(t, err, "ValidationException", "Invalid ShardIterator")
	if _, err := c.DeleteTable(t.Context(), &sdk.DeleteTableInput{TableName: aws.String("ledger")}); err != nil {
		t.Fatal(err)
	}
	ended = true
	if got := read(shapes.ShardIteratorTypeAtSequenceNumber, second); len(got) != 2 {
		t.Errorf("after the table's end: %v", got)
	}
}

func TestExpiredItemsGoWithTheServicesIdentity(t *testing.T) {
	now := time.Now()
	s := open(t, func(c *dynamodb.Config) { c.SweepEvery = time.Millisecond })
	c := client(t, s)
	ttl := map[string]any{"TimeToLiveSpecification": map[string]any{"AttributeName": "exp", "Enabled": true}}
	if _, err := s.Provision(declared(t, "secrets", ttl)); err != nil {
		t.Fatal(err)
	}
	stamp := func(d time.Duration) types.AttributeValue { return num(jsonNumber(now.Add(d).Unix())) }
	put(t, c, "secrets", attrs{"pk": str("a"), "sk": str("later"), "exp": stamp(time.Hour)})
	put(t, c, "secrets", attrs{"pk": str("a"), "sk": str("ages ago"), "exp": num("12")})
	put(t, c, "secrets", attrs{"pk": str("a"), "sk": str("text"), "exp": str("12")})
	put(t, c, "secrets", attrs{"pk": str("a"), "sk": str("past"), "exp": stamp(-time.Hour)})
	arn, after := streamOf(t, c, "secrets"), ""
	for {
		records, err := s.Records(t.Context(), arn, after, 1)
		if err != nil {
			t.Fatal(err)
		}
		r := records[0]
		after = r.Change.SequenceNumber
		if r.EventName != "REMOVE" {
			continue
		}
		if r.UserIdentity == nil || r.UserIdentity.PrincipalID != "dynamodb.amazonaws.com" || r.UserIdentity.Type != "Service" {
			t.Errorf("removed by %+v", r.UserIdentity)
		}
		break
	}
	left, err := c.Scan(t.Context(), &sdk.ScanInput{TableName: aws.String("secrets")})
	if err != nil || left.Count != 3 {
		t.Errorf("%d left, %v", left.Count, err)
	}
}

func jsonNumber(n int64) string {
	text, _ := json.Marshal(n)
	return string(text)
}
