package athena

import (
	"regexp"
	"strings"
)

// words are the identifiers of a statement in lower case, without what is in strings and comments; alone says that it is one
// statement, which a semicolon may end.
func words(sql string) (found map[string]bool, alone bool) {
	found = map[string]bool{}
	bare := blank(sql)
	for _, w := range identifier.FindAllString(bare, -1) {
		found[strings.ToLower(strings.Trim(w, `"`))] = true
	}
	return found, !strings.Contains(strings.TrimSuffix(strings.TrimSpace(bare), ";"), ";")
}

var identifier = regexp.MustCompile(`"[^"]*"|[A-Za-z_][A-Za-z0-9_]*`)

// blank takes strings and comments out of a statement.
func blank(sql string) string {
	var b strings.Builder
	for rest := sql; rest != ""; {
		var end int
		switch {
		case rest[0] == '\'':
			if end = strings.IndexByte(rest[1:], '\''); end < 0 {
				return b.String()
			}
			b.WriteByte(' ')
			rest = rest[end+2:]
		case strings.HasPrefix(rest, "--"):
			if end = strings.IndexByte(rest, '\n'); end < 0 {
				return b.String()
			}
			b.WriteByte(' ')
			rest = rest[end:]
		case strings.HasPrefix(rest, "/*"):
			if end = strings.Index(rest[2:], "*/"); end < 0 {
				return b.String()
			}
			b.WriteByte(' ')
			rest = rest[end+4:]
		case rest[0] == '"':
			if end = strings.IndexByte(rest[1:], '"'); end < 0 {
				return b.String()
			}
			b.WriteString(rest[:end+2])
			rest = rest[end+2:]
		default:
			b.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	return b.String()
}

// filled puts values where the question marks of a statement are, outside of strings, names and comments.
func filled(sql string, values []string) (string, bool) {
	var b strings.Builder
	used := 0
	for rest := sql; rest != ""; {
		n := 1
		switch {
		case rest[0] == '\'', rest[0] == '"':
			if end := strings.IndexByte(rest[1:], rest[0]); end >= 0 {
				n = end + 2
			}
		case strings.HasPrefix(rest, "--"):
			if n = strings.IndexByte(rest, '\n'); n < 0 {
				n = len(rest)
			}
		case strings.HasPrefix(rest, "/*"):
			if n = strings.Index(rest[2:], "*/") + 4; n < 4 {
				n = len(rest)
			}
		case rest[0] == '?':
			if used == len(values) {
				return "", false
			}
			b.WriteString(values[used])
			used++
			rest = rest[1:]
			continue
		}
		b.WriteString(rest[:n])
		rest = rest[n:]
	}
	return b.String(), used == len(values)
}

// native are functions of the engine here that Trino doesn't have, and that tell or do what no query should.
var native = regexp.MustCompile(`^(duckdb_.*|pragma_.*|read_.*|parquet_.*|sniff_.*|glob|query|query_table|which_secret|getenv|from_substrait.*|checkpoint|force_checkpoint|current_setting|sql_auto_complete|repeat_row|seq_scan|arrow_scan.*|pandas_scan|sqlite_.*|postgres_.*)$`)
