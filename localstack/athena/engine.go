package athena

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/s3"
)

// Bounds of a query here. Athena's own are far beyond.
const (
	mostMemory = 512       // MB
	mostRows   = 200_000   // of an answer
	mostText   = 32 << 20  // bytes of an answer
	mostOutput = 128 << 20 // bytes of JSON that say it
	mostTime   = 5 * time.Minute
)

// job and answer are what the program duck takes and gives.
type job struct {
	Setup, Files               []string
	Query                      string
	Memory, MostRows, MostText int
}

type answer struct {
	Columns []column
	Rows    [][]*string
	Fault   string
}

// column is one of an answer, with its type in Trino's words.
type column struct{ Name, Type string }

// dialect are functions of Trino that the engine here has under other names or not at all.
var dialect = []string{
	"CREATE MACRO element_at(m, k) AS m[k]",
	"CREATE MACRO cardinality(l) AS len(l)",
	"CREATE MACRO approx_distinct(x) AS approx_count_distinct(x)",
	"CREATE MACRO regexp_like(s, p) AS regexp_matches(s, p)",
	"CREATE MACRO array_join(l, s) AS CASE WHEN len(l) = 0 THEN '' ELSE list_reduce(l, lambda a, b: a || s || b) END",
	"CREATE MACRO json_extract_scalar(j, p) AS json_extract_string(j, p)",
	"CREATE MACRO day_of_week(t) AS isodow(t)",
	"CREATE MACRO from_iso8601_timestamp(s) AS CAST(s AS TIMESTAMPTZ)",
	"CREATE MACRO at_timezone(t, z) AS timezone(z, t)",
	"CREATE MACRO to_unixtime(t) AS epoch(t)",
	"CREATE MACRO from_unixtime(s) AS make_timestamp(CAST(s * 1000000 AS BIGINT))",
	"CREATE MACRO date_add(u, n, t) AS t + CASE lower(u) WHEN 'second' THEN to_seconds(n) WHEN 'minute' THEN to_minutes(n) " +
		"WHEN 'hour' THEN to_hours(n) WHEN 'day' THEN to_days(CAST(n AS INTEGER)) WHEN 'week' THEN to_weeks(CAST(n AS INTEGER)) " +
		"WHEN 'month' THEN to_months(CAST(n AS INTEGER)) WHEN 'year' THEN to_years(CAST(n AS INTEGER)) END",
}

// hive are the types of a table's columns as the engine here calls them.
var hive = map[string]string{
	"string": "VARCHAR", "int": "INTEGER", "bigint": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN", "timestamp": "TIMESTAMP", "date": "DATE",
	"array<string>": "VARCHAR[]", "map<string,string>": "MAP(VARCHAR, VARCHAR)",
}

// plan is what a query reads.
type plan struct {
	setup []string
	files []string
	bytes int64
	made  map[string]bool // tables and views, as database.name
}

// plan finds the tables and views that a statement names, with the rights of whoever asks.
func (s *Service) plan(who *iam.Principal, database, sql string) (*plan, error) {
	if !question.MatchString(blank(sql)) {
		return nil, errors.New("the local Athena runs queries alone: SELECT, WITH and VALUES")
	}
	p := &plan{setup: append([]string{`CREATE SCHEMA "` + database + `"`, `SET search_path = '` + database + `,main'`}, dialect...), made: map[string]bool{}}
	return p, s.add(p, who, database, sql)
}

// question is how a query begins.
var question = regexp.MustCompile(`(?i)^[\s(]*(SELECT|WITH|VALUES)\b`)

// databaseForm is what databases may be called here.
var databaseForm = regexp.MustCompile(`^[a-z0-9_]{1,255}$`)

