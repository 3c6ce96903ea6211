package athena

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// The engine is a program of its own: a query's memory and its life are those of a process.

const (
	memoryMB   = 1024
	mostRows   = 1_000_000
	mostBytes  = 64 << 20 // of a query's values as text
	mostAnswer = 8 * mostBytes
)

// job is what the engine is given, as it reads it.
type job struct {
	Database    string   `json:"database"`
	Setup       []string `json:"setup"`
	Query       string   `json:"query"`
	Parameters  []string `json:"parameters,omitempty"`
	Directories []string `json:"directories"`
	Only        string   `json:"only,omitempty"` // tables or columns
	MemoryMB    int      `json:"memory_mb"`
	MostRows    int      `json:"most_rows"`
	MostBytes   int      `json:"most_bytes"`
}

// outcome is what the engine answers.
type outcome struct {
	Tables  []place
	Columns []column
	Rows    [][]*string
	Error   string
}

// place is a table with what a query says, wherever it reads it, its columns to be equal to.
type place struct {
	named
	Equal []map[string]string
}

// named is a table as a query names it.
type named struct{ Catalog, Database, Name string }

// column is a column of an answer, with Trino's type.
type column struct{ Name, Type string }

// failure is how and why a query ended without an answer, for who asked it.
type failure struct{ state, reason string }

func (f failure) Error() string { return f.reason }

func fail(format string, args ...any) error { return failure{failed, fmt.Sprintf(format, args...)} }

// limited keeps the first bytes that are written, and refuses more.
type limited struct {
	bytes.Buffer
	most int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > l.most {
		return 0, errors.New("there is too much output")
	}
	return l.Buffer.Write(p)
}

// ask has the engine do a job. The process ends with ctx.
func (s *Service) ask(ctx context.Context, j job) (outcome, error) {
	if _, err := os.Stat(s.config.Engine); err != nil {
		return outcome{}, fail("the local Athena's engine is not built: run make duck, which needs a C++ compiler (Debian package g++), and ask again")
	}
	j.MemoryMB, j.MostRows, j.MostBytes = memoryMB, mostRows, mostBytes
	raw, err := json.Marshal(j)
	if err != nil {
		return outcome{}, err
	}
	out, told := limited{most: mostAnswer}, limited{most: 64 << 10}
	cmd := exec.CommandContext(ctx, s.config.Engine)
	cmd.Env, cmd.Dir = []string{}, s.config.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(raw), &out, &told
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return outcome{}, context.Cause(ctx)
		}
		return outcome{}, fail("the query ended its engine (%s %.400s): make it smaller, and ask again", err, strings.TrimSpace(told.String()))
	}
	var o outcome
	if err := json.Unmarshal(out.Bytes(), &o); err != nil {
		return outcome{}, fmt.Errorf("reading the engine's answer: %w", err)
	}
	if o.Error != "" {
		return outcome{}, failure{failed, coded(o.Error)}
	}
	return o, nil
}

// codes are what Athena's reasons begin with, by how the engine's begin.
var codes = []struct{ begins, has, code string }{
	{"Parser Error: ", "", "SYNTAX_ERROR"},
	{"Binder Error: ", "not found in FROM clause", "COLUMN_NOT_FOUND"},
	{"Binder Error: ", "", "SYNTAX_ERROR"},
	{"Catalog Error: ", "Function", "FUNCTION_NOT_FOUND"},
	{"Catalog Error: ", "", "TABLE_NOT_FOUND"},
	{"Conversion Error: ", "", "INVALID_CAST_ARGUMENT"},
	{"Invalid Input Error: ", "", "INVALID_FUNCTION_ARGUMENT"},
	{"Out of Range Error: ", "", "NUMERIC_VALUE_OUT_OF_RANGE"},
}

// coded says what is wrong with a query under the code that Athena has for it, on one line.
func coded(reason string) string {
	for _, c := range codes {
		if said, ours := strings.CutPrefix(reason, c.begins); ours && strings.Contains(said, c.has) {
			return c.code + ": " + strings.Join(strings.Fields(said), " ")
		}
	}
	return reason
}
