package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
)

// titles names the columns that a query leaves without a name as Trino does: _col and the column's place, from 0. root is the
// query's syntax tree, and names are what DuckDB calls the columns.
func titles(root any, names []string) {
	statement, _ := root.(map[string]any)
	node, _ := statement["node"].(map[string]any)
	for node != nil && str(node, "type") != "SELECT_NODE" { // the first of a UNION names the columns
		node, _ = node["left"].(map[string]any)
	}
	list, _ := node["select_list"].([]any)
	for i := range list { // up to a *, whose columns are as many as they are
		if !untitled(list[i], names, i) {
			break
		}
	}
	for i := range list {
		if !untitled(list[len(list)-1-i], names, len(names)-1-i) {
			break
		}
	}
}

// untitled names the column at a place if its item in the query doesn't, and reports whether the item is one column.
func untitled(item any, names []string, at int) bool {
	v, _ := item.(map[string]any)
	class := str(v, "class")
	if class == "STAR" || at < 0 || at >= len(names) {
		return false
	}
	if class != "COLUMN_REF" && str(v, "alias") == "" {
		names[at] = fmt.Sprintf("_col%d", at)
	}
	return true
}

// parse reads a query's syntax tree. What is not one query is refused.
func parse(ctx context.Context, conn *sql.Conn, query string) (root any, err error) {
	var raw string
	if err := conn.QueryRowContext(ctx, "SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS VARCHAR)", query).Scan(&raw); err != nil {
		return nil, fmt.Errorf("reading the query: %w", err)
	}
	var t tree
	if err := json.Unmarshal([]byte(raw), &t); err != nil {
		return nil, fmt.Errorf("reading the query: %w", err)
	}
	switch {
	case t.Error && t.Kind == notQuery, !t.Error && len(t.Statements) != 1:
		return nil, refuse("%s", onlyQueries)
	case t.Error:
		return nil, refuse("SYNTAX_ERROR: %s", t.Message)
	}
	return t.Statements[0], nil
}

// notQuery is the kind of error by which json_serialize_sql says that a statement is not a SELECT: it writes no other's tree.
const notQuery = "not implemented"

// tree is what json_serialize_sql answers.
type tree struct {
	Error      bool   `json:"error"`
	Message    string `json:"error_message"`
	Kind       string `json:"error_type"`
	Statements []any  `json:"statements"`
}
