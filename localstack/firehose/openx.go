package firehose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/property"
)

// openX is OpenXJsonSerDe: how JSON's keys find their columns.
type openX struct {
	CaseInsensitive                    *property.Bool    // default true: every key is folded to lower case first
	ColumnToJSONKeyMappings            map[string]string `json:"ColumnToJsonKeyMappings"`
	ConvertDotsInJSONKeysToUnderscores property.Bool     `json:"ConvertDotsInJsonKeysToUnderscores"`
}

func (x openX) check() error {
	for _, column := range slices.Sorted(maps.Keys(x.ColumnToJSONKeyMappings)) {
		if column == "" || x.ColumnToJSONKeyMappings[column] == "" {
			return errors.New("property ColumnToJsonKeyMappings: a column or a key is empty")
		}
	}
	return nil
}

func (x openX) folds() bool { return x.CaseInsensitive == nil || bool(*x.CaseInsensitive) }

// fold is a key as the deserializer sees it.
func (x openX) fold(key string) string {
	if x.folds() {
		key = strings.ToLower(key)
	}
	if x.ConvertDotsInJSONKeysToUnderscores {
		key = strings.ReplaceAll(key, ".", "_")
	}
	return key
}

// key is the key under which a column's value is.
func (x openX) key(column string) string {
	for to, key := range x.ColumnToJSONKeyMappings {
		if strings.EqualFold(to, column) {
			return x.fold(key)
		}
	}
	return column
}

// failure is why a record was not converted.
type failure struct{ code, message string }

func (f *failure) Error() string { return f.code + ": " + f.message }

// The two codes of records that cannot be converted.
const (
	parseError    = "DataFormatConversion.ParseError"    // it is no JSON
	malformedData = "DataFormatConversion.MalformedData" // a value does not fit its column
)

// maxDepth bounds what one record makes this program remember.
const maxDepth = 512

// documents reads the JSON objects of a record. Several may follow each other, but an array of them is none ("Convert
// input data format in Amazon Data Firehose" in its developer guide).
func (x openX) documents(data []byte) ([]map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out []map[string]any
	for {
		v, err := x.value(d, 0)
		switch {
		case errors.Is(err, io.EOF) && len(out) > 0:
			return out, nil
		case errors.Is(err, io.EOF):
			return nil, &failure{parseError, "The record is empty"}
		case err != nil:
			return nil, &failure{parseError, "Encountered malformed JSON: " + err.Error()}
		}
		object, ok := v.(map[string]any)
		if !ok {
			return nil, &failure{parseError, "Encountered malformed JSON: a record is not an object"}
		}
		out = append(out, object)
	}
}

// value reads one value: nil, a bool, a json.Number, a string, a list or an object whose keys are folded.
func (x openX) value(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("more than %d levels", maxDepth)
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := x.value(d, depth+1)
			if err != nil {
				return nil, whole(err)
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, whole(err)
	}
	object := map[string]any{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, whole(err)
		}
		key := x.fold(name.(string)) // the decoder takes nothing else here
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("duplicate key %q", key)
		}
		if object[key], err = x.value(d, depth+1); err != nil {
			return nil, whole(err)
		}
	}
	_, err = d.Token()
	return object, whole(err)
}

// whole is the error of a value that ends too early.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// row gives each column its value as [convert] has it; nil where the object has none.
func (x openX) row(columns []glue.Column, object map[string]any) ([]any, error) {
	row := make([]any, len(columns))
	for i, c := range columns {
		v, err := convert(c.Type, object[x.key(c.Name)])
		if err != nil {
			return nil, &failure{malformedData, fmt.Sprintf("Data does not match the schema. Column %s of type %s: %s", c.Name, c.Type, err)}
		}
		row[i] = v
	}
	return row, nil
}

// pair is an entry of a map.
type pair struct {
	key   string
	value *string
}

