package athena

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/s3"
)

const (
	mostTables  = 50     // of a query with its views
	mostObjects = 20_000 // below a table
	mostCopied  = 2 << 30
)

// errLimit is that a query would scan more than its workgroup allows.
var errLimit = failure{cancelled, "Bytes scanned limit was exceeded"}

// plan is how a query is brought before the engine: who asks, what it reads, and what the engine is told of that.
type plan struct {
	s       *Service
	ctx     context.Context //nolint:containedctx // a plan lives as long as its query
	who     *iam.Principal
	dir     string // for the objects' copies
	cutoff  int64  // bytes; 0 is none
	scanned int64
	setup   []string
	seen    map[named]bool                // true once it is there, false while a view is being read
	values  map[named]map[string][]string // of each table's injected keys, that it is there with
}

// duck are the engine's types of the catalog's.
var duck = map[string]string{
	"string": "VARCHAR", "int": "INTEGER", "bigint": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN", "timestamp": "TIMESTAMP", "date": "DATE",
	"array<string>": "VARCHAR[]", "map<string,string>": "MAP(VARCHAR, VARCHAR)",
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
func name(text string) string  { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }

// need makes a table or view be there for the engine, with all that a view reads.
func (p *plan) need(database string, t place) error {
	if t.Database != "" {
		database = t.Database
	}
	if t.Catalog != "" && t.Catalog != source {
		return fail("CATALOG_NOT_FOUND: Catalog '%s' does not exist", t.Catalog)
	}
	if database == "" {
		return fail("MISSING_SCHEMA_NAME: Schema must be specified when session schema is not set: name the database before the table %s, or in QueryExecutionContext", t.Name)
	}
	full := named{source, database, t.Name}
	if done, seen := p.seen[full]; done {
		return p.again(full, t)
	} else if seen {
		return fail("VIEW_IS_RECURSIVE: View '%s' reads itself", full)
	}
	if len(p.seen) == mostTables {
		return fail("the local Athena reads at most %d tables and views in one query", mostTables)
	}
	p.seen[full] = false
	table, err := p.s.config.Catalog.Read(p.who, database, t.Name)
	switch {
	case errors.Is(err, glue.ErrNotFound):
		return fail("TABLE_NOT_FOUND: Table '%s' does not exist", full)
	case errors.Is(err, glue.ErrDenied):
		return fail("Insufficient permissions to execute the query. %s", err)
	case err != nil:
		return err
	}
	p.setup = append(p.setup, "CREATE SCHEMA IF NOT EXISTS "+source+"."+name(database))
	view, is, err := table.View()
	if err != nil {
		return err
	}
	if is {
		err = p.view(full, view)
	} else {
		err = p.table(full, table, t)
	}
	p.seen[full] = true
	return err
}

func (n named) String() string { return n.Catalog + "." + n.Database + "." + n.Name }

func (n named) sql() string { return source + "." + name(n.Database) + "." + name(n.Name) }

// view makes a view, unless the columns of its query are others than it declares.
func (p *plan) view(full named, v glue.View) error {
	stale := func(format string, args ...any) error {
		return fail("VIEW_IS_STALE: View '%s' is stale or in invalid state: %s", full, fmt.Sprintf(format, args...))
	}
	reads, err := p.s.ask(p.ctx, job{Database: v.Schema, Query: v.SQL, Only: "tables"})
	if err != nil {
		return p.blame(err, stale)
	}
	for _, t := range reads.Tables {
		if err := p.need(v.Schema, t); err != nil {
			return err
		}
	}
	gives, err := p.s.ask(p.ctx, job{Database: v.Schema, Setup: p.setup, Query: v.SQL, Only: "columns", Directories: []string{p.dir}})
	if err != nil {
		return p.blame(err, stale)
	}
	if len(gives.Columns) != len(v.Columns) {
		return stale("stored view column count (%d) does not match column count derived from the view query analysis (%d)", len(v.Columns), len(gives.Columns))
	}
	names := make([]string, len(v.Columns))
	for i, c := range v.Columns {
		got := gives.Columns[i]
		if !strings.EqualFold(got.Name, c.Name) {
			return stale("column [%s] of type %s projected from query view at position %d has a different name from column [%s] of type %s stored in view definition", got.Name, got.Type, i, c.Name, c.Type)
		}
		if plainType(got.Type) != plainType(c.Type) {
			return stale("column [%s] of type %s projected from query view at position %d cannot be coerced to column [%s] of type %s stored in view definition", got.Name, got.Type, i, c.Name, c.Type)
		}
		names[i] = name(c.Name)
	}
	p.setup = append(p.setup, "CREATE SCHEMA IF NOT EXISTS "+source+"."+name(v.Schema), "SET search_path="+quote(source+"."+name(v.Schema)+",memory.main"),
		"CREATE VIEW "+full.sql()+"("+strings.Join(names, ", ")+") AS "+v.SQL+"\n")
	return nil
}

// blame says of which view a failure is; other errors, and that the query was stopped, stay what they are.
func (p *plan) blame(err error, stale func(string, ...any) error) error {
	if f := (failure{}); p.ctx.Err() == nil && errors.As(err, &f) {
		return stale("%s", f.reason)
	}
	return err
}

// plainType is a type without blanks, in lower case, and with a timestamp's usual precision left out.
func plainType(text string) string {
	return strings.NewReplacer(" ", "", "timestamp(3)", "timestamp").Replace(strings.ToLower(text))
}

// table makes a view over copies of a table's objects. Columns are found by name; what a file lacks is NULL.
func (p *plan) table(full named, t glue.Table, at place) error {
	values, err := injected(full, t, at)
	if err != nil {
		return err
	}
	p.values[full] = values
	objects, err := p.objects(t, values)
	if err != nil {
		return err
	}
	keys, files, err := p.fetch(objects)
	if err != nil {
		return err
	}
	var empty, cells []string
	for _, c := range t.Columns {
		empty = append(empty, "CAST(NULL AS "+duck[c.Type]+") AS "+name(c.Name))
		if cell := "CAST(" + name(c.Name) + " AS " + duck[c.Type] + ")"; c.Type == "timestamp" {
			cells = append(cells, "date_trunc('millisecond', "+cell+") AS "+name(c.Name))
		} else {
			cells = append(cells, cell+" AS "+name(c.Name))
		}
	}
	for i, c := range t.Partitions {
		var values []string
		for _, k := range keys {
			values = append(values, quote(k[i]))
		}
		// The number of the partition begins a file's name.
		at := `CAST(regexp_extract("$file", '([0-9]+)-[0-9]+\.parquet$', 1) AS INTEGER)`
		cells = append(cells, "CAST((["+strings.Join(values, ", ")+"]::VARCHAR[])["+at+"] AS "+duck[c.Type]+") AS "+name(c.Name))
	}
	from := "SELECT " + strings.Join(append(empty, `CAST(NULL AS VARCHAR) AS "$file"`), ", ") + " WHERE false"
	if len(files) > 0 {
		from += ` UNION ALL BY NAME SELECT * FROM read_parquet([` + strings.Join(files, ", ") + `], union_by_name=true, hive_partitioning=false, filename='$file')`
	}
	p.setup = append(p.setup, "CREATE VIEW "+full.sql()+" AS SELECT "+strings.Join(cells, ", ")+" FROM ("+from+")")
	return nil
}

// injected are the values of the keys that a query has to name, which it has to do wherever it reads the table.
func injected(full named, t glue.Table, at place) (map[string][]string, error) {
	values := map[string][]string{}
	for _, key := range t.Injected() {
		for _, columns := range at.Equal {
			value, ok := columns[strings.ToLower(key)]
			if !ok {
				return nil, fail("CONSTRAINT_VIOLATION: For the injected projected partition column %s, the WHERE clause must contain only static equality conditions, and at least one such condition must be present. "+
					"The local Athena looks for it in the SELECT that reads the table %s and nothing else", key, full)
			}
			values[key] = append(values[key], value)
		}
	}
	return values, nil
}

// again holds that a table that is there already has what another of the query's views reads of it.
func (p *plan) again(full named, t place) error {
	for key, values := range p.values[full] {
		for _, columns := range t.Equal {
			if value, ok := columns[strings.ToLower(key)]; !ok || !slices.Contains(values, value) {
				return fail("the local Athena reads one choice of %s of the table %s in a query with views", key, full)
			}
		}
	}
	return nil
}

// object is one of a table's.
type object struct {
	s3.Found
	bucket string
	values []string // of the partition keys
}

// objects finds what a table has, and counts it.
func (p *plan) objects(t glue.Table, named map[string][]string) (list []object, err error) {
	bucket, prefix := location(t.Root())
	err = p.s.config.Buckets.Locate(p.who, bucket)
	var found []s3.Found
	if err == nil {
		found, err = p.s.config.Buckets.List(p.who, bucket, prefix, mostObjects)
	}
	if err != nil {
		return nil, fail("PERMISSION_DENIED: Failed to list directory: %s: %s", t.Root(), err)
	}
	for _, o := range found {
		base := path.Base(o.Key)
		if o.Size == 0 || strings.HasPrefix(base, "_") || strings.HasPrefix(base, ".") {
			continue // what Hive hides
		}
		values, there := t.Partition("s3://"+bucket+"/"+o.Key, p.s.config.Now(), named)
		if !there {
			continue
		}
		if p.scanned += o.Size; p.cutoff > 0 && p.scanned > p.cutoff {
			return nil, errLimit
		}
		if p.scanned > mostCopied {
			return nil, fail("the local Athena reads at most %d bytes in one query", mostCopied)
		}
		list = append(list, object{o, bucket, values})
	}
	return list, nil
}

// fetch copies objects into the query's folder, and returns the values of each partition, whose number from 1 on begins the
// names of its files.
func (p *plan) fetch(objects []object) (keys [][]string, files []string, err error) {
	dir, err := os.MkdirTemp(p.dir, "table-")
	if err != nil {
		return nil, nil, err
	}
	numbers := map[string]int{}
	for i, o := range objects {
		if err := p.ctx.Err(); err != nil {
			return nil, nil, context.Cause(p.ctx)
		}
		key := strings.Join(o.values, "\x00")
		if numbers[key] == 0 {
			keys = append(keys, o.values)
			numbers[key] = len(keys)
		}
		file := filepath.Join(dir, fmt.Sprintf("%d-%d.parquet", numbers[key], i))
		if err := p.s.config.Buckets.Copy(p.who, o.bucket, o.Key, file); err != nil {
			return nil, nil, fail("PERMISSION_DENIED: Permission denied on S3 path: s3://%s/%s: %s", o.bucket, o.Key, err)
		}
		files = append(files, quote(file))
	}
	return keys, files, nil
}
