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
	to_unixtime translate trim trunc truncate try typeof unnest upper url_decode url_encode var_pop var_samp variance week
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
	w := walk{found: map[Table]bool{}}
	if err := w.node(root, nil); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Keys(w.found), func(a, b Table) int {
		return strings.Compare(a.Catalog+"."+a.Database+"."+a.Name, b.Catalog+"."+b.Database+"."+b.Name)
	}), nil
}

// walk goes through a tree.
type walk struct{ found map[Table]bool }

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
		t := Table{strings.ToLower(str(v, "catalog_name")), strings.ToLower(str(v, "schema_name")), strings.ToLower(str(v, "table_name"))}
		if t.Database != "" || !slices.Contains(scope, t.Name) {
			w.found[t] = true
		}
	}
	return nil
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
