package firehose

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
)

// maxPause is the longest time between two tries to deliver.
const maxPause = time.Minute

// run delivers what is due until ctx ends.
func (s *Service) run(ctx context.Context) {
	tick := time.NewTicker(s.config.Look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, t := range s.all() {
				if !s.due(t) {
					continue
				}
				if err := s.deliver(t); err != nil {
					s.config.Log.Error("A delivery stream waits after an error", "stream", t.kept.Name, "cause", err)
				}
			}
		}
	}
}

func (s *Service) all() (list []*stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.streams {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *stream) int { return strings.Compare(a.kept.Name, b.kept.Name) })
	return list
}

// due reports whether a stream's buffer is full or old enough, and no pause after a failure runs.
func (s *Service) due(t *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.config.Now()
	if t.oldest.IsZero() || now.Before(t.next) {
		return false
	}
	interval, size := t.kept.Destination.hints()
	return t.size >= size || !now.Before(t.oldest.Add(interval))
}

// Flush delivers what every stream has by now, without waiting until it is due. The error has those that could not; they
// keep what they have.
func (s *Service) Flush() error {
	var faults []error
	for _, t := range s.all() {
		if err := s.deliver(t); err != nil {
			faults = append(faults, fmt.Errorf("stream %s: %w", t.kept.Name, err))
		}
	}
	return errors.Join(faults...)
}

// deliver writes all that waits, an object for each buffer. What is written is forgotten only then, so that a record may
// come twice, as on AWS.
func (s *Service) deliver(t *stream) error {
	t.delivering.Lock()
	defer t.delivering.Unlock()
	for {
		more, err := s.deliverOne(t)
		s.mu.Lock()
		if err != nil {
			t.next = s.config.Now().Add(min(maxPause, time.Second<<min(t.tries, 6)))
			t.tries++
		} else {
			t.next, t.tries = time.Time{}, 0
		}
		s.mu.Unlock()
		if err != nil || !more {
			return err
		}
	}
}

// deliverOne writes one buffer; more says that it was a full one.
func (s *Service) deliverOne(t *stream) (more bool, err error) {
	s.mu.Lock()
	k, objects, failures := t.kept, t.prefix, t.errors
	s.mu.Unlock()
	_, limit := k.Destination.hints()
	keys, records, more, err := s.gather(k.Name, limit)
	if err != nil || len(records) == 0 {
		return false, err
	}
	b := batch{kept: k, records: records, objects: objects, failures: failures, now: s.config.Now().UTC()}
	if err := s.write(b); err != nil {
		return false, err
	}
	return more, s.forget(t, keys)
}

// gather reads records of a stream, oldest first, up to limit bytes but one at least.
func (s *Service) gather(name string, limit int) (keys [][]byte, records []record, more bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		own := tx.Bucket(recordBucket).Bucket([]byte(name))
		if own == nil {
			return nil
		}
		size := 0
		c := own.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			r := readRecord(v)
			if size += len(r.Data); size > limit && len(records) > 0 {
				more = true
				return nil
			}
			r.Data = bytes.Clone(r.Data)
			keys, records = append(keys, bytes.Clone(k)), append(records, r)
		}
		return nil
	})
	return keys, records, more, err
}

