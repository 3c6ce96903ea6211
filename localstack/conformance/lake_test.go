package conformance_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/parquet-go/parquet-go"
)

// lakeLimit is how long what was put takes to be in the bucket.
const lakeLimit = 5 * time.Minute

// lake is the stack of a bus, queues, and a delivery stream that converts. It is made once.
func lake(t *testing.T) map[string]string {
	t.Helper()
	outputs, err := lakeOnce()
	if err != nil {
		t.Fatal(err)
	}
	return outputs
}

var lakeOnce = sync.OnceValues(func() (map[string]string, error) {
	return here.Stacks.Deploy(context.Background(), "lake", map[string]string{
		"Prefix": here.Prefix, "Role": here.RoleARN, "Name": strings.ReplaceAll(here.Prefix, "-", "_"),
	})
})

func firehoseClient(c aws.Config) *firehose.Client {
	return firehose.NewFromConfig(c, func(o *firehose.Options) {
		if here.Endpoint != "" {
			o.BaseEndpoint = aws.String(here.Endpoint)
		}
	})
}

func sqsClient(c aws.Config) *sqs.Client {
	return sqs.NewFromConfig(c, func(o *sqs.Options) {
		if here.Endpoint != "" {
			o.BaseEndpoint = aws.String(here.Endpoint)
		}
	})
}

