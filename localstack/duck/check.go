package main

import (
	"maps"
	"slices"
	"strings"
)

// What a query may be is decided on its syntax tree as DuckDB reads it, before anything of it is looked up: everything that
// is not listed here is refused.

const onlyQueries = "the local Athena runs queries alone, one SELECT, WITH or VALUES at a time: other statements belong to templates"

// sources are what a query may read from.
var sources = words("BASE_TABLE SUBQUERY JOIN TABLE_FUNCTION EXPRESSION_LIST EMPTY")

// classes are the kinds of expressions that Trino has too.
var classes = words("BETWEEN CASE CAST COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA OPERATOR STAR SUBQUERY WINDOW")

// functions are Trino's that work here: DuckDB's own which mean the same, and those of the dialect.
var functions = words(`
	abs acos any_value approx_distinct arbitrary array_agg array_distinct array_join array_max array_min array_sort at_timezone avg
	bool_and bool_or cardinality cbrt ceil ceiling chr coalesce concat concat_ws contains cos count count_if cume_dist current_date
	current_timestamp date date_add date_diff date_format date_part date_trunc day day_of_month day_of_week day_of_year degrees dense_rank
	element_at ends_with every exp filter first_value flatten floor format_datetime from_iso8601_date from_iso8601_timestamp from_unixtime
	generate_series geometric_mean greatest histogram hour if json_array_length json_extract json_extract_scalar lag last_value lead least
	length levenshtein_distance list_value ln localtimestamp log10 log2 lower lpad ltrim map map_agg map_concat map_entries map_from_entries
	map_keys map_values max max_by md5 millisecond min min_by minute mod month now nth_value ntile nullif percent_rank pi position power quarter
	radians rank regexp_extract regexp_like regexp_replace replace reverse round row row_number rpad rtrim second sequence sha256 sign sin
	slice split split_part sqrt starts_with stddev stddev_pop stddev_samp strpos struct_pack substr substring sum tan to_hex to_iso8601
	to_unixtime to_utf8 translate trim trunc truncate try typeof unnest upper url_decode url_encode var_pop var_samp variance week
	year to_years to_months to_days to_hours to_minutes to_seconds to_milliseconds to_weeks
	struct_extract array_extract like_escape ilike_escape not_like_escape not_ilike_escape timezone get_current_timestamp
	regexp_full_match prefix suffix count_star cast today last_day_of_month year_of_week`)

// operators are written between their operands, and are functions in the tree.
var operators = words("+ - * / // % || ~~ !~~ ->> -> @> <@ ^ ** & | << >> ~")

// own are the namespaces in which the parser itself puts what Trino has words for, such as EXTRACT.
var own = map[string]bool{"": true, "main": true, "pg_catalog": true, "system": true}

func words(text string) map[string]bool {
	out := map[string]bool{}
	for word := range strings.FieldsSeq(text) {
		out[word] = true
	}
	return out
}

// check holds that a query is made of what is listed, and returns the tables that it names.
func check(root any) ([]Table, error) {
	w := walk{found: map[string]*Table{}}
	if err := w.node(root, nil); err != nil {
		return nil, err
	}
	var tables []Table
	for _, name := range slices.Sorted(maps.Keys(w.found)) {
		tables = append(tables, *w.found[name])
	}
	return tables, nil
}

// walk goes through a tree. What it found is by the tables' whole names.
type walk struct{ found map[string]*Table }

// node looks at a value of the tree. scope are the names that WITH gives around it, in lower case.
func (w walk) node(v any, scope []string) error {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := w.node(item, scope); err != nil {
				return err
			}
		}
	case map[string]any:
		if _, constant := v["is_null"]; constant {
			return nil // the value itself: whatever is in it is data
		}
		if err := w.look(v, scope); err != nil {
			return err
		}
		scope, err := w.with(v, scope)
		if err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if key == "cte_map" {
				continue
			}
			if err := w.node(v[key], scope); err != nil {
				return err
			}
		}
	}
	return nil
}

// with walks through the queries that WITH names, each of which knows those before it and, if it is recursive, itself.
func (w walk) with(v map[string]any, scope []string) ([]string, error) {
	scope = slices.Clone(scope)
	if kind := str(v, "type"); kind == "RECURSIVE_CTE_NODE" || kind == "CTE_NODE" {
		scope = append(scope, strings.ToLower(str(v, "cte_name")))
	}
	table, _ := v["cte_map"].(map[string]any)
	list, _ := table["map"].([]any)
	for _, item := range list {
		entry, _ := item.(map[string]any)
		if err := w.node(entry["value"], scope); err != nil {
			return nil, err
		}
		scope = append(scope, strings.ToLower(str(entry, "key")))
	}
	return scope, nil
}

func str(v map[string]any, key string) string {
	text, _ := v[key].(string)
	return text
}

