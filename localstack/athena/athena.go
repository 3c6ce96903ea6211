// Package athena is what of the local Athena the lake needs: workgroups and named queries that templates declare, checked
// as Athena checks them, and shown to who may see them.
//
// It runs no query. Its entry point is [Open].
package athena

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/iam"
)

// Config says where workgroups and queries are kept.
type Config struct {
	Dir       string // athena.bolt
	Authority *iam.Authority
	Now       func() time.Time // default time.Now
}

// Service is the local Athena. It is safe for concurrent use.
type Service struct {
	config Config
	db     *bbolt.DB
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
	s := &Service{config: c, db: db}
	if err := db.Update(s.begin); err != nil {
		return nil, errors.Join(fmt.Errorf("opening athena: %w", err), db.Close())
	}
	return s, nil
}

// begin makes the buckets, and the account's own workgroup.
func (s *Service) begin(tx *bbolt.Tx) error {
	for _, name := range [][]byte{groupBucket, queryBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	if tx.Bucket(groupBucket).Get([]byte(primary)) != nil {
		return nil
	}
	return put(tx, groupBucket, primary, group{Name: primary, State: enabled, Created: s.config.Now().UTC(), Settings: defaults()})
}

// Close releases the files.
func (s *Service) Close() error { return s.db.Close() }

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