// flush has the local AWS deliver what streams keep. On AWS that takes a minute.
func flush(t *testing.T) {
	t.Helper()
	if onAWS() {
		return
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, here.Endpoint+"/_local/flush", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := do(t, r); got.Status != http.StatusNoContent {
		t.Errorf("flushing: %d %s", got.Status, got.Body)
	}
}

// lakeRow is a row of the table as it is read.
type lakeRow struct {
	ID         *string            `parquet:"id,optional"`
	Count      *int32             `parquet:"count,optional"`
	Size       *int64             `parquet:"size,optional"`
	OK         *bool              `parquet:"ok,optional"`
	Tags       []*string          `parquet:"tags,optional,list"`
	Attributes map[string]*string `parquet:"attributes,optional" parquet-value:",optional"`
}

// lakeObjects are those of the lake below a prefix, with what they hold.
func lakeObjects(t *testing.T, bucket, prefix string) (map[string][]byte, error) {
	t.Helper()
	client := s3Client(here.Config)
	list, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for _, o := range list.Contents {
		got, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: o.Key})
		if err != nil {
			return nil, err
		}
		all[*o.Key], err = io.ReadAll(got.Body)
		if err = errors.Join(err, got.Body.Close()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// awaitRow waits for the row of an id, and the key of the object that has it.
func awaitRow(t *testing.T, id string) (row lakeRow, key string) {
	t.Helper()
	bucket := lake(t)["Bucket"]
	flush(t)
	if err := poll(t.Context(), lakeLimit, func() (bool, error) {
		all, err := lakeObjects(t, bucket, "events/")
		if err != nil {
			return false, err
		}
		for name, body := range all {
			rows, err := parquet.Read[lakeRow](bytes.NewReader(body), int64(len(body)))
			if err != nil {
				return false, fmt.Errorf("%s: %w", name, err)
			}
			for _, r := range rows {
				if aws.ToString(r.ID) == id {
					row, key = r, name
					return true, nil
				}
			}
		}
		return false, fmt.Errorf("no row %s in %d objects", id, len(all))
	}); err != nil {
		t.Fatal(err)
	}
	return row, key
}

func TestRecordsBecomeRowsInTheBucket(t *testing.T) {
	t.Parallel()
	holds(t, "firehose/convert/columns")
	holds(t, "firehose/convert/key")
	stream, id := lake(t)["Stream"], rand.Text()
	before := time.Now().UTC()
	_, err := firehoseClient(here.Config).PutRecord(t.Context(), &firehose.PutRecordInput{DeliveryStreamName: &stream, Record: &types.Record{
		Data: []byte(`{"ID":"` + id + `","count":7,"Size":"9007199254740993","ok":true,"time":"2026-03-04T05:06:07Z","tags":["a","b"],"attributes":{"k":"v"},"other":1}`),
	}})
	if err != nil {
		t.Fatal(err)
	}
	row, key := awaitRow(t, id)
	var tags []string
	for _, one := range row.Tags {
		tags = append(tags, aws.ToString(one))
	}
	if aws.ToInt32(row.Count) != 7 || aws.ToInt64(row.Size) != 9007199254740993 || !aws.ToBool(row.OK) || strings.Join(tags, " ") != "a b" || aws.ToString(row.Attributes["k"]) != "v" {
		t.Errorf("row %+v", row)
	}
	rest := strings.TrimPrefix(key, "events/day="+before.Format(time.DateOnly)+"/"+stream+"-1-")
	if rest == key && before.Format(time.DateOnly) == time.Now().UTC().Format(time.DateOnly) || !strings.HasSuffix(key, ".parquet") {
		t.Errorf("key %s", key)
	}
}

func TestWhatIsNoRowGoesToThePrefixOfErrors(t *testing.T) {
	t.Parallel()
	holds(t, "firehose/convert/failed")
	outputs, id := lake(t), rand.Text()
	bad := map[string]string{`{"id":"` + id: "DataFormatConversion.ParseError", `{"id":"` + id + `","count":"many"}`: "DataFormatConversion.MalformedData"}
	in := &firehose.PutRecordBatchInput{DeliveryStreamName: aws.String(outputs["Stream"])}
	for _, data := range append(slices.Sorted(maps.Keys(bad)), `{"id":"`+id+`-good"}`) {
		in.Records = append(in.Records, types.Record{Data: []byte(data)})
	}
	out, err := firehoseClient(here.Config).PutRecordBatch(t.Context(), in)
	if err != nil || aws.ToInt32(out.FailedPutCount) != 0 || len(out.RequestResponses) != 3 {
		t.Fatalf("%+v %v", out, err)
	}
	awaitRow(t, id+"-good")
	seen := map[string]string{}
	err = poll(t.Context(), lakeLimit, func() (bool, error) {
		all, err := lakeObjects(t, outputs["Bucket"], "failed/format-conversion-failed/")
		for _, body := range all {
			for line := range bytes.Lines(body) {
				var e struct {
					LastErrorCode string
					RawData       []byte
				}
				if json.Unmarshal(line, &e) == nil && bad[string(e.RawData)] != "" {
					seen[string(e.RawData)] = e.LastErrorCode
				}
			}
		}
		return len(seen) == len(bad), err
	})
	if err != nil || fmt.Sprint(seen) != fmt.Sprint(bad) {
		t.Errorf("%v: %v", err, seen)
	}
}

func TestFirehoseRefusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	holds(t, "firehose/put/limits")
	stream := lake(t)["Stream"]
	batch := func(n, size int) error {
		in := &firehose.PutRecordBatchInput{DeliveryStreamName: &stream}
		for range n {
			in.Records = append(in.Records, types.Record{Data: bytes.Repeat([]byte("x"), size)})
		}
		_, err := firehoseClient(here.Config).PutRecordBatch(t.Context(), in)
		return err
	}
	wantCode(t, batch(501, 1), "ValidationException")
	wantCode(t, batch(1, 1000<<10+1), "ValidationException")
	wantCode(t, batch(5, 900<<10), "InvalidArgumentException")
}

func TestPuttingRecordsNeedsItsPermission(t *testing.T) {
	t.Parallel()
	holds(t, "firehose/put/permission")
	outputs := lake(t)
	in := &firehose.PutRecordInput{DeliveryStreamName: aws.String(outputs["Stream"]), Record: &types.Record{Data: []byte(`{}`)}}
	_, err := firehoseClient(narrowed(t, allow("firehose:PutRecord", outputs["StreamARN"]+"-another"))).PutRecord(t.Context(), in)
	wantCode(t, err, "AccessDeniedException")
	out, err := firehoseClient(here.Config).DescribeDeliveryStream(t.Context(), &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: in.DeliveryStreamName})
	if err != nil || out.DeliveryStreamDescription.DeliveryStreamStatus != types.DeliveryStreamStatusActive {
		t.Errorf("described: %+v %v", out, err)
	}
	in.DeliveryStreamName = aws.String(outputs["Stream"] + "-gone")
	_, err = firehoseClient(here.Config).PutRecord(t.Context(), in)
	wantCode(t, err, "ResourceNotFoundException")
}

// lakeEvent puts an event on the lake's bus.
func lakeEvent(t *testing.T, source, id string) {
	t.Helper()
	bus := lake(t)["Bus"]
	out, err := eventsClient(here.Config).PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{{
		EventBusName: &bus, Source: &source, DetailType: aws.String("made"), Detail: aws.String(`{"id":"` + id + `"}`),
	}}})
	if err != nil || out.FailedEntryCount != 0 {
		t.Fatalf("%+v %v", out, err)
	}
}