// look decides about one node alone.
func (w walk) look(v map[string]any, scope []string) error {
	kind := str(v, "type")
	_, source := v["sample"]
	class, expression := v["class"].(string)
	switch {
	case expression && class == "PARAMETER":
		return refuse("INVALID_PARAMETER_USAGE: Incorrect number of parameters: the query has a $ or ? that no parameter is for")
	case expression && !classes[class]:
		return refuse("SYNTAX_ERROR: the local Athena has no expression %s", strings.ToLower(class))
	case strings.HasSuffix(kind, "_NODE"), expression:
	case source && !sources[kind]:
		return refuse("%s", onlyQueries)
	}
	if kind == "TABLE_FUNCTION" && source {
		inner, _ := v["function"].(map[string]any)
		if called := strings.ToLower(str(inner, "function_name")); called != "unnest" {
			return refuse("FUNCTION_NOT_FOUND: the local Athena reads from tables and from UNNEST, and not from %s", called)
		}
	}
	if class == "STAR" && !plainStar(v) {
		return refuse("SYNTAX_ERROR: a * has nothing beside it but a table before it")
	}
	if class == "FUNCTION" || class == "WINDOW" {
		if err := function(v); err != nil {
			return err
		}
	}
	if kind == "BASE_TABLE" {
		w.read(v, scope)
	}
	if kind == "SELECT_NODE" {
		if from, _ := v["from_table"].(map[string]any); str(from, "type") == "BASE_TABLE" {
			from[equal] = equalities(v["where_clause"], strings.ToLower(str(from, "table_name")), strings.ToLower(str(from, "alias")))
		}
	}
	return nil
}

// equal is where the node of a table that a SELECT reads alone has what its columns have to be equal to. DuckDB gives it none of
// this name.
const equal = "stile:equal"

// read notes that a query reads a table, unless the name is one that a WITH gives.
func (w walk) read(v map[string]any, scope []string) {
	t := Table{Catalog: strings.ToLower(str(v, "catalog_name")), Database: strings.ToLower(str(v, "schema_name")), Name: strings.ToLower(str(v, "table_name"))}
	if t.Database == "" && slices.Contains(scope, t.Name) {
		return
	}
	whole := t.Catalog + "." + t.Database + "." + t.Name
	if w.found[whole] == nil {
		w.found[whole] = &t
	}
	columns, _ := v[equal].(map[string]string)
	w.found[whole].Equal = append(w.found[whole].Equal, columns)
}

// equalities are the columns of a table that a condition demands to be equal to a text. Of two texts for one column, the first is
// told: no row has both.
func equalities(condition any, table ...string) map[string]string {
	out := map[string]string{}
	v, _ := condition.(map[string]any)
	switch str(v, "type") {
	case "CONJUNCTION_AND":
		parts, _ := v["children"].([]any)
		for i := range parts {
			maps.Copy(out, equalities(parts[len(parts)-1-i], table...))
		}
	case "COMPARE_EQUAL":
		column, ok := columnOf(v["left"], table)
		text, is := textOf(v["right"])
		if !ok {
			column, ok = columnOf(v["right"], table)
			text, is = textOf(v["left"])
		}
		if ok && is {
			out[column] = text
		}
	}
	return out
}

// columnOf is the name of a column that stands alone, or behind one of a table's names.
func columnOf(v any, table []string) (string, bool) {
	node, _ := v.(map[string]any)
	names, _ := node["column_names"].([]any)
	if str(node, "class") != "COLUMN_REF" || len(names) == 0 || len(names) > 2 {
		return "", false
	}
	before, _ := names[0].(string)
	if len(names) == 2 && !slices.Contains(table, strings.ToLower(before)) {
		return "", false
	}
	column, _ := names[len(names)-1].(string)
	return strings.ToLower(column), true
}

// textOf is a text that is written as one.
func textOf(v any) (string, bool) {
	node, _ := v.(map[string]any)
	value, _ := node["value"].(map[string]any)
	kind, _ := value["type"].(map[string]any)
	text, is := value["value"].(string)
	return text, is && str(node, "class") == "CONSTANT" && str(kind, "id") == "VARCHAR"
}

func function(v map[string]any) error {
	called := strings.ToLower(str(v, "function_name"))
	infix, _ := v["is_operator"].(bool)
	if infix && operators[called] || functions[called] && own[str(v, "schema")] && own[str(v, "catalog")] {
		return nil
	}
	return refuse("FUNCTION_NOT_FOUND: Function '%s' not registered: the local Athena has no such function", called)
}

// plainStar reports whether a * is without what DuckDB alone knows: COLUMNS, EXCLUDE, REPLACE and RENAME.
func plainStar(v map[string]any) bool {
	for _, key := range []string{"exclude_list", "qualified_exclude_list", "rename_list", "replace_list"} {
		if list, _ := v[key].([]any); len(list) > 0 {
			return false
		}
	}
	columns, _ := v["columns"].(bool)
	return !columns && v["expr"] == nil
}
