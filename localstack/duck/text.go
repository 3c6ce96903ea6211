package main

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// trinoTypes are DuckDB's names of scalar types and Trino's.
var trinoTypes = map[string]string{
	"VARCHAR": "varchar", "BOOLEAN": "boolean", "TINYINT": "tinyint", "SMALLINT": "smallint", "INTEGER": "integer", "BIGINT": "bigint",
	"UTINYINT": "smallint", "USMALLINT": "integer", "UINTEGER": "bigint", "UBIGINT": "decimal(20,0)", "HUGEINT": "bigint",
	"FLOAT": "real", "DOUBLE": "double", "DATE": "date", "TIME": "time", "BLOB": "varbinary", "JSON": "json", "INTERVAL": "interval day to second",
	"TIMESTAMP": "timestamp(3)", "TIMESTAMP_MS": "timestamp(3)", "TIMESTAMP_S": "timestamp(3)", "TIMESTAMP_NS": "timestamp(3)",
	"TIMESTAMPTZ": "timestamp(3) with time zone", `"NULL"`: "unknown", "NULL": "unknown",
}

// trino names a type of DuckDB in Trino's words.
func trino(kind string) string {
	if known, ok := trinoTypes[kind]; ok {
		return known
	}
	if of, ok := strings.CutSuffix(kind, "[]"); ok {
		return "array(" + trino(of) + ")"
	}
	if in, ok := strings.CutPrefix(kind, "MAP("); ok {
		key, value, _ := strings.Cut(strings.TrimSuffix(in, ")"), ", ")
		return "map(" + trino(key) + ", " + trino(value) + ")"
	}
	if strings.HasPrefix(kind, "STRUCT(") {
		return "row" + strings.TrimPrefix(kind, "STRUCT")
	}
	return strings.ToLower(kind)
}

// text writes a value as Athena's results have it.
func text(v any, kind string) string {
	switch v := v.(type) {
	case nil:
		return "null" // inside a list or a map
	case string:
		return v
	case []byte:
		var b strings.Builder
		for i, c := range v {
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%02x", c)
		}
		return b.String()
	case bool:
		return strconv.FormatBool(v)
	case float32:
		return strconv.FormatFloat(float64(v), 'E', -1, 32)
	case float64:
		return decimal(v)
	case time.Time:
		switch {
		case kind == "date":
			return v.Format(time.DateOnly)
		case strings.HasSuffix(kind, "zone"):
			return v.UTC().Format("2006-01-02 15:04:05.000 UTC")
		}
		return v.UTC().Format("2006-01-02 15:04:05.000")
	case duckdb.Decimal:
		return v.String()
	case *big.Int:
		return v.String()
	case []any:
		return "[" + strings.Join(texts(v), ", ") + "]"
	case duckdb.Map:
		return "{" + strings.Join(pairs(v), ", ") + "}"
	case map[string]any:
		out := make([]string, 0, len(v))
		for k, of := range v {
			out = append(out, k+"="+text(of, ""))
		}
		slices.Sort(out)
		return "{" + strings.Join(out, ", ") + "}"
	}
	return fmt.Sprint(v)
}

func texts(list []any) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = text(v, "")
	}
	return out
}

// pairs are a map's, in the order of their keys: what is read from Parquet has none that would stay.
func pairs(m duckdb.Map) []string {
	type pair struct{ key, whole string }
	var all []pair
	for k, v := range m {
		key := text(k, "")
		all = append(all, pair{key, key + "=" + text(v, "")})
	}
	slices.SortFunc(all, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = p.whole
	}
	return out
}

// decimal writes a double as Java does.
func decimal(v float64) string {
	if v != 0 && (v >= 1e7 || v <= -1e7 || v > -1e-3 && v < 1e-3) {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'E', -1, 64), "E")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		n, _ := strconv.Atoi(exponent)
		return mantissa + "E" + strconv.Itoa(n)
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.ContainsAny(s, ".IN") {
		s += ".0"
	}
	return s
}
