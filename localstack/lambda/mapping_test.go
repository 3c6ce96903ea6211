package lambda_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/lambda"
	"github.com/stile-dev/stile/localstack/resource"
)

const stream = "arn:aws:dynamodb:us-east-1:111122223333:table/state/stream/2026"

// tape is a stream in memory; sequence numbers are one digit.
type tape struct {
	mu      sync.Mutex
	records []lambda.Record
	more    chan struct{} // closed when a record is added
}

func newTape() *tape { return &tape{more: make(chan struct{})} }

func (s *tape) add(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := fmt.Sprint(len(s.records) + 1)
	s.records = append(s.records, lambda.Record{Sequence: n, Created: time.Now(), Event: json.RawMessage(event)})
	close(s.more)
	s.more = make(chan struct{})
}

func (s *tape) Shard(string) string { return "shard-1" }

func (s *tape) Records(ctx context.Context, _, after string, limit int) ([]lambda.Record, error) {
	for {
		s.mu.Lock()
		more := s.more
		var found []lambda.Record
		for _, r := range s.records {
			if r.Sequence > after && len(found) < limit {
				found = append(found, r)
			}
		}
		s.mu.Unlock()
		if len(found) > 0 {
			return found, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func mapTo(name string, more map[string]any) resource.Resource {
	properties := map[string]any{"EventSourceArn": stream, "FunctionName": name, "StartingPosition": "TRIM_HORIZON", "BatchSize": "10"}
	maps.Copy(properties, more)
	return resource.Resource{Stack: "S", LogicalID: "M", Type: "AWS::Lambda::EventSourceMapping", Properties: properties, PhysicalID: "map-1"}
}

func mayRead(t *testing.T, a *iam.Authority) {
	t.Helper()
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["dynamodb:DescribeStream","dynamodb:GetRecords","dynamodb:GetShardIterator"],"Resource":"` + stream + `"}]}`
	if _, err := a.PutRole(iam.Role{Name: "fn", Trust: json.RawMessage(trust("lambda.amazonaws.com")), Inline: map[string]iam.Inline{"stream": {Document: json.RawMessage(policy)}}}); err != nil {
		t.Fatal(err)
	}
}

func TestAMappingNeedsTheFunctionsRightsOnTheStream(t *testing.T) {
	w := newWorld(t, func(c *lambda.Config) { c.Streams = newTape() })
	w.put(t, "fn", nil)
	if _, err := w.Provision(mapTo("fn", nil)); err == nil || !strings.Contains(err.Error(), "may not dynamodb:DescribeStream") {
		t.Fatalf("error %v", err)
	}
	mayRead(t, w.Authority)
	if _, err := w.Provision(mapTo("fn", nil)); err != nil {
		t.Error(err)
	}
}

func TestAMappingDeliversFiltersAndKeepsItsPlace(t *testing.T) {
	source, seen := newTape(), filepath.Join(t.TempDir(), "seen")
	state := t.TempDir()
	start := func() world {
		w := newWorld(t, func(c *lambda.Config) { c.Streams, c.StateDir = source, state })
		mayRead(t, w.Authority)
		w.put(t, "fn", map[string]any{"Environment": map[string]any{"Variables": map[string]any{"KEEP": seen}}})
		filter := map[string]any{"Filters": []any{map[string]any{"Pattern": `{"eventName":["INSERT"]}`}}}
		if _, err := w.Provision(mapTo("fn", map[string]any{"FilterCriteria": filter})); err != nil {
			t.Fatal(err)
		}
		return w
	}
	kept := func() string { raw, _ := os.ReadFile(seen); return string(raw) }
	checkpoint := func(n string) func() bool {
		return func() bool {
			raw, _ := os.ReadFile(filepath.Join(state, "mapping-map-1.json"))
			return strings.Contains(string(raw), `"after":"`+n+`"`)
		}
	}
	source.add(`{"eventName":"INSERT","eventID":"one"}`)
	w := start()
	eventually(t, "the first record", func() bool { return strings.Contains(kept(), `"one"`) })
	source.add(`{"eventName":"MODIFY","eventID":"two"}`)
	eventually(t, "a checkpoint past the filtered record", checkpoint("2"))
	w.Close()
	source.add(`{"eventName":"INSERT","eventID":"three"}`)
	start()
	eventually(t, "the record that came meanwhile", func() bool { return strings.Contains(kept(), `"three"`) })
	eventually(t, "the last checkpoint", checkpoint("3"))
	if text := kept(); strings.Contains(text, `"two"`) || strings.Count(text, `"one"`) != 1 {
		t.Errorf("the function saw\n%s", text)
	}
}

// letters is a queue.
type letters struct {
	mu   sync.Mutex
	list []string
	who  string
}

const failures = "arn:aws:sqs:us-east-1:111122223333:failures"

func (l *letters) Has(arn string) bool { return arn == failures }

func (l *letters) Send(who *iam.Principal, _ map[string][]string, _, body string, _ map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list, l.who = append(l.list, body), who.RoleName
	return nil
}

func (l *letters) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

func TestABatchThatIsGivenUpGoesToItsQueue(t *testing.T) {
	source, queue := newTape(), &letters{}
	w := newWorld(t, func(c *lambda.Config) { c.Streams, c.Queues = source, queue })
	mayRead(t, w.Authority)
	w.put(t, "fn", map[string]any{"Environment": map[string]any{"Variables": map[string]any{"KEEP": "fail"}}})
	to := func(arn string) resource.Resource {
		return mapTo("fn", map[string]any{"MaximumRetryAttempts": json.Number("0"), "DestinationConfig": map[string]any{"OnFailure": map[string]any{"Destination": arn}}})
	}
	if _, err := w.Provision(to(failures)); err == nil || !strings.Contains(err.Error(), "may not sqs:SendMessage") {
		t.Errorf("without the permission: %v", err)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["dynamodb:DescribeStream","dynamodb:GetRecords","dynamodb:GetShardIterator"],"Resource":"` + stream + `"},` +
		`{"Effect":"Allow","Action":"sqs:SendMessage","Resource":"` + failures + `"}]}`
	if _, err := w.Authority.PutRole(iam.Role{Name: "fn", Trust: json.RawMessage(trust("lambda.amazonaws.com")), Inline: map[string]iam.Inline{"stream": {Document: json.RawMessage(policy)}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Provision(to(failures + "-gone")); err == nil || !strings.Contains(err.Error(), "there is no queue") {
		t.Errorf("a queue that is none: %v", err)
	}
	if _, err := w.Provision(to(failures)); err != nil {
		t.Fatal(err)
	}
	source.add(`{"eventID":"one"}`)
	eventually(t, "a message", func() bool { return len(queue.all()) == 1 })
	var message struct {
		DDBStreamBatchInfo struct{ ShardId, StartSequenceNumber, StreamArn string }
	}
	if err := json.Unmarshal([]byte(queue.all()[0]), &message); err != nil {
		t.Fatal(err)
	}
	if message.DDBStreamBatchInfo.ShardId != "shard-1" || message.DDBStreamBatchInfo.StartSequenceNumber != "1" || message.DDBStreamBatchInfo.StreamArn != stream || queue.who != "fn" {
		t.Errorf("message %+v, by %s", message, queue.who)
	}
}

// shelf is where batches go that were given up.
type shelf struct {
	mu   sync.Mutex
	kept map[string]string // by bucket and key
	who  string
}

func (s *shelf) Put(who *iam.Principal, bucket, key string, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[bucket+"/"+key], s.who = string(body), who.RoleName
	return nil
}

func (s *shelf) all() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.kept)
}

func TestABatchThatIsGivenUpGoesToItsBucketWithItsRecords(t *testing.T) {
	source, kept := newTape(), &shelf{kept: map[string]string{}}
	w := newWorld(t, func(c *lambda.Config) { c.Streams, c.Buckets = source, kept })
	mayRead(t, w.Authority)
	w.put(t, "fn", map[string]any{"Environment": map[string]any{"Variables": map[string]any{"KEEP": "fail"}}})
	to := mapTo("fn", map[string]any{
		"MaximumRetryAttempts": json.Number("0"), "DestinationConfig": map[string]any{"OnFailure": map[string]any{"Destination": "arn:aws:s3:::failures"}},
	})
	may := func(actions, resources string) {
		policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["dynamodb:DescribeStream","dynamodb:GetRecords","dynamodb:GetShardIterator"],"Resource":"` + stream + `"},` +
			`{"Effect":"Allow","Action":` + actions + `,"Resource":` + resources + `,"Condition":{"StringEquals":{"aws:ResourceAccount":"111122223333"}}}]}`
		if _, err := w.Authority.PutRole(iam.Role{Name: "fn", Trust: json.RawMessage(trust("lambda.amazonaws.com")), Inline: map[string]iam.Inline{"stream": {Document: json.RawMessage(policy)}}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ actions, resources, want string }{
		{`"s3:PutObject"`, `"arn:aws:s3:::failures/aws/lambda/*"`, "may not s3:ListBucket"},
		{`"s3:ListBucket"`, `"arn:aws:s3:::failures"`, "may not s3:PutObject"},
		{`["s3:ListBucket","s3:PutObject"]`, `["arn:aws:s3:::failures","arn:aws:s3:::failures/other/*"]`, "may not s3:PutObject"},
	} {
		may(c.actions, c.resources)
		if _, err := w.Provision(to); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s on %s: got %v, want …%s…", c.actions, c.resources, err, c.want)
		}
	}
	may(`["s3:ListBucket","s3:PutObject"]`, `["arn:aws:s3:::failures","arn:aws:s3:::failures/aws/lambda/*"]`)
	if _, err := w.Provision(to); err != nil {
		t.Fatal(err)
	}
	source.add(`{"eventID":"one"}`)
	eventually(t, "an object", func() bool { return len(kept.all()) == 1 })
	form := regexp.MustCompile(`^failures/aws/lambda/map-1/shard-1/\d{4}/\d\d/\d\d/\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d-[0-9a-f-]{36}$`)
	for key, body := range kept.all() {
		var message struct {
			Payload            string
			DDBStreamBatchInfo struct{ StartSequenceNumber string }
		}
		if err := json.Unmarshal([]byte(body), &message); err != nil {
			t.Fatal(err)
		}
		if !form.MatchString(key) || message.Payload != `{"Records":[{"eventID":"one"}]}` || message.DDBStreamBatchInfo.StartSequenceNumber != "1" || kept.who != "fn" {
			t.Errorf("%s: %s, by %s", key, body, kept.who)
		}
	}
}

// Each rule of "Configuring partial batch response with DynamoDB and Lambda" in the developer guide, for a batch of the
// records 1, 2 and 3, which is tried once more.
func TestAFunctionSaysWhichRecordsOfABatchFailed(t *testing.T) {
	const asked, whole = "ReportBatchItemFailures", "123 123"
	for name, c := range map[string]struct {
		answer, types string
		batches       string // that the function saw
		kept          string // what was given up
	}{
		"an empty list":                    {`{"batchItemFailures":[]}`, asked, "123", ""},
		"a list that is null":              {`{"batchItemFailures":null}`, asked, "123", ""},
		"an empty object":                  {`{}`, asked, "123", ""},
		"null":                             {`null`, asked, "123", ""},
		"an empty text":                    {`""`, asked, "123", ""},
		"nothing":                          {``, asked, "123", ""},
		"one record":                       {`{"batchItemFailures":[{"itemIdentifier":"2"}]}`, asked, "123 23", "23"},
		"the lowest of several":            {`{"batchItemFailures":[{"itemIdentifier":"3"},{"itemIdentifier":"2"},{"itemIdentifier":"3"}]}`, asked, "123 23", "23"},
		"more keys than are known":         {`{"batchItemFailures":[{"itemIdentifier":"3","why":"x"}],"more":1}`, asked, "123 3", "3"},
		"the first record":                 {`{"batchItemFailures":[{"itemIdentifier":"1"}]}`, asked, whole, "123"},
		"an empty identifier":              {`{"batchItemFailures":[{"itemIdentifier":"2"},{"itemIdentifier":""}]}`, asked, whole, "123"},
		"an identifier that is null":       {`{"batchItemFailures":[{"itemIdentifier":null}]}`, asked, whole, "123"},
		"an identifier that is a number":   {`{"batchItemFailures":[{"itemIdentifier":2}]}`, asked, whole, "123"},
		"an entry that is null":            {`{"batchItemFailures":[null]}`, asked, whole, "123"},
		"an unknown identifier":            {`{"batchItemFailures":[{"itemIdentifier":"3"},{"itemIdentifier":"9"}]}`, asked, whole, "123"},
		"an identifier under another name": {`{"batchItemFailures":[{"ItemIdentifier":"2"}]}`, asked, whole, "123"},
		"a list under another name":        {`{"BatchItemFailures":[{"itemIdentifier":"2"}]}`, asked, whole, "123"},
		"a list that is none":              {`{"batchItemFailures":{"itemIdentifier":"2"}}`, asked, whole, "123"},
		"no JSON":                          {`{"batchItemFailures":[`, asked, whole, "123"},
		"no object":                        {`["2"]`, asked, whole, "123"},
		"a report for which nobody asked":  {`{"batchItemFailures":[{"itemIdentifier":"2"}]}`, "", "123", ""},
		"no JSON, for which nobody asked":  {`{"batchItemFailures":[`, "", "123", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			batches, kept := reported(t, c.answer, c.types)
			if batches != c.batches || kept != c.kept {
				t.Errorf("it saw %s, and %q was given up; want %s and %q", batches, kept, c.batches, c.kept)
			}
		})
	}
}

// reported runs a mapping of three records to a function with one answer, and returns the batches that it saw, and the
// records that were given up.
func reported(t *testing.T, answer, types string) (batches, kept string) {
	t.Helper()
	source, bucket, seen := newTape(), &shelf{kept: map[string]string{}}, filepath.Join(t.TempDir(), "seen")
	for _, n := range []string{"1", "2", "3"} {
		source.add(`{"eventID":"` + n + `"}`)
	}
	w := newWorld(t, func(c *lambda.Config) { c.Streams, c.Buckets = source, bucket })
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["dynamodb:DescribeStream","dynamodb:GetRecords","dynamodb:GetShardIterator"],"Resource":"` + stream + `"},` +
		`{"Effect":"Allow","Action":["s3:ListBucket","s3:PutObject"],"Resource":["arn:aws:s3:::failures","arn:aws:s3:::failures/aws/lambda/*"]}]}`
	if _, err := w.Authority.PutRole(iam.Role{Name: "fn", Trust: json.RawMessage(trust("lambda.amazonaws.com")), Inline: map[string]iam.Inline{"stream": {Document: json.RawMessage(policy)}}}); err != nil {
		t.Fatal(err)
	}
	w.put(t, "fn", map[string]any{"Environment": map[string]any{"Variables": map[string]any{"KEEP": seen, "ANSWER": answer}}})
	more := map[string]any{"MaximumRetryAttempts": json.Number("1"), "DestinationConfig": map[string]any{"OnFailure": map[string]any{"Destination": "arn:aws:s3:::failures"}}}
	if types != "" {
		more["FunctionResponseTypes"] = []any{types}
	}
	if _, err := w.Provision(mapTo("fn", more)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the last checkpoint", func() bool {
		raw, _ := os.ReadFile(filepath.Join(w.state, "mapping-map-1.json"))
		return strings.Contains(string(raw), `"after":"3"`)
	})
	ids := func(event string) (text string) {
		var batch struct{ Records []struct{ EventID string } }
		if err := json.Unmarshal([]byte(event), &batch); err != nil {
			t.Fatal(err)
		}
		for _, r := range batch.Records {
			text += r.EventID
		}
		return text
	}
	raw, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(raw)) {
		all = append(all, ids(line))
	}
	for _, body := range bucket.all() {
		var message struct {
			Payload            string
			ResponseContext    map[string]any
			DDBStreamBatchInfo struct{ BatchSize int }
		}
		if err := json.Unmarshal([]byte(body), &message); err != nil {
			t.Fatal(err)
		}
		kept += ids(message.Payload)
		if _, threw := message.ResponseContext["functionError"]; threw || message.DDBStreamBatchInfo.BatchSize != len(kept) {
			t.Errorf("message %s", body)
		}
	}
	return strings.Join(all, " "), kept
}

func TestAMappingThatIsNotKnownWholeIsRefused(t *testing.T) {
	w := newWorld(t, func(c *lambda.Config) { c.Streams = newTape() })
	mayRead(t, w.Authority)
	w.put(t, "fn", nil)
	for want, more := range map[string]map[string]any{
		"FunctionResponseTypes: [\"Report\"] is not supported": {"FunctionResponseTypes": []any{"Report"}},
		"only ReportBatchItemFailures is, once":                {"FunctionResponseTypes": []any{"ReportBatchItemFailures", "ReportBatchItemFailures"}},
		"unknown field \"TumblingWindowInSeconds\"":            {"TumblingWindowInSeconds": "60"},
		"unknown field \"FunctionResponseType\"":               {"FunctionResponseType": []any{"ReportBatchItemFailures"}},
	} {
		if _, err := w.Provision(mapTo("fn", more)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
}

func TestSchedulesThatCannotRunAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	fn := "arn:aws:lambda:us-east-1:111122223333:function:fn"
	for _, r := range []lambda.Rule{
		{Name: "r", ARN: "a", Schedule: "cron(0 12 * * ? *)", Enabled: true, Targets: []string{fn}},
		{Name: "r", ARN: "a", Schedule: "rate(0 minutes)", Enabled: true, Targets: []string{fn}},
		{Name: "r", ARN: "a", Schedule: "rate(1 minute)", Enabled: true, Targets: []string{"arn:aws:sns:us-east-1:111122223333:topic"}},
	} {
		if err := w.Run(r); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
	if err := w.Run(lambda.Rule{Name: "r", ARN: "a", Schedule: "rate(5 minutes)", Enabled: true, Targets: []string{fn}}); err != nil {
		t.Error(err)
	}
}
