package holding

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/names"
)

// MostRows is how many rows a question about one finds: more than one are too many already.
const MostRows = 4

// said is how a row's columns are told as text, by their types: a value has an = before it, so that one which is empty is told from
// NULL. A list has its length before it, and what it holds behind separators, which is none of what they separate.
var said = map[string]string{
	"string":             "'=' || %s",
	"bigint":             "'=' || CAST(%s AS varchar)",
	"timestamp":          "'=' || CAST(%s AS varchar)",
	"array<string>":      "'=' || CAST(cardinality(%[1]s) AS varchar) || chr(31) || array_join(%[1]s, chr(31))",
	"map<string,string>": "'=' || CAST(cardinality(%[1]s) AS varchar) || chr(31) || array_join(map_keys(%[1]s), chr(31)) || chr(31) || array_join(map_values(%[1]s), chr(31))",
}

const separator = "\x1f" // chr(31)

// row is the question about a row. Rows that say the same are one.
func row() string {
	var columns, texts []string
	for _, c := range names.LakeColumns {
		quoted := `"` + c.Name + `"`
		columns, texts = append(columns, quoted), append(texts, fmt.Sprintf(said[c.Type], quoted)+" AS "+quoted)
	}
	return "SELECT " + strings.Join(columns, ", ") + total + "(SELECT DISTINCT " + strings.Join(texts, ", ") + " FROM " + names.LakeTable +
		" WHERE day >= ? AND receipt = ?) AS each LIMIT " + fmt.Sprint(MostRows)
}

// Differing holds the rows that the question about one has found against what was put on the bus. It returns the columns of which a
// row has nothing or says something else, and those of which the bus says nothing, so that they prove nothing: each in the table's
// order.
func Differing(bus []byte, rows [][]string) (wrong, empty []string, err error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(bus, &fields); err != nil {
		return nil, nil, fmt.Errorf("reading what was put on the bus: %w", err)
	}
	for n, c := range names.LakeColumns {
		value, there := fields[c.Name]
		if !there {
			empty = append(empty, c.Name)
			continue
		}
		for _, r := range rows {
			if len(r) <= n || !alike(c.Type, value, r[n]) {
				wrong = append(wrong, c.Name)
				break
			}
		}
	}
	return wrong, empty, nil
}

// alike reports whether a row says of a column what the bus does.
func alike(kind string, value json.RawMessage, text string) bool {
	text, there := strings.CutPrefix(text, "=")
	if !there {
		return false
	}
	switch kind {
	case "string":
		var want string
		return json.Unmarshal(value, &want) == nil && text == want
	case "bigint":
		return text == string(value)
	case "timestamp":
		var want time.Time
		got, err := time.Parse(time.DateTime, text)
		return err == nil && json.Unmarshal(value, &want) == nil && got.Equal(want)
	case "array<string>":
		var want []string
		got, ok := list(text, 1)
		return ok && json.Unmarshal(value, &want) == nil && slices.Equal(got, want)
	case "map<string,string>":
		var want map[string]string
		got, ok := list(text, 2)
		if !ok || json.Unmarshal(value, &want) != nil {
			return false
		}
		all := map[string]string{}
		for n := range len(got) / 2 {
			all[got[n]] = got[n+len(got)/2]
		}
		return len(all) == len(got)/2 && maps.Equal(all, want)
	}
	return false
}

// list reads what has its length before it, and as many values as that for each of so many lists. One that is NULL, or that has a
// separator in it, makes it another length.
func list(text string, lists int) ([]string, bool) {
	length, text, ok := strings.Cut(text, separator)
	values := strings.Split(text, separator)
	return values, ok && length == fmt.Sprint(len(values)/lists) && len(values)%lists == 0
}
