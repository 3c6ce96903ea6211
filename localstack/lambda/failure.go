package lambda

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

// Buckets is where mappings keep what they gave up, if their failure destination is a bucket.
type Buckets interface {
	// Put writes an object as a principal, whose policies and the bucket's decide.
	Put(who *iam.Principal, bucket, key string, body []byte) error
}

// bucketOf returns the name of the bucket with an ARN; false for the ARN of anything else.
func bucketOf(arn string) (string, bool) {
	_, name, ok := strings.Cut(arn, ":s3:::")
	return name, ok
}

// mayKeep asks for what Lambda needs on a bucket or a queue as the function's role
// (https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html).
func (m *mapping) mayKeep(f *function) error {
	destination := m.DestinationConfig.OnFailure.Destination
	bucket, ok := bucketOf(destination)
	switch {
	case destination == "":
		return nil
	case !ok && (m.host.Queues == nil || !m.host.Queues.Has(destination)):
		return fmt.Errorf("property DestinationConfig: there is no queue %s", destination)
	case !ok:
		return m.may(f, []string{"sqs:SendMessage"}, destination)
	}
	if m.host.Buckets == nil {
		return fmt.Errorf("property DestinationConfig: there is no bucket %s", bucket)
	}
	if err := m.may(f, []string{"s3:ListBucket"}, destination); err != nil {
		return err
	}
	return m.may(f, []string{"s3:PutObject"}, destination+"/"+m.key(m.host.Now(), requestID()))
}

// key is the key of a batch that was given up.
func (m *mapping) key(at time.Time, id string) string {
	return fmt.Sprintf("aws/lambda/%s/%s/%s-%s", m.id, m.host.Streams.Shard(m.EventSourceArn), at.UTC().Format("2006/01/02/2006-01-02T15.04.05"), id)
}

// bury keeps a failed batch at its destination: a queue gets the message, a bucket the records too.
func (m *mapping) bury(records []Record, message map[string]any) {
	now := m.host.Now()
	message["timestamp"] = now.UTC().Format(time.RFC3339Nano)
	bucket, ok := bucketOf(m.DestinationConfig.OnFailure.Destination)
	if !ok {
		if err := m.send(message); err != nil {
			m.host.Log.Error("A failed batch could not be told to its queue", "destination", m.DestinationConfig.OnFailure.Destination, "cause", err)
		}
		return
	}
	message["payload"] = string(eventOf(records))
	if err := m.store(bucket, m.key(now, requestID()), message); err != nil {
		m.host.Log.Error("A failed batch could not be kept", "destination", bucket, "cause", err)
	}
}

func (m *mapping) store(bucket, key string, message map[string]any) error {
	raw, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encoding a failed batch: %w", err)
	}
	f, err := m.host.function(m.f)
	if err != nil {
		return err
	}
	who, err := m.host.principal(f)
	if err != nil {
		return err
	}
	return m.host.Buckets.Put(who, bucket, key, raw)
}