// forget removes the records that were delivered, and recalculates how much is left in the buffer.
func (s *Service) forget(t *stream, keys [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[t.kept.Name] != t {
		return nil // deleted meanwhile
	}
	var first record
	dropped, left := 0, false
	err := s.db.Update(func(tx *bbolt.Tx) error {
		own := tx.Bucket(recordBucket).Bucket([]byte(t.kept.Name))
		for _, k := range keys {
			dropped += len(readRecord(own.Get(k)).Data)
			if err := own.Delete(k); err != nil {
				return err
			}
		}
		if _, v := own.Cursor().First(); v != nil {
			first, left = readRecord(v), true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forgetting what was delivered: %w", err)
	}
	t.size -= dropped
	if t.oldest = (time.Time{}); left {
		t.oldest = first.Arrived
	}
	return nil
}

// become is the stream's session of a role. Firehose says the account as external id, and the stream as the source.
func (s *Service) become(k kept, role string) (*iam.Principal, error) {
	account := s.config.Authority.Account()
	_, who, err := s.config.Authority.Assume(iam.AssumeRequest{
		Caller: iam.ServicePrincipal("firehose.amazonaws.com"), RoleARN: role, Session: "firehose", Duration: 15 * time.Minute, ExternalID: account,
		Context: map[string][]string{"aws:SourceAccount": {account}, "aws:SourceArn": {k.ARN}},
	})
	if err != nil {
		return nil, fmt.Errorf("assuming the role %s as Firehose: %w", role, err)
	}
	return who, nil
}

// batch is what is delivered at once.
type batch struct {
	kept              kept
	records           []record
	objects, failures prefix
	now               time.Time
}

// write delivers a batch: converted, if the stream converts, and what cannot be to the prefix of errors.
func (s *Service) write(b batch) error {
	who, err := s.become(b.kept, b.kept.Destination.RoleARN)
	if err != nil {
		return err
	}
	if !b.kept.Destination.converts() {
		return s.put(who, b, b.objects, "", "", joined(b.records))
	}
	table, err := s.schema(b.kept)
	if err != nil {
		return err
	}
	body, failed, err := b.convert(table, s.catalogEntry(table))
	if err != nil {
		return err
	}
	if len(failed) > 0 { // first, so that nothing is lost between the two
		if err := s.put(who, b, b.failures, conversion, "", bytes.Join(failed, nil)); err != nil {
			return err
		}
	}
	if body == nil {
		return nil
	}
	return s.put(who, b, b.objects, "", ".parquet", body)
}

func (s *Service) schema(k kept) (glue.Table, error) {
	schema := k.Destination.DataFormatConversionConfiguration.SchemaConfiguration
	who, err := s.become(k, schema.RoleARN)
	if err != nil {
		return glue.Table{}, err
	}
	return s.config.Catalog.Schema(who, schema.DatabaseName, schema.TableName)
}

func joined(records []record) []byte {
	var b bytes.Buffer
	for _, r := range records {
		b.Write(r.Data)
	}
	return b.Bytes()
}

// put writes one object, named as "Amazon S3 object name format" in the developer guide has it.
func (s *Service) put(who *iam.Principal, b batch, p prefix, kind, extension string, body []byte) error {
	_, bucketName, _ := strings.Cut(b.kept.Destination.BucketARN, ":s3:::")
	if e := b.kept.Destination.FileExtension; e != "" && kind == "" {
		extension = e
	}
	key := fmt.Sprintf("%s%s-%d-%s-%s%s", p.at(b.records[0].Arrived, kind), b.kept.Name, b.kept.Version,
		b.now.Format("2006-01-02-15-04-05"), newUUID(), extension)
	if err := s.config.Buckets.Put(who, bucketName, key, body); err != nil {
		return fmt.Errorf("writing to bucket %s: %w", bucketName, err)
	}
	return nil
}

// convert makes a Parquet file of the batch, nil if no record could be converted, and a line for each that could not.
func (b batch) convert(table glue.Table, entry map[string]any) (body []byte, failed [][]byte, err error) {
	format := *b.kept.Destination.DataFormatConversionConfiguration.InputFormatConfiguration.Deserializer.OpenXJSONSerDe
	var rows [][]any
	for _, r := range b.records {
		more, err := format.rows(table.Columns, r.Data)
		if err == nil {
			rows = append(rows, more...)
			continue
		}
		line, err := b.failed(r, err, entry)
		if err != nil {
			return nil, nil, err
		}
		failed = append(failed, line)
	}
	if len(rows) > 0 {
		body, err = encode(table.Columns, rows)
	}
	return body, failed, err
}

// rows are all rows of a record, or none.
func (x openX) rows(columns []glue.Column, data []byte) ([][]any, error) {
	objects, err := x.documents(data)
	if err != nil {
		return nil, err
	}
	rows := make([][]any, len(objects))
	for i, object := range objects {
		if rows[i], err = x.row(columns, object); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// failed is the line about a record that was not converted, as "Handling errors for data format conversion" in the
// developer guide shows it.
func (b batch) failed(r record, why error, entry map[string]any) ([]byte, error) {
	f, ok := errors.AsType[*failure](why)
	if !ok {
		return nil, why
	}
	line, err := json.Marshal(map[string]any{
		"attemptsMade": 1, "arrivalTimestamp": r.Arrived.UnixMilli(), "lastErrorCode": f.code, "lastErrorMessage": f.message,
		"attemptEndingTimestamp": b.now.UnixMilli(), "rawData": r.Data, "sequenceNumber": nil, "subSequenceNumber": nil,
		"dataCatalogTable": entry,
	})
	return append(line, '\n'), err
}

func (s *Service) catalogEntry(t glue.Table) map[string]any {
	a := s.config.Authority
	return map[string]any{
		"catalogId": a.Account(), "databaseName": t.Database, "tableName": t.Name, "region": a.Region(), "versionId": "LATEST", "catalogArn": nil,
	}
}

// newUUID is a random UUID, version 4.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails; see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
