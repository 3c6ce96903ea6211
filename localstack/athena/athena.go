// Package athena is the local Athena: workgroups and named queries that templates declare, checked as Athena checks them, and
// queries on the tables of the local Glue, with the rights of who asks.
//
// It parses no SQL and reads no Parquet: a program beside it does, in a process for each query (localstack/duck). Its entry
// point is [Open].
package athena

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/s3"
)

// Buckets is where tables and results are: each call is with the rights of who asks.
type Buckets interface {
	Locate(who *iam.Principal, bucket string) error
	List(who *iam.Principal, bucket, prefix string, most int) ([]s3.Found, error)
	Read(who *iam.Principal, bucket, key string, most int64) ([]byte, error)
	Copy(who *iam.Principal, bucket, key, file string) error
	Put(who *iam.Principal, bucket, key string, body []byte) error
}

// Catalog is what knows the tables.
type Catalog interface {
	Read(who *iam.Principal, database, table string) (glue.Table, error)
}

// Config says where workgroups and queries are kept, and what queries run on.
type Config struct {
	Dir       string // athena.bolt, and a folder for each query that runs; absolute
	Authority *iam.Authority
	Buckets   Buckets
	Catalog   Catalog
	Engine    string           // the program of localstack/duck, an absolute path; queries fail while it is not there
	Now       func() time.Time // default time.Now
	Log       *slog.Logger     // default discards
}

// Service is the local Athena. It is safe for concurrent use.
type Service struct {
	config Config
	db     *bbolt.DB

	life    context.Context //nolint:containedctx // ends with the service
	end     context.CancelCauseFunc
	turns   chan struct{} // has as many as engines run
	queries sync.WaitGroup

	mu      sync.Mutex
	active  int
	closed  bool
	cancels map[string]context.CancelCauseFunc // by execution
}

// primary is the workgroup that each account has.
const primary = "primary"

// engine is the engine of every workgroup.
const engine = "Athena engine version 3"

// group is a workgroup as it is kept.
type group struct {
	Name        string
	Description string
	State       string // ENABLED or DISABLED
	Created     time.Time
	Settings    settings
}

// query is a named query as it is kept.
type query struct {
	ID          string `json:"NamedQueryId"`
	Name        string
	Description string `json:",omitempty"`
	Database    string
	Text        string `json:"QueryString"`
	Group       string `json:"WorkGroup"`
}

var (
	groupBucket     = []byte("workgroup")
	queryBucket     = []byte("query")     // by id
	executionBucket = []byte("execution") // by id
	tokenBucket     = []byte("token")     // caller and token → id of the execution
)

// errAbsent means that there is no such workgroup or query.
var errAbsent = errors.New("not found")

// Open reads or creates what is kept in c.Dir. Close it when done.
func Open(c Config) (*Service, error) {
	if c.Authority == nil || c.Buckets == nil || c.Catalog == nil {
		return nil, errors.New("opening athena: Config.Authority, Buckets or Catalog is missing")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening athena: %w", err)
	}
	db, err := bbolt.Open(filepath.Join(c.Dir, "athena.bolt"), 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("opening athena: another process may have %s open: %w", c.Dir, err)
	}
	if err := clean(c.Dir); err != nil {
		return nil, errors.Join(fmt.Errorf("opening athena: %w", err), db.Close())
	}
	s := &Service{config: c, db: db, turns: make(chan struct{}, atOnce), cancels: map[string]context.CancelCauseFunc{}}
	s.life, s.end = context.WithCancelCause(context.Background())
	if err := db.Update(s.begin); err != nil {
		return nil, errors.Join(fmt.Errorf("opening athena: %w", err), db.Close())
	}
	return s, nil
}

// begin makes the buckets, and the account's own workgroup.
func (s *Service) begin(tx *bbolt.Tx) error {
	for _, name := range [][]byte{groupBucket, queryBucket, executionBucket, tokenBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	if err := s.sweep(tx); err != nil {
		return err
	}
	if tx.Bucket(groupBucket).Get([]byte(primary)) != nil {
		return nil
	}
	return put(tx, groupBucket, primary, group{Name: primary, State: enabled, Created: s.config.Now().UTC(), Settings: defaults()})
}

// workPrefix begins the names of the folders of queries that run.
const workPrefix = "query-"

// clean removes what queries of a process before left.
func clean(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, workPrefix+"*"))
	for _, name := range left {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// Close ends the queries that run, and releases the files.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end(errClosed)
	s.queries.Wait()
	return s.db.Close()
}

func put(tx *bbolt.Tx, bucket []byte, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Bucket(bucket).Put([]byte(key), raw)
}

// get reads a value, or returns errAbsent.
func get(tx *bbolt.Tx, bucket []byte, key string, into any) error {
	raw := tx.Bucket(bucket).Get([]byte(key))
	if raw == nil {
		return errAbsent
	}
	return json.Unmarshal(raw, into)
}

// queries are those of a workgroup whose ids are behind after, up to a number of them, and whether there are more.
func queries(tx *bbolt.Tx, group, after string, most int) (list []query, more bool, err error) {
	c := tx.Bucket(queryBucket).Cursor()
	for k, raw := c.Seek([]byte(after)); k != nil; k, raw = c.Next() {
		var q query
		if err := json.Unmarshal(raw, &q); err != nil {
			return nil, false, err
		}
		if q.Group != group || q.ID == after {
			continue
		}
		if len(list) == most {
			return list, true, nil
		}
		list = append(list, q)
	}
	return list, false, nil
}

func (s *Service) arn(group string) string {
	a := s.config.Authority
	return "arn:" + a.Partition() + ":athena:" + a.Region() + ":" + a.Account() + ":workgroup/" + group
}
