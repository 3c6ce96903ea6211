// Package firehose is the local Data Firehose: delivery streams that keep what is put into them on disk, and write it to
// S3 with the stream's role once there is enough or it is old enough, as JSON or converted to Parquet by a table of Glue.
//
// It knows no template and no bucket itself. Its entry point is [Open].
package firehose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
)

// Buckets is where streams deliver to.
type Buckets interface {
	// Put writes an object as a principal, whose policies and the bucket's decide.
	Put(who *iam.Principal, bucket, key string, body []byte) error
}

// Catalog has the schemas of converted records.
type Catalog interface {
	// Schema returns a table to a principal that may read it.
	Schema(who *iam.Principal, database, table string) (glue.Table, error)
	// Find returns a table, or [glue.ErrNotFound].
	Find(database, table string) (glue.Table, error)
}

// Config says where records are kept until they are delivered.
type Config struct {
	Dir       string // firehose.bolt
	Authority *iam.Authority
	Buckets   Buckets
	Catalog   Catalog
	Log       *slog.Logger     // default discards
	Now       func() time.Time // default time.Now
	Look      time.Duration    // between two looks for what is due; default a second
}

// Service is the local Firehose. It is safe for concurrent use.
type Service struct {
	config Config
	db     *bbolt.DB
	end    context.CancelFunc
	loop   sync.WaitGroup

	mu      sync.Mutex
	streams map[string]*stream // by name
}

var (
	streamBucket = []byte("stream")
	recordBucket = []byte("record") // a bucket for each stream
)

// Open reads or creates the streams kept in c.Dir, and delivers what is due from then on. Close it when done.
func Open(c Config) (*Service, error) {
	if c.Authority == nil || c.Buckets == nil || c.Catalog == nil {
		return nil, errors.New("opening firehose: Config.Authority, Buckets or Catalog is missing")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Look == 0 {
		c.Look = time.Second
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening firehose: %w", err)
	}
	db, err := bbolt.Open(filepath.Join(c.Dir, "firehose.bolt"), 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("opening firehose: another process may have %s open: %w", c.Dir, err)
	}
	ctx, end := context.WithCancel(context.Background())
	s := &Service{config: c, db: db, end: end, streams: map[string]*stream{}}
	if err := s.load(); err != nil {
		end()
		return nil, errors.Join(fmt.Errorf("opening firehose: %w", err), db.Close())
	}
	s.loop.Go(func() { s.run(ctx) })
	return s, nil
}

// load finds the streams, and how much each has to deliver.
func (s *Service) load() error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		streams, err := tx.CreateBucketIfNotExists(streamBucket)
		if err != nil {
			return err
		}
		records, err := tx.CreateBucketIfNotExists(recordBucket)
		if err != nil {
			return err
		}
		return streams.ForEach(func(name, raw []byte) error {
			t := &stream{}
			if err := json.Unmarshal(raw, &t.kept); err != nil {
				return err
			}
			if t.prefix, t.errors, err = t.kept.Destination.prefixes(); err != nil {
				return err
			}
			s.streams[string(name)] = t
			own := records.Bucket(name)
			if own == nil {
				return nil
			}
			return own.ForEach(func(_, v []byte) error {
				t.count(readRecord(v))
				return nil
			})
		})
	})
}

// Close ends deliveries and releases the files. What was not delivered is, after the next Open.
func (s *Service) Close() error {
	s.end()
	s.loop.Wait()
	return s.db.Close()
}

// kept is what is known of a stream, on disk.
type kept struct {
	Name        string
	ARN         string
	Version     int // counted up by each change
	Created     time.Time
	Destination destination
}

// stream is a delivery stream.
type stream struct {
	kept           kept
	prefix, errors prefix

	size   int       // bytes that wait
	oldest time.Time // arrival of the oldest record that waits; zero if none does
	tokens bucket
	tries  int       // deliveries that failed in a row
	next   time.Time // no delivery before, unless it is asked for

	delivering sync.Mutex
}

// count adds a record to what waits.
func (t *stream) count(r record) {
	if t.oldest.IsZero() || r.Arrived.Before(t.oldest) {
		t.oldest = r.Arrived
	}
	t.size += len(r.Data)
}

// Name is the signing name.
func (*Service) Name() string { return "firehose" }

// Operations lists what the service answers.
func (*Service) Operations() []string {
	return []string{"DescribeDeliveryStream", "PutRecord", "PutRecordBatch"}
}

// ServeAWS answers one call.
func (s *Service) ServeAWS(w http.ResponseWriter, c *gate.Call) {
	gate.ServeJSON(w, c, gate.JSON11, "Firehose", "", map[string]func(*gate.Call) (any, error){
		"Firehose_20150804.DescribeDeliveryStream": s.describe,
		"Firehose_20150804.PutRecord":              s.putRecord,
		"Firehose_20150804.PutRecordBatch":         s.putRecordBatch,
	})
}

func (s *Service) arn(name string) string {
	a := s.config.Authority
	return "arn:" + a.Partition() + ":firehose:" + a.Region() + ":" + a.Account() + ":deliverystream/" + name
}

// find returns a stream to a caller who may do that with it.
func (s *Service) find(c *gate.Call, operation, name string) (*stream, error) {
	if !nameForm.MatchString(name) {
		return nil, invalid("Value '%s' at 'deliveryStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+", name)
	}
	if err := c.Authorize(iam.Query{Action: "firehose:" + operation, Resource: s.arn(name)}); err != nil {
		return nil, err
	}
	return s.lookup(name)
}

func (s *Service) lookup(name string) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.streams[name]; t != nil {
		return t, nil
	}
	return nil, &gate.Error{Code: "ResourceNotFoundException", Message: fmt.Sprintf("Firehose %s under account %s not found.", name, s.config.Authority.Account())}
}

func invalid(format string, args ...any) error {
	return &gate.Error{Code: "ValidationException", Message: "1 validation error detected: " + fmt.Sprintf(format, args...)}
}

func (s *Service) describe(c *gate.Call) (any, error) {
	var in struct{ DeliveryStreamName string }
	if err := gate.ReadJSON(c, &in); err != nil {
		return nil, err
	}
	t, err := s.find(c, "DescribeDeliveryStream", in.DeliveryStreamName)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	k := t.kept
	s.mu.Unlock()
	return map[string]any{"DeliveryStreamDescription": map[string]any{
		"DeliveryStreamName": k.Name, "DeliveryStreamARN": k.ARN, "DeliveryStreamStatus": "ACTIVE", "DeliveryStreamType": "DirectPut",
		"VersionId": fmt.Sprint(k.Version), "CreateTimestamp": k.Created.Unix(), "HasMoreDestinations": false,
		"Destinations": []any{map[string]any{"DestinationId": "destinationId-000000000001", "ExtendedS3DestinationDescription": k.Destination.described()}},
	}}, nil
}