func TestARuleOfABusReachesAStreamAndAQueue(t *testing.T) {
	t.Parallel()
	holds(t, "events/rule/firehose")
	holds(t, "events/rule/queue")
	id := rand.Text()
	lakeEvent(t, "stile.other", id+"-other")
	lakeEvent(t, "stile.lake", id)
	var messages []string
	if err := poll(t.Context(), lakeLimit, func() (bool, error) {
		got, err := here.Queue(t.Context(), lake(t)["Inbox"])
		messages = append(messages, got...)
		return len(messages) > 0, err
	}); err != nil {
		t.Fatal(err)
	}
	if len(messages) != 1 || messages[0] != `{"id":"`+id+`"}` {
		t.Errorf("the queue got %q", messages)
	}
	row, _ := awaitRow(t, id)
	if len(row.Tags) != 1 || *row.Tags[0] != "from "+id {
		t.Errorf("row %+v", row)
	}
}

func TestWhatARuleMayNotDeliverGoesToItsQueue(t *testing.T) {
	t.Parallel()
	holds(t, "events/rule/dead-letter")
	outputs, id := lake(t), rand.Text()
	lakeEvent(t, "stile.forbidden", id)
	var m sqstypes.Message
	if err := poll(t.Context(), lakeLimit, func() (bool, error) {
		out, err := sqsClient(here.Config).ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: aws.String(outputs["Dead"]), WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"},
		})
		if err != nil || len(out.Messages) == 0 {
			return false, err
		}
		m = out.Messages[0]
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	var e struct {
		Source string
		Detail struct{ ID string }
	}
	if err := json.Unmarshal([]byte(*m.Body), &e); err != nil || e.Source != "stile.forbidden" || e.Detail.ID != id {
		t.Errorf("body %s: %v", *m.Body, err)
	}
	attribute := func(name string) string { return aws.ToString(m.MessageAttributes[name].StringValue) }
	if attribute("ERROR_CODE") != "NO_PERMISSIONS" || attribute("ERROR_MESSAGE") == "" || attribute("RULE_ARN") != outputs["Forbidden"] || attribute("TARGET_ARN") != outputs["StreamARN"] {
		t.Errorf("attributes %+v", m.MessageAttributes)
	}
}

func TestAMessageIsHiddenUntilItIsDeleted(t *testing.T) {
	t.Parallel()
	holds(t, "sqs/batch")
	holds(t, "sqs/visibility")
	client, url := sqsClient(here.Config), lake(t)["Work"]
	if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("one")}); err != nil {
		t.Fatal(err)
	}
	receive := func() (m sqstypes.Message) {
		t.Helper()
		if err := poll(t.Context(), time.Minute, func() (bool, error) {
			out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 20})
			if err == nil && len(out.Messages) > 0 {
				m = out.Messages[0]
			}
			return m.Body != nil, err
		}); err != nil {
			t.Fatal(err)
		}
		return m
	}
	began := time.Now()
	first, second := receive(), receive()
	if *first.MessageId != *second.MessageId || *first.ReceiptHandle == *second.ReceiptHandle || time.Since(began) < 1500*time.Millisecond {
		t.Errorf("after %v: %+v, then %+v", time.Since(began), first, second)
	}
	if _, err := client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: second.ReceiptHandle}); err != nil {
		t.Error(err)
	}
	out, err := client.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: []sqstypes.SendMessageBatchRequestEntry{
		{Id: aws.String("a"), MessageBody: aws.String("two")}, {Id: aws.String("b"), MessageBody: aws.String("\x01")},
	}})
	if err != nil || len(out.Successful) != 1 || len(out.Failed) != 1 || *out.Failed[0].Id != "b" {
		t.Fatalf("%+v %v", out, err)
	}
	if m := receive(); *m.Body != "two" {
		t.Errorf("what was deleted came again: %s", *m.Body)
	}
	if _, err := client.PurgeQueue(t.Context(), &sqs.PurgeQueueInput{QueueUrl: &url}); err != nil {
		t.Error(err)
	}
	if err := poll(t.Context(), 2*time.Minute, func() (bool, error) {
		got, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
		if err != nil {
			return false, err
		}
		return got.Attributes["ApproximateNumberOfMessages"] == "0" && got.Attributes["ApproximateNumberOfMessagesNotVisible"] == "0", nil
	}); err != nil {
		t.Errorf("after purging: %v", err)
	}
	_, err = sqsClient(narrowed(t, allow("sqs:ReceiveMessage", "*"))).SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("x")})
	if err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("without sqs:SendMessage: %v", err)
	}
}
