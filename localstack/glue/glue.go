// Package glue is what of the local Glue the lake needs: a catalog of databases, tables and views that templates declare,
// which Firehose reads with its role, and whose partition projection and views are checked when they are deployed.
//
// It shows tables to who may see them, and nobody changes them but templates. Its entry point is [Open].
package glue

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

// Config says where the catalog is kept.
type Config struct {
	Dir       string // glue.bolt
	Authority *iam.Authority
}

// Service is the local Glue. It is safe for concurrent use.
type Service struct {
	config Config
	db     *bbolt.DB
}

// Table is a table of the catalog.
type Table struct {
	Database   string
	Name       string
	Type       string // EXTERNAL_TABLE or VIRTUAL_VIEW
	Version    string // "0" for the first, counted up by each change
	Columns    []Column
	Partitions []Column // keys that are no part of the data
	Location   string   // s3://bucket/prefix; "" of a view
	Parameters map[string]string

	Description      string
	ViewOriginalText string // a view's query, as Athena keeps it
	ViewExpandedText string
}

// Column is a column or a partition key: a lower-case name and one of [Kinds], or for keys also date. In a view it is any
// type of Hive.
type Column struct {
	Name, Type string
	Comment    string `json:",omitempty"`
}

// Kinds are the types that columns may have here. They are Hive's, without those that nothing uses.
var Kinds = []string{"string", "int", "bigint", "double", "boolean", "timestamp", "array<string>", "map<string,string>"}

// ErrNotFound means that the catalog has no such database or table.
var ErrNotFound = errors.New("EntityNotFoundException")

var (
	databaseBucket = []byte("database")
	tableBucket    = []byte("table")
)

// Open reads or creates the catalog kept in c.Dir. Close it when done.
func Open(c Config) (*Service, error) {
	if c.Authority == nil {
		return nil, errors.New("opening glue: Config.Authority is missing")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening glue: %w", err)
	}
	db, err := bbolt.Open(filepath.Join(c.Dir, "glue.bolt"), 0o600, &bbolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("opening glue: another process may have %s open: %w", c.Dir, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(databaseBucket)
		if err == nil {
			_, err = tx.CreateBucketIfNotExists(tableBucket)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening glue: %w", err), db.Close())
	}
	return &Service{config: c, db: db}, nil
}

// Close releases the files.
func (s *Service) Close() error { return s.db.Close() }

// schemaActions are what Firehose does on a table with its role ("Controlling access with Amazon Data Firehose: Grant
// Firehose access to an Amazon S3 destination" in its developer guide).
var schemaActions = []string{"glue:GetTable", "glue:GetTableVersions"}

// Schema returns a table to a principal that may read it: on the catalog, the database and the table.
func (s *Service) Schema(who *iam.Principal, database, table string) (Table, error) {
	for _, action := range schemaActions {
		if err := s.may(who, action, []string{"catalog", "database/" + database, "table/" + database + "/" + table}); err != nil {
			return Table{}, err
		}
	}
	t, err := s.Find(database, table)
	if err == nil && t.Type == virtual {
		return Table{}, fmt.Errorf("%s.%s is a view, which nothing is written to", database, table)
	}
	return t, err
}

// Find returns a table, or [ErrNotFound].
func (s *Service) Find(database, table string) (t Table, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		raw := tx.Bucket(tableBucket).Get(key(database, table))
		if raw == nil {
			return fmt.Errorf("table %s.%s: %w", database, table, ErrNotFound)
		}
		return json.Unmarshal(raw, &t)
	})
	return t, err
}

func key(database, table string) []byte { return []byte(database + "\x00" + table) }

func (s *Service) arn(rest string) string {
	a := s.config.Authority
	return "arn:" + a.Partition() + ":glue:" + a.Region() + ":" + a.Account() + ":" + rest
}
