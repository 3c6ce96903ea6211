package sqs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/sqs"
)

const (
	account = "111122223333"
	arn     = "arn:aws:sqs:us-east-1:" + account + ":dead"
	url     = "https://sqs.us-east-1.amazonaws.com/" + account + "/dead"
	ruleARN = "arn:aws:events:us-east-1:" + account + ":rule/lake/all"
)

// world is a queue, and a client that may do anything with it and nothing with another.
type world struct {
	*sqs.Service
	t         *testing.T
	dir       string
	authority *iam.Authority
	client    *awssqs.Client
	front     *front

	mu  sync.Mutex
	now time.Time
}

// front is the service that the gate has, which a restart replaces.
type front struct{ gate.Service }

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	var err error
	w.authority, err = iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	w.must(err)
	w.open()
	w.front = &front{w.Service}
	g, err := gate.New(gate.Config{Authority: w.authority, Services: []gate.Service{w.front}})
	w.must(err)
	server := httptest.NewServer(g)
	t.Cleanup(func() {
		server.Close()
		for _, closer := range []io.Closer{w.Service, w.authority} {
			if err := closer.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	out, err := w.Provision(queue(nil))
	if err != nil || out.Ref != url || out.Attributes["Arn"] != arn {
		t.Fatalf("%+v %v", out, err)
	}
	role, err := w.authority.PutRole(iam.Role{
		Name:  "reader",
		Trust: json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(
			`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sqs:*","Resource":["` + arn + `","` + arn + `-gone"]}}`)}},
	})
	w.must(err)
	c, err := w.authority.Mint(role.ARN, "reader", time.Hour)
	w.must(err)
	w.client = awssqs.New(awssqs.Options{
		Region: "us-east-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
	})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open() {
	var err error
	w.Service, err = sqs.Open(sqs.Config{Dir: w.dir, Authority: w.authority, Now: w.Now})
	w.must(err)
}

func queue(edit func(map[string]any)) resource.Resource {
	p := map[string]any{"QueueName": "dead", "MessageRetentionPeriod": "1209600", "SqsManagedSseEnabled": true}
	if edit != nil {
		edit(p)
	}
	return resource.Resource{Stack: "Lake", LogicalID: "Queue", Type: "AWS::SQS::Queue", Properties: p}
}

func (w *world) send(body string) error {
	_, err := w.client.SendMessage(w.t.Context(), &awssqs.SendMessageInput{QueueUrl: aws.String(url), MessageBody: &body})
	return err
}

// receive takes messages; all but the first number are seconds of hiding and of waiting. The SDK leaves a 0 out.
func (w *world) receive(most, hidden, wait int32) []types.Message {
	w.t.Helper()
	out, err := w.client.ReceiveMessage(w.t.Context(), &awssqs.ReceiveMessageInput{
		QueueUrl: aws.String(url), MaxNumberOfMessages: most, VisibilityTimeout: hidden, WaitTimeSeconds: wait,
		MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	w.must(err)
	return out.Messages
}

func bodies(list []types.Message) string {
	var out []string
	for _, m := range list {
		out = append(out, *m.Body)
	}
	return strings.Join(out, " ")
}

func (w *world) counts() string {
	w.t.Helper()
	out, err := w.client.GetQueueAttributes(w.t.Context(), &awssqs.GetQueueAttributesInput{QueueUrl: aws.String(url), AttributeNames: []types.QueueAttributeName{"All"}})
	w.must(err)
	a := out.Attributes
	return a["ApproximateNumberOfMessages"] + " " + a["ApproximateNumberOfMessagesNotVisible"] + " " + a["ApproximateNumberOfMessagesDelayed"]
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestAMessageIsHiddenWhenItIsReceivedAndGoneWhenItIsDeleted(t *testing.T) {
	w := newWorld(t)
	_, err := w.client.SendMessage(t.Context(), &awssqs.SendMessageInput{QueueUrl: aws.String(url), MessageBody: aws.String("one"), MessageAttributes: map[string]types.MessageAttributeValue{
		"ERROR_CODE": {DataType: aws.String("String"), StringValue: aws.String("NO_PERMISSIONS")}, "B": {DataType: aws.String("Binary"), BinaryValue: []byte{1}},
	}})
	w.must(err)
	if got := w.counts(); got != "1 0 0" {
		t.Errorf("before: %s", got)
	}
	first := w.receive(10, 30, 0)
	if bodies(first) != "one" || *first[0].MessageAttributes["ERROR_CODE"].StringValue != "NO_PERMISSIONS" || first[0].Attributes["ApproximateReceiveCount"] != "1" ||
		*first[0].MD5OfMessageAttributes == "" {
		t.Fatalf("%+v", first)
	}
	if again := w.receive(10, 30, 0); len(again) != 0 || w.counts() != "0 1 0" {
		t.Errorf("while it is hidden: %+v, %s", again, w.counts())
	}
	w.pass(30 * time.Second)
	second := w.receive(10, 30, 0)
	if bodies(second) != "one" || second[0].Attributes["ApproximateReceiveCount"] != "2" || *second[0].ReceiptHandle == *first[0].ReceiptHandle {
		t.Fatalf("%+v", second)
	}
	for i, m := range []types.Message{first[0], second[0]} {
		_, err := w.client.DeleteMessage(t.Context(), &awssqs.DeleteMessageInput{QueueUrl: aws.String(url), ReceiptHandle: m.ReceiptHandle})
		w.must(err)
		if got, want := w.counts(), [2]string{"0 1 0", "0 0 0"}[i]; got != want {
			t.Errorf("after the deletion by handle %d: %s, want %s", i, got, want)
		}
	}
	_, err = w.client.DeleteMessage(t.Context(), &awssqs.DeleteMessageInput{QueueUrl: aws.String(url), ReceiptHandle: aws.String("none")})
	if code(err) != "ReceiptHandleIsInvalid" {
		t.Errorf("a handle that is none: %v", err)
	}
}

func TestMessagesOutliveARestartAndAreRetainedForATime(t *testing.T) {
	w := newWorld(t)
	w.must(w.send("one"))
	w.must(w.Service.Close())
	w.open()
	w.front.Service = w.Service
	if got := bodies(w.receive(1, 0, 0)); got != "one" {
		t.Errorf("after a restart: %q", got)
	}
	w.pass(14*24*time.Hour - time.Second)
	w.must(w.send("two"))
	if got := bodies(w.receive(10, 0, 0)); got != "one two" {
		t.Errorf("before it is too old: %q", got)
	}
	w.pass(31 * time.Second)
	if got := bodies(w.receive(10, 0, 0)); got != "two" {
		t.Errorf("after: %q", got)
	}
}

func TestReceivingWaitsForAMessage(t *testing.T) {
	w := newWorld(t)
	got := make(chan []types.Message)
	go func() {
		out, _ := w.client.ReceiveMessage(t.Context(), &awssqs.ReceiveMessageInput{QueueUrl: aws.String(url), WaitTimeSeconds: 20})
		if out == nil {
			out = &awssqs.ReceiveMessageOutput{}
		}
		got <- out.Messages
	}()
	w.must(w.send("late"))
	select {
	case list := <-got:
		if bodies(list) != "late" {
			t.Errorf("%+v", list)
		}
	case <-time.After(15 * time.Second):
		t.Error("nothing came")
	}
}

func TestABatchFailsEntryByEntry(t *testing.T) {
	w := newWorld(t)
	entry := func(id, body string) types.SendMessageBatchRequestEntry {
		return types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body}
	}
	batch := func(entries ...types.SendMessageBatchRequestEntry) (*awssqs.SendMessageBatchOutput, error) {
		return w.client.SendMessageBatch(t.Context(), &awssqs.SendMessageBatchInput{QueueUrl: aws.String(url), Entries: entries})
	}
	out, err := batch(entry("a", "one"), entry("b", "\x01"), entry("c", "three"))
	w.must(err)
	var good []string
	for _, s := range out.Successful {
		good = append(good, *s.Id)
	}
	if diff := cmp.Diff([]string{"a", "c"}, good); diff != "" || len(out.Failed) != 1 || *out.Failed[0].Id != "b" || *out.Failed[0].Code != "InvalidMessageContents" {
		t.Errorf("%+v: %s", out, diff)
	}
	if got := bodies(w.receive(10, 0, 0)); got != "one three" {
		t.Errorf("there is %q", got)
	}
	var eleven []types.SendMessageBatchRequestEntry
	for i := range 11 {
		eleven = append(eleven, entry(fmt.Sprint(i), "x"))
	}
	half := strings.Repeat("x", 128<<10)
	for want, entries := range map[string][]types.SendMessageBatchRequestEntry{
		"EmptyBatchRequest": {}, "TooManyEntriesInBatchRequest": eleven, "BatchEntryIdsNotDistinct": {entry("a", "x"), entry("a", "x")},
		"InvalidBatchEntryId": {entry("a b", "x")}, "BatchRequestTooLong": {entry("a", half), entry("b", half), entry("c", "x")},
	} {
		if _, err := batch(entries...); !strings.HasSuffix(code(err), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestWhatSQSWouldRefuseIsRefused(t *testing.T) {
	w := newWorld(t)
	large := strings.Repeat("x", 256<<10)
	w.must(w.send(large))
	if err := w.send(large + "x"); code(err) != "InvalidParameterValue" {
		t.Errorf("a message above 256 KiB: %v", err)
	}
	in := &awssqs.ReceiveMessageInput{QueueUrl: aws.String(url), MaxNumberOfMessages: 11}
	if _, err := w.client.ReceiveMessage(t.Context(), in); code(err) != "InvalidParameterValue" {
		t.Errorf("eleven messages: %v", err)
	}
	in.MaxNumberOfMessages, in.WaitTimeSeconds = 1, 21
	if _, err := w.client.ReceiveMessage(t.Context(), in); code(err) != "InvalidParameterValue" {
		t.Errorf("waiting for 21 s: %v", err)
	}
	for want, edit := range map[string]func(map[string]any){
		"MessageRetentionPeriod": func(p map[string]any) { p["MessageRetentionPeriod"] = 59 },
		"VisibilityTimeout":      func(p map[string]any) { p["VisibilityTimeout"] = 43201 },
		"FIFO":                   func(p map[string]any) { p["QueueName"] = "dead.fifo" },
		"RedrivePolicy":          func(p map[string]any) { p["RedrivePolicy"] = map[string]any{} },
	} {
		if _, err := w.Provision(queue(edit)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
	if _, err := w.Provision(queue(nil)); !errors.Is(err, resource.ErrExists) {
		t.Errorf("a second queue of that name: %v", err)
	}
}

func TestPurgingAndRemovingTakeTheMessages(t *testing.T) {
	w := newWorld(t)
	w.must(w.send("one"))
	_, err := w.client.PurgeQueue(t.Context(), &awssqs.PurgeQueueInput{QueueUrl: aws.String(url)})
	w.must(err)
	if got := w.counts(); got != "0 0 0" {
		t.Errorf("after purging: %s", got)
	}
	w.must(w.send("two"))
	r := queue(nil)
	r.PhysicalID = url
	for range 2 {
		w.must(w.Remove(r))
	}
	if err := w.send("three"); code(err) != "QueueDoesNotExist" && code(err) != "AWS.SimpleQueueService.NonExistentQueue" {
		t.Errorf("a queue that is gone: %v", err)
	}
	_, err = w.Provision(queue(nil))
	w.must(err)
	if got := w.counts(); got != "0 0 0" {
		t.Errorf("the next queue has %s", got)
	}
}

func TestServicesSendIfTheQueuesPolicyLetsThem(t *testing.T) {
	w := newWorld(t)
	events := iam.ServicePrincipal("events.amazonaws.com")
	from := func(rule string) error {
		return w.Send(events, map[string][]string{"aws:SourceArn": {rule}}, arn, "body", map[string]string{"RULE_ARN": rule})
	}
	if err := from(ruleARN); err == nil || !strings.Contains(err.Error(), "sqs:SendMessage") {
		t.Errorf("without a policy: %v", err)
	}
	policy := resource.Resource{Stack: "Lake", LogicalID: "Policy", Type: "AWS::SQS::QueuePolicy", Properties: map[string]any{
		"Queues": []any{url}, "PolicyDocument": map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
			"Effect": "Allow", "Principal": map[string]any{"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
			"Condition": map[string]any{"ArnEquals": map[string]any{"aws:SourceArn": ruleARN}},
		}}},
	}}
	out, err := w.Provision(policy)
	w.must(err)
	w.must(from(ruleARN))
	if err := from(ruleARN + "-other"); err == nil {
		t.Error("another rule may send")
	}
	if got := w.receive(10, 0, 0); bodies(got) != "body" || *got[0].MessageAttributes["RULE_ARN"].StringValue != ruleARN {
		t.Errorf("%+v", got)
	}
	policy.PhysicalID = out.Ref
	w.must(w.Remove(policy))
	if err := from(ruleARN); err == nil {
		t.Error("after the policy was taken away it may still send")
	}
	policy.Properties["Queues"] = []any{arn}
	if _, err := w.Provision(policy); err == nil || !strings.Contains(err.Error(), "by their URLs") {
		t.Errorf("a policy of an ARN: %v", err)
	}
}

func TestAnotherQueueIsForbidden(t *testing.T) {
	w := newWorld(t)
	for name, want := range map[string]string{"other": "AccessDenied", "dead-gone": "DoesNotExist"} {
		_, err := w.client.SendMessage(t.Context(), &awssqs.SendMessageInput{QueueUrl: aws.String(strings.Replace(url, "dead", name, 1)), MessageBody: aws.String("x")})
		if !strings.Contains(code(err), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}
