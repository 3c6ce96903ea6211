package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// dialect are the functions of Trino that DuckDB lacks, or has with another meaning: macros with a line between them.
//
//go:embed dialect.sql
var dialect string

const (
	catalog = "awsdatacatalog"

	leastMemory      = 256     // MiB
	usualRows        = 1 << 20 // of an answer
	usualBytes       = 64 << 20
	defaultNamespace = "default"
)

// run does the job. Its error is a refusal when the query is to blame.
func (j Job) run(ctx context.Context) (answer Answer, err error) {
	if j.Database == "" {
		j.Database = defaultNamespace
	}
	query, err := place(j.Query, j.Parameters)
	if err != nil {
		return Answer{}, err
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return Answer{}, fmt.Errorf("opening DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return Answer{}, fmt.Errorf("opening DuckDB: %w", err)
	}
	if err := j.confine(ctx, conn); err != nil {
		return Answer{}, err
	}
	root, err := parse(ctx, conn, query)
	if err != nil {
		return Answer{}, err
	}
	tables, err := check(root)
	if err != nil || j.Only == "tables" {
		return Answer{Tables: tables}, err
	}
	if err := j.prepare(ctx, conn); err != nil {
		return Answer{}, err
	}
	if err := j.present(ctx, conn, tables); err != nil {
		return Answer{}, err
	}
	err = conn.Raw(func(c any) error {
		answer, err = j.answer(ctx, c.(*duckdb.Conn), query)
		return err
	})
	names := make([]string, len(answer.Columns))
	for i, c := range answer.Columns {
		names[i] = c.Name
	}
	titles(root, names)
	for i, n := range names {
		answer.Columns[i].Name = n
	}
	return answer, err
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
func name(text string) string  { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }

func execute(ctx context.Context, conn *sql.Conn, statements ...string) error {
	for _, s := range statements {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("preparing the engine by %.200s: %w", s, err)
		}
	}
	return nil
}

// confine takes from the engine all that a query has no need of: other files, extensions, threads and disk.
func (j Job) confine(ctx context.Context, conn *sql.Conn) error {
	var allowed []string
	for _, dir := range j.Directories {
		if !filepath.IsAbs(dir) || dir == "/" {
			return fmt.Errorf("the job's directory %q is no absolute path of a folder", dir)
		}
		allowed = append(allowed, quote(filepath.Clean(dir)+"/"))
	}
	return execute(ctx, conn,
		fmt.Sprintf("SET memory_limit='%dMiB'", max(j.MemoryMB, leastMemory)),
		"SET threads=1", "SET temp_directory=''", "SET TimeZone='UTC'", "SET integer_division=true",
		"SET autoinstall_known_extensions=false", "SET autoload_known_extensions=false", "SET allow_community_extensions=false",
		"SET allowed_directories=["+strings.Join(allowed, ", ")+"]",
		"ATTACH ':memory:' AS "+catalog, "SET enable_external_access=false",
	)
}

// prepare makes the dialect and the job's views, and locks the settings.
func (j Job) prepare(ctx context.Context, conn *sql.Conn) error {
	space := catalog + "." + name(j.Database)
	if err := execute(ctx, conn, "CREATE SCHEMA IF NOT EXISTS "+space); err != nil {
		return err
	}
	for macro := range strings.SplitSeq(dialect, "\n\n") {
		if err := execute(ctx, conn, macro); err != nil {
			return err
		}
	}
	if err := execute(ctx, conn, "SET search_path="+quote(space+",memory.main")); err != nil {
		return err
	}
	for _, s := range j.Setup {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return refuse("%s", reason(err))
		}
	}
	// The setup may have looked elsewhere, for the views of other databases.
	return execute(ctx, conn, "SET search_path="+quote(space+",memory.main"), "SET lock_configuration=true")
}

// present refuses tables that the setup didn't make, among them DuckDB's own.
func (j Job) present(ctx context.Context, conn *sql.Conn, tables []Table) error {
	for _, t := range tables {
		database := t.Database
		if database == "" {
			database = j.Database
		}
		var found int
		err := conn.QueryRowContext(ctx, `SELECT count(*) FROM (
			SELECT database_name d, schema_name s, view_name n FROM duckdb_views() WHERE NOT internal
			UNION ALL SELECT database_name, schema_name, table_name FROM duckdb_tables() WHERE NOT internal
		) WHERE lower(d) = ? AND lower(s) = lower(?) AND lower(n) = lower(?)`, catalog, database, t.Name).Scan(&found)
		if err != nil {
			return fmt.Errorf("looking for table %s: %w", t.Name, err)
		}
		if found == 0 || t.Catalog != "" && !strings.EqualFold(t.Catalog, catalog) {
			return refuse("TABLE_NOT_FOUND: Table '%s.%s.%s' does not exist", catalog, database, t.Name)
		}
	}
	return nil
}

// reason is an error of DuckDB as a query's writer reads it: without the line that is quoted below it.
func reason(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n\nLINE ")
	return text
}

// answer runs the query, unless its columns are enough.
func (j Job) answer(ctx context.Context, conn *duckdb.Conn, query string) (out Answer, err error) {
	prepared, err := conn.Prepare(query)
	if err != nil {
		return Answer{}, refuse("%s", reason(err))
	}
	statement := prepared.(*duckdb.Stmt)
	defer func() { err = errors.Join(err, statement.Close()) }()
	if kind, err := statement.StatementType(); err != nil || kind != duckdb.STATEMENT_TYPE_SELECT {
		return Answer{}, refuse("%s", onlyQueries)
	}
	n, err := statement.ColumnCount()
	if err != nil {
		return Answer{}, fmt.Errorf("reading the columns: %w", err)
	}
	kinds := make([]duckdb.TypeInfo, n)
	for i := range n {
		title, err := statement.ColumnName(i)
		if err != nil {
			return Answer{}, fmt.Errorf("reading column %d: %w", i, err)
		}
		if kinds[i], err = statement.ColumnTypeInfo(i); err != nil { // a row without names, for one
			return Answer{}, refuse("column %s: %s", title, errUnshown)
		}
		kind, err := typeName(kinds[i])
		if err != nil {
			return Answer{}, refuse("column %s: %s", title, err)
		}
		out.Columns = append(out.Columns, Column{title, kind})
	}
	if j.Only == "columns" {
		return out, nil
	}
	out.Rows, err = j.rows(ctx, statement, kinds)
	return out, err
}

func (j Job) rows(ctx context.Context, statement *duckdb.Stmt, kinds []duckdb.TypeInfo) (out [][]*string, err error) {
	if j.MostRows == 0 {
		j.MostRows = usualRows
	}
	if j.MostBytes == 0 {
		j.MostBytes = usualBytes
	}
	rows, err := statement.QueryContext(ctx, nil)
	if err != nil {
		return nil, refuse("%s", reason(err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values, size := make([]driver.Value, len(kinds)), 0
	for {
		if err := rows.Next(values); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, refuse("%s", reason(err))
		}
		row := make([]*string, len(values))
		for i, v := range values {
			if v == nil {
				continue
			}
			text, err := show(kinds[i], v)
			if err != nil {
				return nil, refuse("%s", err)
			}
			size += len(text)
			row[i] = &text
		}
		if out = append(out, row); len(out) > j.MostRows || size > j.MostBytes {
			return nil, refuse("the local Athena gives at most %d rows and %d bytes of one query: narrow it or add a LIMIT", j.MostRows, j.MostBytes)
		}
	}
}
