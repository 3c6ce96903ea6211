// Command duck runs one query on DuckDB for the local Athena, and ends. It is a program of its own, because DuckDB is in C++ and
// what a query takes of memory and time is then a process's, which the local AWS bounds and ends.
//
// It reads a [Job] as JSON from its input and writes an [Answer] to its output. What the query says may read nothing but the job's
// files, and writes nothing at all.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// Job is a query with what it reads.
type Job struct {
	Setup    []string // statements that make tables and macros, before anything is forbidden
	Files    []string // absolute paths: all that may be read after that
	Query    string   // one statement
	Memory   int      // MB at most; 0: 512
	MostRows int      // of the answer; one more is an error
	MostText int      // bytes of the answer's values; one more is an error
}

// Answer is what a query gives, or why it gives nothing.
type Answer struct {
	Columns []Column    `json:",omitempty"`
	Rows    [][]*string `json:",omitempty"` // as Athena writes values; nil is NULL
	Fault   string      `json:",omitempty"`
}

// Column is one of an answer, with its type in Trino's words, as array(varchar).
type Column struct{ Name, Type string }

// maxJob is how many bytes a job may have.
const maxJob = 16 << 20

func main() {
	answer, err := serve(context.Background(), os.Stdin)
	if err != nil {
		answer = Answer{Fault: err.Error()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, in io.Reader) (Answer, error) {
	raw, err := io.ReadAll(io.LimitReader(in, maxJob+1))
	if err != nil {
		return Answer{}, err
	}
	var j Job
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil || len(raw) > maxJob {
		return Answer{}, fmt.Errorf("the job is not JSON of at most %d bytes: %w", maxJob, err)
	}
	return j.Run(ctx)
}

// Run runs the query in a database of its own, in memory.
func (j Job) Run(ctx context.Context) (Answer, error) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return Answer{}, err
	}
	defer db.Close()
	c, err := db.Conn(ctx) // settings are a connection's
	if err != nil {
		return Answer{}, err
	}
	defer c.Close()
	for _, s := range append(j.settings(), j.Setup...) {
		if _, err := c.ExecContext(ctx, s); err != nil {
			return Answer{}, plain(err)
		}
	}
	for _, s := range j.locks() {
		if _, err := c.ExecContext(ctx, s); err != nil {
			return Answer{}, plain(err)
		}
	}
	if err := j.one(c); err != nil {
		return Answer{}, err
	}
	rows, err := c.QueryContext(ctx, j.Query)
	if err != nil {
		return Answer{}, plain(err)
	}
	defer rows.Close()
	return j.read(rows)
}

// settings are what holds for the setup as well.
func (j Job) settings() []string {
	memory := j.Memory
	if memory == 0 {
		memory = 512
	}
	return []string{
		fmt.Sprintf("SET memory_limit = '%dMB'", memory), "SET threads = 1", "SET temp_directory = ''", "SET TimeZone = 'UTC'",
		"SET autoinstall_known_extensions = false", "SET autoload_known_extensions = false",
	}
}

// locks are what is forbidden from then on.
func (j Job) locks() []string {
	quoted := make([]string, len(j.Files))
	for i, f := range j.Files {
		quoted[i] = "'" + strings.ReplaceAll(f, "'", "''") + "'"
	}
	return []string{
		"SET allowed_paths = [" + strings.Join(quoted, ", ") + "]", "SET enable_external_access = false", "SET lock_configuration = true",
	}
}

// one holds that the query is one statement, and one that reads.
func (j Job) one(c *sql.Conn) error {
	return c.Raw(func(driver any) error {
		d, ok := driver.(*duckdb.Conn)
		if !ok {
			return errors.New("the driver is not DuckDB's")
		}
		s, err := d.PrepareContext(context.Background(), j.Query)
		if err != nil {
			return plain(err)
		}
		defer s.Close()
		prepared, ok := s.(*duckdb.Stmt)
		if !ok {
			return errors.New("the statement is not DuckDB's")
		}
		kind, err := prepared.StatementType()
		if err != nil {
			return plain(err)
		}
		if kind != duckdb.STATEMENT_TYPE_SELECT {
			return errors.New("only queries are run here: SELECT, WITH and VALUES")
		}
		return nil
	})
}

func (j Job) read(rows *sql.Rows) (Answer, error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return Answer{}, plain(err)
	}
	a := Answer{Columns: make([]Column, len(types)), Rows: [][]*string{}}
	values, into := make([]any, len(types)), make([]any, len(types))
	for i, t := range types {
		a.Columns[i] = Column{t.Name(), trino(t.DatabaseTypeName())}
		into[i] = &values[i]
	}
	size := 0
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return Answer{}, plain(err)
		}
		row := make([]*string, len(values))
		for i, v := range values {
			if v == nil {
				continue
			}
			s := text(v, a.Columns[i].Type)
			row[i] = &s
			size += len(s)
		}
		a.Rows = append(a.Rows, row)
		if len(a.Rows) > j.MostRows || size > j.MostText {
			return Answer{}, fmt.Errorf("the answer has more than %d rows or %d bytes, which is all that is kept here", j.MostRows, j.MostText)
		}
	}
	return a, plain(rows.Err())
}

// plain takes from an error of DuckDB the lines that point into the statement: the positions are not Athena's.
func plain(err error) error {
	if err == nil {
		return nil
	}
	message, _, _ := strings.Cut(err.Error(), "\n\nLINE ")
	return errors.New(message)
}
