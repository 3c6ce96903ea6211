package firehose

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// Limits, from "Amazon Data Firehose Quota" in its developer guide and from the pages of PutRecord and PutRecordBatch.
const (
	maxRecord  = 1000 << 10 // bytes, before base64
	maxRecords = 500        // of a batch
	maxBatch   = 4 << 20    // bytes of a batch
	maxRate    = 5 << 20    // bytes a second, of a stream in us-east-1, us-west-2 and eu-west-1
	lowRate    = 1 << 20    // and in any other Region
)

// maxWaiting is how many bytes a stream keeps here while it cannot deliver. AWS keeps a day's.
const maxWaiting = 1 << 30

// record is what was put, and when.
type record struct {
	Arrived time.Time
	Data    []byte
}

// readRecord reads what [record.bytes] wrote. Data stays that of raw.
func readRecord(raw []byte) record {
	return record{Arrived: time.Unix(0, int64(binary.BigEndian.Uint64(raw))).UTC(), Data: raw[8:]}
}

func (r record) bytes() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(r.Arrived.UnixNano())), r.Data...)
}

// bucket has a second's worth of bytes at most, and fills up again in one.
type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) take(n int, rate float64, now time.Time) bool {
	if b.at.IsZero() {
		b.left = rate
	} else {
		b.left = min(rate, b.left+rate*max(0, now.Sub(b.at).Seconds()))
	}
	b.at = now
	if b.left < float64(n) {
		return false
	}
	b.left -= float64(n)
	return true
}

type putEntry struct{ Data []byte }

func checkRecord(e putEntry, at string) error {
	if len(e.Data) > maxRecord {
		return invalid("Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", at, maxRecord)
	}
	return nil
}

const slowDown = "Slow down."

func (s *Service) putRecord(c *gate.Call) (any, error) {
	var in struct {
		DeliveryStreamName string
		Record             putEntry
	}
	if err := gate.ReadJSON(c, &in); err != nil {
		return nil, err
	}
	if err := checkRecord(in.Record, "record.data"); err != nil {
		return nil, err
	}
	t, err := s.find(c, "PutRecord", in.DeliveryStreamName)
	if err != nil {
		return nil, err
	}
	ids, err := s.take(t, []putEntry{in.Record})
	switch {
	case err != nil:
		return nil, err
	case ids[0] == "":
		return nil, &gate.Error{Code: "ServiceUnavailableException", Status: 503, Message: slowDown}
	}
	return map[string]any{"RecordId": ids[0], "Encrypted": false}, nil
}

func (s *Service) putRecordBatch(c *gate.Call) (any, error) {
	var in struct {
		DeliveryStreamName string
		Records            []putEntry
	}
	if err := gate.ReadJSON(c, &in); err != nil {
		return nil, err
	}
	switch n := len(in.Records); {
	case n == 0:
		return nil, invalid("Value '[]' at 'records' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case n > maxRecords:
		return nil, invalid("Value at 'records' failed to satisfy constraint: Member must have length less than or equal to %d", maxRecords)
	}
	total := 0
	for i, e := range in.Records {
		if err := checkRecord(e, fmt.Sprintf("records.%d.member.data", i+1)); err != nil {
			return nil, err
		}
		total += len(e.Data)
	}
	if total > maxBatch {
		return nil, &gate.Error{Code: "InvalidArgumentException", Message: "Records size exceeds 4 MB limit"}
	}
	t, err := s.find(c, "PutRecordBatch", in.DeliveryStreamName)
	if err != nil {
		return nil, err
	}
	ids, err := s.take(t, in.Records)
	if err != nil {
		return nil, err
	}
	responses, failed := make([]map[string]any, len(ids)), 0
	for i, id := range ids {
		if responses[i] = map[string]any{"RecordId": id}; id == "" {
			failed++
			responses[i] = map[string]any{"ErrorCode": "ServiceUnavailableException", "ErrorMessage": slowDown}
		}
	}
	return map[string]any{"FailedPutCount": failed, "Encrypted": false, "RequestResponses": responses}, nil
}

// take keeps records on disk and returns their ids: none for one that comes too fast, or for which there is no room.
func (s *Service) take(t *stream, entries []putEntry) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[t.kept.Name] != t {
		return nil, &gate.Error{Code: "ResourceNotFoundException", Message: "Firehose " + t.kept.Name + " is being deleted."}
	}
	now, rate := s.config.Now().UTC(), float64(lowRate)
	switch s.config.Authority.Region() {
	case "us-east-1", "us-west-2", "eu-west-1":
		rate = maxRate
	}
	ids, size := make([]string, len(entries)), t.size
	var taken []record
	for i, e := range entries {
		if size+len(e.Data) > maxWaiting || !t.tokens.take(len(e.Data), rate, now) {
			continue
		}
		size += len(e.Data)
		taken = append(taken, record{now, e.Data})
		ids[i] = newUUID()
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		own, err := tx.Bucket(recordBucket).CreateBucketIfNotExists([]byte(t.kept.Name))
		if err != nil {
			return err
		}
		for _, r := range taken {
			n, err := own.NextSequence()
			if err != nil {
				return err
			}
			if err := own.Put(binary.BigEndian.AppendUint64(nil, n), r.bytes()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keeping records of %s: %w", t.kept.Name, err)
	}
	for _, r := range taken {
		t.count(r)
	}
	return ids, nil
}

// PutAs puts one record for another service that acts as a principal, whose policies decide. The error is a [*gate.Error].
func (s *Service) PutAs(who *iam.Principal, arn string, data []byte) error {
	d := s.config.Authority.Decide(who, iam.Query{Action: "firehose:PutRecord", Resource: arn, Context: map[string][]string{"aws:SecureTransport": {"true"}}})
	if !d.Allowed {
		return &gate.Error{Code: "AccessDeniedException", Message: fmt.Sprintf("%s may not firehose:PutRecord on %s %s", who, arn, d.Reason)}
	}
	if err := checkRecord(putEntry{data}, "record.data"); err != nil {
		return err
	}
	s.mu.Lock()
	var found *stream
	for _, t := range s.streams {
		if t.kept.ARN == arn {
			found = t
		}
	}
	s.mu.Unlock()
	if found == nil {
		return &gate.Error{Code: "ResourceNotFoundException", Message: "there is no stream " + arn}
	}
	ids, err := s.take(found, []putEntry{{data}})
	if err == nil && ids[0] == "" {
		err = &gate.Error{Code: "ServiceUnavailableException", Status: 503, Message: slowDown}
	}
	return err
}
