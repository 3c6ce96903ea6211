// Package dynamodb is a local DynamoDB with DynamoDB Streams: the JSON 1.0 protocol over tables that
// survive the process, with AWS's validation, error codes and messages, and every call authorised.
//
// It serves tables without secondary indexes and the expression parameters only, and refuses the rest.
// Writes run one after the other, so a transaction never meets another in conflict. It knows nothing of
// who calls or of templates beyond the resources handed to it. Its entry point is [Open].
package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/dynamodb/store"
	"github.com/stile-dev/stile/localstack/gate"
)

// Config says where the state is and what the tables' ARNs are made of.
type Config struct {
	Dir        string           // of the state; made if necessary
	Account    string           // twelve digits
	Region     string           // such as us-east-1
	Partition  string           // aws if empty
	Logger     *slog.Logger     // nil: silent
	Now        func() time.Time // nil: time.Now
	SweepEvery time.Duration    // between passes for expired items and aged records; 0: one second
}

// Server answers the calls of DynamoDB and of DynamoDB Streams, and provides tables to templates.
type Server struct {
	config Config
	store  *store.Store
	stop   context.CancelFunc
	swept  chan struct{} // closed when the sweeper has ended
}

// Record is one change in a stream, in the shape of Lambda's DynamoDB event.
type Record = store.Record

// Open reads the state and starts the sweeper. Close ends both.
func Open(c Config) (*Server, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Partition == "" {
		c.Partition = "aws"
	}
	if c.SweepEvery == 0 {
		c.SweepEvery = time.Second
	}
	if c.Account == "" || c.Region == "" {
		return nil, errors.New("opening dynamodb: Account and Region must be set")
	}
	st, err := store.Open(c.Dir, c.Now)
	if err != nil {
		return nil, fmt.Errorf("opening dynamodb: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{config: c, store: st, stop: stop, swept: make(chan struct{})}
	go s.sweep(ctx)
	return s, nil
}

// Close ends the sweeper, waits for writes under way and closes the state.
func (s *Server) Close() error {
	s.stop()
	<-s.swept
	return s.store.Close()
}

// Name is the signing name of DynamoDB and of DynamoDB Streams.
func (s *Server) Name() string { return "dynamodb" }

// The targets' prefixes.
const (
	apiTables  = "DynamoDB_20120810"
	apiStreams = "DynamoDBStreams_20120810"
)

// ServeAWS answers one call.
func (s *Server) ServeAWS(w http.ResponseWriter, c *gate.Call) {
	api, operation, _ := strings.Cut(c.HTTP.Header.Get("X-Amz-Target"), ".")
	handlers := tableOperations
	if api == apiStreams {
		handlers = streamOperations
	}
	serve, ok := handlers[operation]
	if !ok || api != apiTables && api != apiStreams {
		s.answer(w, c, nil, &gate.Error{Code: "UnknownOperationException", Status: http.StatusBadRequest})
		return
	}
	result, err := serve(s, c)
	s.answer(w, c, result, err)
}

// handler answers one operation with what is to be written as JSON.
type handler func(*Server, *gate.Call) (any, error)

var tableOperations = map[string]handler{
	"GetItem":            handle(getItem),
	"PutItem":            handle(putItem),
	"UpdateItem":         handle(updateItem),
	"DeleteItem":         handle(deleteItem),
	"Query":              handle(query),
	"Scan":               handle(scan),
	"BatchGetItem":       handle(batchGetItem),
	"TransactGetItems":   handle(transactGetItems),
	"TransactWriteItems": handle(transactWriteItems),
	"CreateTable":        handle(createTable),
	"DeleteTable":        handle(deleteTable),
	"DescribeTable":      handle(describeTable),
	"ListTables":         handle(listTables),
	"UpdateTable":        handle(updateTable),
	"UpdateTimeToLive":   handle(updateTimeToLive),
}

// Operations lists what the server answers.
func (s *Server) Operations() []string {
	return slices.Concat(slices.Sorted(maps.Keys(tableOperations)), slices.Sorted(maps.Keys(streamOperations)))
}

var streamOperations = map[string]handler{
	"DescribeStream":   handle(describeStream),
	"GetShardIterator": handle(getShardIterator),
	"GetRecords":       handle(getRecords),
}

// Records are at most limit records of a stream after a sequence number, or from its oldest record with "".
// It waits until there is one, ctx is done or the stream has gone.
func (s *Server) Records(ctx context.Context, streamARN, after string, limit int) ([]Record, error) {
	records, err := s.store.Wait(ctx, streamARN, store.Number(after), limit)
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", streamARN, err)
	}
	return records, nil
}

// Shard is the id of a stream's only shard, "" of a stream that is none.
func (s *Server) Shard(streamARN string) (id string) {
	s.store.Read(func(r *store.Reader) {
		if st, _, ok := r.Stream(streamARN); ok {
			id = shardID(st)
		}
	})
	return id
}

// tableARN is the ARN of the table of that name, whether it exists or not.
func (s *Server) tableARN(name string) string {
	return fmt.Sprintf("arn:%s:dynamodb:%s:%s:table/%s", s.config.Partition, s.config.Region, s.config.Account, name)
}
