package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// streamLimit bounds how long Lambda takes to see a change: a new mapping needs minutes on AWS.
const streamLimit = 6 * time.Minute

// batch is what the suite's program wrote down about one batch of a stream.
type batch struct {
	Keys   []string
	Failed bool
}

func batches(t *testing.T, name string) []batch {
	t.Helper()
	found, err := notes(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]batch, len(found))
	for i, raw := range found {
		if err := json.Unmarshal([]byte(raw), &all[i]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// done lists the keys of a run whose batch succeeded, in order and without the run.
func done(all []batch, run string) []string {
	var keys []string
	for _, b := range all {
		for _, key := range b.Keys {
			if bare, ours := strings.CutSuffix(key, run); ours && !b.Failed {
				keys = append(keys, bare)
			}
		}
	}
	return keys
}

// change writes items of the world's table, one after the other, run behind each sort key. One whose sort key ends in
// "bad" fails its batch.
func change(t *testing.T, run, pk string, sks ...string) {
	t.Helper()
	c, table := dynamoClient(here.Config), here.Outputs["Table"]
	for _, sk := range sks {
		item := at(pk, sk+run)
		if strings.HasSuffix(sk, "bad") {
			item["fail"] = text("yes")
		}
		if _, err := c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item}); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitKey waits until a key's batch succeeded.
func awaitKey(t *testing.T, run, name, key string) []batch {
	t.Helper()
	var all []batch
	await(t, streamLimit, key+" in "+name, func(context.Context) (bool, error) {
		all = batches(t, name)
		return slices.Contains(done(all, run), key), nil
	})
	return all
}

func TestStreamsReachTheirFunctionInOrderAndFiltered(t *testing.T) {
	t.Parallel()
	run := nonce()
	change(t, run, "other", "order-0")
	change(t, run, "role", "order-1", "order-2", "order-3")
	change(t, run, "other", "order-4")
	change(t, run, "role", "order-5")
	all := awaitKey(t, run, "stream-stream", "role/order-5")
	saw(t, "streams/mapping/order", strings.Join(done(all, run), " "),
		"role/order-1 role/order-2 role/order-3 role/order-5")
	saw(t, "streams/mapping/filter", fmt.Sprint(strings.Contains(fmt.Sprint(all), "other/")), "false")
}

func TestStreamsSetABadRecordAside(t *testing.T) {
	t.Parallel()
	run := nonce()
	change(t, run, "lock", "aside-1", "aside-2-bad", "aside-3", "aside-4")
	all := awaitKey(t, run, "stream-stream", "lock/aside-4")
	keys := done(all, run)
	slices.Sort(keys)
	saw(t, "streams/mapping/bisect", strings.Join(slices.Compact(keys), " "), "lock/aside-1 lock/aside-3 lock/aside-4")
	alone := 0
	for _, b := range all {
		if slices.Equal(b.Keys, []string{"lock/aside-2-bad" + run}) {
			alone++
		}
	}
	saw(t, "streams/mapping/retries", fmt.Sprintf("at least %d tries of the record alone", min(alone, 2)),
		"at least 2 tries of the record alone")
	var messages []string
	await(t, streamLimit, "the failed batch", func(ctx context.Context) (bool, error) {
		got, err := here.Queue(ctx, here.Outputs["Failures"])
		messages = append(messages, got...)
		return len(messages) > 0, err
	})
	saw(t, "streams/mapping/failure-destination", shape(t, messages[0]), failure)
}

// failure is what a queue gets of a batch that was given up, without values that differ.
const failure = `DDBStreamBatchInfo.approximateArrivalOfFirstRecord string
DDBStreamBatchInfo.approximateArrivalOfLastRecord string
DDBStreamBatchInfo.batchSize 1
DDBStreamBatchInfo.endSequenceNumber string
DDBStreamBatchInfo.shardId string
DDBStreamBatchInfo.startSequenceNumber string
DDBStreamBatchInfo.streamArn string
requestContext.approximateInvokeCount number
requestContext.condition "RetryAttemptsExhausted"
requestContext.functionArn string
requestContext.requestId string
responseContext.executedVersion "$LATEST"
responseContext.functionError "Unhandled"
responseContext.statusCode 200
timestamp string
version "1.0"`

// A bucket gets the records too: whoever looks into a batch that was given up has more than a day for it.
func TestABucketKeepsWhatAStreamGaveUp(t *testing.T) {
	t.Parallel()
	key, table := "kept-bad"+nonce(), here.Outputs["KeptTable"]
	item := at("kept", key)
	item["fail"] = text("yes")
	if _, err := dynamoClient(here.Config).PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item}); err != nil {
		t.Fatal(err)
	}
	c, where, kept := s3Client(here.Config), "", ""
	await(t, streamLimit, "the failed batch", func(ctx context.Context) (bool, error) {
		out, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &here.Bucket, Prefix: aws.String("aws/lambda/")})
		if err != nil {
			return false, err
		}
		for _, o := range out.Contents {
			body, err := get(t, c, *o.Key)
			if err != nil {
				return false, err
			}
			if strings.Contains(body, key) {
				where, kept = *o.Key, body
				return true, nil
			}
		}
		return false, nil
	})
	saw(t, "streams/mapping/failure-bucket", fmt.Sprintf("key of the form %v\n%s", keptAt.MatchString(where), shape(t, kept)),
		"key of the form true\n"+strings.Replace(failure, "requestContext.approx", "payload string\nrequestContext.approx", 1))
}

