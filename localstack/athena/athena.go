// Package athena is what of the local Athena the lake needs: workgroups and named queries that templates declare, checked
// as Athena checks them, and shown to who may see them.
//
// Queries are run by the program duck on DuckDB, in a process each, over the objects of the local S3, with the rights of whoever
// asks. They are Trino's as far as the two agree: functions that DuckDB lacks are added by dialect. Its entry point is [Open].
package athena

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sync/semaphore"

	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/s3"
)

// Buckets is where tables are, and results go.
type Buckets interface {
	Put(who *iam.Principal, bucket, key string, body []byte) error
	Get(who *iam.Principal, bucket, key string) ([]byte, error)
	Find(who *iam.Principal, bucket, prefix string) ([]s3.Stored, error)
}

// Catalog has the tables and views.
type Catalog interface {
	// Find returns a table, or [glue.ErrNotFound].
	Find(database, table string) (glue.Table, error)
	// Read returns it to who may read it.
	Read(who *iam.Principal, database, table string) (glue.Table, error)
}

// Config says where workgroups and queries are kept.
type Config struct {
	Dir       string // athena.bolt
	Authority *iam.Authority
	Buckets   Buckets
	Catalog   Catalog
	Engine    string           // path of the program duck; a query fails without
	Now       func() time.Time // default time.Now
}

// atOnce is how many queries run at once; others wait.
const atOnce = 2

// Service is the local Athena. It is safe for concurrent use.
type Service struct {
	config Config
	db     *bbolt.DB

	life  context.Context //nolint:containedctx // of all queries
	end   context.CancelFunc
	work  sync.WaitGroup
	turns *semaphore.Weighted

	mu    sync.Mutex
	stops map[string]context.CancelFunc // by id: queries that aren't over
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
	groupBucket = []byte("workgroup")
	queryBucket = []byte("query") // by id
)

// errAbsent means that there is no such workgroup or query.
var errAbsent = errors.New("not found")

// Open reads or creates what is kept in c.Dir. Close it when done.
func Open(c Config) (*Service, error) {
	if c.Authority == nil {
		return nil, errors.New("opening athena: Config.Authority is missing")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening athena: %w", err)
	}
	db, err := bbolt.Open(filepath.Join(c.Dir, "athena.bolt"), 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("opening athena: another process may have %s open: %w", c.Dir, err)
	}
	s := &Service{config: c, db: db, turns: semaphore.NewWeighted(atOnce), stops: map[string]context.CancelFunc{}}
	s.life, s.end = context.WithCancel(context.Background())
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
	if err := s.lost(tx); err != nil || tx.Bucket(groupBucket).Get([]byte(primary)) != nil {
		return err
	}
	return put(tx, groupBucket, primary, group{Name: primary, State: enabled, Created: s.config.Now().UTC(), Settings: defaults()})
}

// lost ends what ran when the service ended.
func (s *Service) lost(tx *bbolt.Tx) error {
	var lost []execution
	err := tx.Bucket(executionBucket).ForEach(func(_, raw []byte) error {
		var e execution
		if err := json.Unmarshal(raw, &e); err != nil || e.over() {
			return err
		}
		e.State, e.Reason, e.Ended = failed, "GENERIC_INTERNAL_ERROR: the service ended while the query ran", s.config.Now().UTC()
		lost = append(lost, e)
		return nil
	})
	for _, e := range lost {
		err = errors.Join(err, put(tx, executionBucket, e.ID, e))
	}
	return err
}

// Close ends all queries and releases the files.
func (s *Service) Close() error {
	s.end()
	s.work.Wait()
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

// newUUID is a random UUID, version 4.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails; see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
