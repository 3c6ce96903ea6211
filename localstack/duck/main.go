// Command duck runs one query of Athena on DuckDB: a job as JSON on its input, the answer as JSON on its output. A query's
// memory and its life are those of the process.
//
// It knows neither S3 nor Glue: the job says which views there are, and which folders they may read.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxJob bounds a job, in bytes: hundreds of views whose queries are as long as they may be.
const maxJob = 64 << 20

// Job is what to run.
type Job struct {
	Database    string   `json:"database"`    // of tables that the query names without one; "default" if empty
	Setup       []string `json:"setup"`       // statements of DuckDB that make views; trusted
	Query       string   `json:"query"`       // of Trino; trusted with nothing
	Parameters  []string `json:"parameters"`  // literals for each ? in the query, in order
	Directories []string `json:"directories"` // what the setup and the query may read, and nothing else; absolute paths
	Only        string   `json:"only"`        // "tables": say which tables the query names; "columns": what it would give; "": run it
	MemoryMB    int      `json:"memory_mb"`   // MiB; 0 is 256
	MostRows    int      `json:"most_rows"`   // 0 is 1,000,000
	MostBytes   int      `json:"most_bytes"`  // of all values as text; 0 is 64 MiB
}

// Answer is what came of it. Nothing else is in it beside an error.
type Answer struct {
	Tables  []Table     `json:"tables,omitempty"`
	Columns []Column    `json:"columns,omitempty"`
	Rows    [][]*string `json:"rows,omitempty"` // nil is NULL
	Error   string      `json:"error,omitempty"`
}

// Table is a table that a query names, with "" for what it leaves out.
type Table struct {
	Catalog  string `json:"catalog"`
	Database string `json:"database"`
	Name     string `json:"name"`

	// Equal says of each place where the table is read which columns have to be equal to a text there, by the WHERE of the SELECT
	// that reads nothing else.
	Equal []map[string]string `json:"equal"`
}

// Column is a column of the answer. Type is Trino's, as varchar or map(varchar, varchar).
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

func main() {
	if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "duck:", err)
		os.Exit(1)
	}
}

// serve reads a job and writes its answer. What is wrong with the query is in the answer.
func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	raw, err := io.ReadAll(io.LimitReader(in, maxJob+1))
	if err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	if len(raw) > maxJob {
		return errors.New("reading the job: it is too large")
	}
	var job Job
	if err := json.Unmarshal(raw, &job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	answer, err := job.run(ctx)
	if refused := (refusal{}); errors.As(err, &refused) {
		answer, err = Answer{Error: refused.Error()}, nil
	}
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(answer); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// refusal is what is wrong with a query, said as Athena says it where that is known.
type refusal struct{ message string }

func (r refusal) Error() string { return r.message }

func refuse(format string, args ...any) error { return refusal{fmt.Sprintf(format, args...)} }
