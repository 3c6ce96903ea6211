// Package named has the questions that a compliance team asks of the audit lake, by name: a file of Trino's SQL for each,
// whose head says the question and what it wants to know. A query reads the tables events and period, which whoever runs
// it puts before it: the events of the period, each once, and the period's two ends.
//
// It runs nothing and reads no clock. Its entry points are [Find] and [Query.Bind].
package named

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

// Kind is what a parameter's value is.
type Kind string

// The kinds.
const (
	Text   Kind = "text"   // at least one character; * where the parameter's words say that it means all
	Number Kind = "number" // a whole number, decimal
	Days   Kind = "days"   // a number of days that the period must have
	Time   Kind = "time"   // RFC 3339, or a day as 2026-01-31, which is its first moment in UTC
)

// Parameter is what a query wants to know.
type Parameter struct {
	Name        string // of the marker, without its colon
	Kind        Kind   //
	Default     string // what it is unless it is given; empty when it must be given
	Least, Most int64  // what a number may be
	Says        string // one line: what it chooses
}

// Query is a question by its name.
type Query struct {
	Name       string // lower-case words with hyphens between them
	Question   string // one sentence
	Parameters []Parameter
	SQL        string // a SELECT, or WITH and one, with a marker :name wherever it uses a parameter
}

//go:embed sql/*.sql
var files embed.FS

var all = sync.OnceValue(func() []Query {
	paths, err := fs.Glob(files, "sql/*.sql")
	if err != nil {
		panic(fmt.Sprintf("named: %v", err))
	}
	list := make([]Query, 0, len(paths))
	for _, path := range paths {
		text, err := files.ReadFile(path)
		if err != nil {
			panic(fmt.Sprintf("named: %v", err))
		}
		q, err := Parse(strings.TrimSuffix(strings.TrimPrefix(path, "sql/"), ".sql"), string(text))
		if err != nil {
			panic(fmt.Sprintf("named: %v", err))
		}
		list = append(list, q)
	}
	slices.SortFunc(list, func(a, b Query) int { return strings.Compare(a.Name, b.Name) })
	return list
})

// All returns the queries in the order of their names.
func All() []Query { return slices.Clone(all()) }

// Find returns the query of a name, and whether there is one.
func Find(name string) (Query, bool) {
	i, ok := slices.BinarySearchFunc(all(), name, func(q Query, name string) int { return strings.Compare(q.Name, name) })
	if !ok {
		return Query{}, false
	}
	return all()[i], true
}