func TestARecordThatIsReportedIsTriedAgainWithThoseBehindIt(t *testing.T) {
	t.Parallel()
	run, table := nonce(), here.Outputs["KeptTable"]
	for _, sk := range []string{"1", "2", "3"} {
		item := at("report", sk+run)
		if sk == "2" {
			item["report"] = text("yes")
		}
		if _, err := dynamoClient(here.Config).PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	var keys []string
	await(t, streamLimit, "the record that was reported", func(context.Context) (bool, error) {
		keys = done(batches(t, "stream-report"), run)
		again := strings.Join(keys, " ")
		return strings.Count(again, "report/2") > 1 && strings.HasSuffix(again, "report/3"), nil
	})
	count := map[string]int{}
	for _, key := range keys {
		count[key]++
	}
	saw(t, "streams/mapping/report", fmt.Sprintf("the first %d times, the one that was reported %d times", count["report/1"], count["report/2"]),
		"the first 1 times, the one that was reported 2 times")
}

// keptAt is where a batch is kept: the mapping, its shard, the day, and the second with a random id.
var keptAt = regexp.MustCompile(`^aws/lambda/[0-9a-f-]{36}/[^/]+/\d{4}/\d\d/\d\d/\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d-[0-9a-f-]{36}$`)

// telling are the fields whose values are worth recording; of others the kind is.
var telling = []string{"condition", "functionError", "executedVersion", "version"}

// shape lists the fields of a JSON object of objects.
func shape(t *testing.T, raw string) string {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(raw), &object); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	var lines []string
	var walk func(path string, v any)
	walk = func(path string, v any) {
		name := path[strings.LastIndex(path, ".")+1:]
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				walk(strings.TrimPrefix(path+"."+key, "."), value)
			}
		case string:
			if slices.Contains(telling, name) {
				lines = append(lines, fmt.Sprintf("%s %q", path, v))
				return
			}
			lines = append(lines, path+" string")
		case float64:
			if name == "approximateInvokeCount" {
				lines = append(lines, path+" number")
				return
			}
			lines = append(lines, fmt.Sprintf("%s %v", path, v))
		default:
			lines = append(lines, fmt.Sprintf("%s %v", path, v))
		}
	}
	walk("", object)
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestARoleMayDemandTheAccountOfLambda(t *testing.T) {
	t.Parallel()
	given := here.code()
	given["Stream"] = here.Outputs["Stream"]
	outputs, err := here.Stacks.Deploy(t.Context(), "trust", given)
	if absent(t, "lambda/role/source-account") && absent(t, "streams/role/source-account") {
		if err == nil || !strings.Contains(err.Error(), "cannot be assumed by Lambda") {
			t.Errorf("error %v, want the role's trust to refuse Lambda", err)
		}
		return
	}
	if err != nil {
		saw(t, "lambda/role/source-account", "no stack: "+err.Error(), "invoked")
		saw(t, "streams/role/source-account", "no stack", "delivered")
		return
	}
	got := invoked(t, lambdaClient(here.Config), outputs["Function"], `{"do":"nothing"}`, "RequestResponse")
	if strings.HasPrefix(got, "200 \n") {
		got = "invoked"
	}
	saw(t, "lambda/role/source-account", got, "invoked")
	change(t, nonce(), "trust", "one")
	delivered := "delivered"
	err = poll(t.Context(), streamLimit, func() (bool, error) {
		found, err := notes(t.Context(), "stream-trusting")
		return len(found) > 0, err
	})
	if err != nil {
		delivered = "nothing came"
	}
	saw(t, "streams/role/source-account", delivered, "delivered")
}