// convert returns a value as the Go type of its column: string, int32, int64, float64, bool, time.Time, []*string or []pair. Like
// OpenX it takes numbers that are written as strings, text of whatever is put into a string, and one value for a list
// of it. It takes nothing else, where OpenX may make something of it that nobody meant.
func convert(kind string, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch kind {
	case "string":
		return text(v)
	case "int":
		n, err := whole64(v, 32)
		return int32(n), err
	case "bigint":
		return whole64(v, 64)
	case "double":
		return double(v)
	case "boolean":
		return boolean(v)
	case "timestamp":
		return timestamp(v)
	case "array<string>":
		return list(v)
	case "map<string,string>":
		return pairs(v)
	}
	return nil, fmt.Errorf("the type is not supported here")
}

func text(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// scalar is the text of a number, or of a string that should be one.
func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	}
	return "", fmt.Errorf("%s is no number", short(v))
}

func whole64(v any, bits int) (int64, error) {
	s, err := scalar(v)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%s is no whole number of %d bits", short(s), bits)
	}
	return n, nil
}

func double(v any) (any, error) {
	s, err := scalar(v)
	if err != nil {
		return nil, err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || strings.ContainsAny(s, "xX_") {
		return nil, fmt.Errorf("%s is no number", short(s))
	}
	return f, nil
}

func boolean(v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		switch strings.ToLower(v) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return nil, fmt.Errorf("%s is neither true nor false", short(v))
}

// Times as "Convert input data format in Amazon Data Firehose" lists them for OpenX; without an offset they are UTC.
var (
	isoTime   = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$`)
	plainTime = regexp.MustCompile(`^\d{4}-\d{1,2}-\d{1,2} \d{2}:\d{2}:\d{2}(\.\d{1,9})?$`)
	epoch     = regexp.MustCompile(`^-?\d{1,13}$`)
	fraction  = regexp.MustCompile(`^-?\d{1,10}\.\d{1,9}$`)
)

func timestamp(v any) (any, error) {
	s, err := scalar(v)
	if err != nil {
		return nil, fmt.Errorf("%s is no time", short(v))
	}
	at := time.Time{}
	switch {
	case isoTime.MatchString(s):
		at, err = time.Parse(time.RFC3339Nano, s)
	case plainTime.MatchString(s):
		at, err = time.Parse("2006-1-2 15:04:05.999999999", s)
	case epoch.MatchString(s):
		n, _ := strconv.ParseInt(s, 10, 64) // thirteen digits fit
		if len(strings.TrimPrefix(s, "-")) == 13 {
			return time.UnixMilli(n).UTC(), nil
		}
		at = time.Unix(n, 0).UTC()
	case fraction.MatchString(s):
		f, _ := strconv.ParseFloat(s, 64) // as the form has it
		at = time.UnixMilli(int64(math.Round(f * 1000))).UTC()
	default:
		err = errors.New("unknown form")
	}
	if err != nil || at.Year() < 1 || at.Year() > 9999 {
		return nil, fmt.Errorf("%s is no time", short(s))
	}
	return at, nil
}

func list(v any) (any, error) {
	items, ok := v.([]any)
	if !ok {
		items = []any{v}
	}
	out := make([]*string, len(items))
	for i, item := range items {
		var err error
		if out[i], err = optional(item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func optional(v any) (*string, error) {
	if v == nil {
		return nil, nil
	}
	t, err := text(v)
	if err != nil {
		return nil, err
	}
	return new(t.(string)), nil
}

func pairs(v any) (any, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is no object", short(v))
	}
	out := make([]pair, 0, len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		value, err := optional(object[key])
		if err != nil {
			return nil, err
		}
		out = append(out, pair{key, value})
	}
	return out, nil
}

// short is a value for a message.
func short(v any) string {
	s := fmt.Sprintf("%#v", v)
	if n, ok := v.(json.Number); ok {
		s = n.String()
	}
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