func (s *Service) add(p *plan, who *iam.Principal, database, sql string) error {
	named, alone := words(sql)
	if !alone {
		return errors.New("Only one sql statement is allowed.") //nolint:staticcheck,revive // Athena's words
	}
	for w := range named {
		if native.MatchString(w) {
			return fmt.Errorf("FUNCTION_NOT_FOUND: Function '%s' not registered", w)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if p.made[name] || !databaseForm.MatchString(name) {
			continue
		}
		if _, err := s.config.Catalog.Find(database, name); errors.Is(err, glue.ErrNotFound) {
			continue // a column, a function, or what the engine says isn't there
		} else if err != nil {
			return err
		}
		t, err := s.config.Catalog.Read(who, database, name)
		if err != nil {
			return err
		}
		p.made[name] = true
		if err := s.make(p, who, t); err != nil {
			return err
		}
	}
	return nil
}

// make declares a table or a view of the catalog.
func (s *Service) make(p *plan, who *iam.Principal, t glue.Table) error {
	v, is, err := t.View()
	if err != nil {
		return err
	}
	if is {
		if err := s.add(p, who, t.Database, v.SQL); err != nil {
			return err
		}
		names := make([]string, len(v.Columns))
		for i, c := range v.Columns {
			names[i] = quoted(c.Name)
		}
		p.setup = append(p.setup, fmt.Sprintf("CREATE VIEW %s.%s(%s) AS %s", quoted(t.Database), quoted(t.Name), strings.Join(names, ", "), v.SQL))
		return nil
	}
	return s.read(p, who, t)
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// read declares a table over the objects of its partitions. As on AWS, what isn't where the projection says is not there, and a file
// without a column has NULL in it.
func (s *Service) read(p *plan, who *iam.Principal, t glue.Table) error {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(t.Location, "s3://"), "/")
	found, err := s.config.Buckets.Find(who, bucket, prefix)
	if err != nil {
		return err
	}
	partitions := map[string][]s3.Stored{}
	for _, o := range found {
		if values, ok := t.Partition("s3://"+bucket+"/"+o.Key, s.config.Now()); ok {
			key := strings.Join(values, "\x00")
			partitions[key] = append(partitions[key], o)
			p.bytes += o.Size
			p.files = append(p.files, o.Path)
		}
	}
	var none, typed []string
	for _, c := range t.Columns {
		none = append(none, fmt.Sprintf("CAST(NULL AS %s) AS %s", hive[c.Type], quoted(c.Name)))
		typed = append(typed, fmt.Sprintf("CAST(%s AS %s) AS %s", quoted(c.Name), hive[c.Type], quoted(c.Name)))
	}
	empty := slices.Clone(none)
	for _, c := range t.Partitions {
		empty = append(empty, "CAST(NULL AS VARCHAR) AS "+quoted(c.Name))
	}
	parts := []string{"SELECT " + strings.Join(empty, ", ") + " WHERE false"}
	for _, key := range slices.Sorted(maps.Keys(partitions)) {
		var paths []string
		for _, o := range partitions[key] {
			paths = append(paths, literal(o.Path))
		}
		columns := slices.Clone(typed)
		for i, v := range strings.Split(key, "\x00") {
			if i < len(t.Partitions) {
				columns = append(columns, literal(v)+" AS "+quoted(t.Partitions[i].Name))
			}
		}
		parts = append(parts, fmt.Sprintf("SELECT %s FROM (SELECT %s WHERE false UNION ALL BY NAME SELECT * FROM read_parquet([%s], union_by_name = true))",
			strings.Join(columns, ", "), strings.Join(none, ", "), strings.Join(paths, ", ")))
	}
	p.setup = append(p.setup, fmt.Sprintf("CREATE VIEW %s.%s AS %s", quoted(t.Database), quoted(t.Name), strings.Join(parts, " UNION ALL ")))
	return nil
}

// errStopped is why a query that was stopped has no answer.
var errStopped = errors.New("Query was cancelled") //nolint:staticcheck // Athena's words

// run has the engine answer a query. It is a process of its own, so that one that takes too much ends alone.
func (s *Service) run(ctx context.Context, p *plan, sql string) (answer, error) {
	in, err := json.Marshal(job{Setup: p.setup, Files: p.files, Query: sql, Memory: mostMemory, MostRows: mostRows, MostText: mostText})
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, mostTime)
	defer cancel()
	c := exec.CommandContext(ctx, s.config.Engine)
	out := &bounded{most: mostOutput}
	c.Stdin, c.Stdout, c.Env = bytes.NewReader(in), out, []string{}
	switch err := c.Run(); {
	case errors.Is(err, fs.ErrNotExist):
		return answer{}, errors.New("the local Athena has no engine: build it by make duck, which needs a C++ compiler")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return answer{}, fmt.Errorf("the local Athena ends a query after %s", mostTime)
	case ctx.Err() != nil:
		return answer{}, errStopped
	case err != nil:
		return answer{}, fmt.Errorf("EXCEEDED_MEMORY_LIMIT or a fault of the engine: it ended with %w", err)
	}
	var a answer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		return answer{}, fmt.Errorf("reading the engine's answer: %w", err)
	}
	if a.Fault != "" {
		return answer{}, errors.New(a.Fault)
	}
	return a, nil
}

// bounded is a buffer that takes no more than so many bytes.
type bounded struct {
	bytes.Buffer

	most int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.most {
		return 0, os.ErrInvalid
	}
	return b.Buffer.Write(p)
}
