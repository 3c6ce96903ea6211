package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// plain are the types whose name tells all, by Trino's names.
var plain = map[duckdb.Type]string{
	duckdb.TYPE_BOOLEAN: "boolean", duckdb.TYPE_TINYINT: "tinyint", duckdb.TYPE_SMALLINT: "smallint", duckdb.TYPE_INTEGER: "integer",
	duckdb.TYPE_BIGINT: "bigint", duckdb.TYPE_UTINYINT: "smallint", duckdb.TYPE_USMALLINT: "integer", duckdb.TYPE_UINTEGER: "bigint",
	duckdb.TYPE_UBIGINT: "bigint", duckdb.TYPE_HUGEINT: "bigint", // what sums of whole numbers are
	duckdb.TYPE_FLOAT: "real", duckdb.TYPE_DOUBLE: "double", duckdb.TYPE_VARCHAR: "varchar", duckdb.TYPE_BLOB: "varbinary", duckdb.TYPE_DATE: "date",
	duckdb.TYPE_TIMESTAMP: "timestamp(3)", duckdb.TYPE_TIMESTAMP_S: "timestamp(3)", duckdb.TYPE_TIMESTAMP_MS: "timestamp(3)", duckdb.TYPE_TIMESTAMP_NS: "timestamp(3)",
	duckdb.TYPE_TIMESTAMP_TZ: "timestamp(3) with time zone", duckdb.TYPE_UUID: "uuid", duckdb.TYPE_SQLNULL: "unknown",
}

var errUnshown = errors.New("the local Athena doesn't show values of this type; cast it to varchar")

// typeName is a type as Trino calls it.
func typeName(t duckdb.TypeInfo) (string, error) {
	if text, ok := plain[t.InternalType()]; ok {
		return text, nil
	}
	switch d := t.Details().(type) {
	case *duckdb.DecimalDetails:
		return fmt.Sprintf("decimal(%d, %d)", d.Width, d.Scale), nil
	case *duckdb.ListDetails:
		child, err := typeName(d.Child)
		return "array(" + child + ")", err
	case *duckdb.MapDetails:
		key, err := typeName(d.Key)
		value, err2 := typeName(d.Value)
		return "map(" + key + ", " + value + ")", errors.Join(err, err2)
	case *duckdb.StructDetails:
		fields := make([]string, len(d.Entries))
		for i, e := range d.Entries {
			kind, err := typeName(e.Info())
			if err != nil {
				return "", err
			}
			fields[i] = strings.TrimSpace(e.Name() + " " + kind)
		}
		return "row(" + strings.Join(fields, ", ") + ")", nil
	}
	return "", errUnshown
}

// show is a value as Athena's results have it.
func show(t duckdb.TypeInfo, v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "null", nil
	case bool:
		return strconv.FormatBool(v), nil
	case string:
		return v, nil
	case float64:
		return double(v, 64), nil
	case float32:
		return double(float64(v), 32), nil
	case *big.Int:
		if !v.IsInt64() {
			return "", errors.New("NUMERIC_VALUE_OUT_OF_RANGE: bigint addition overflow: " + v.String())
		}
		return v.String(), nil
	case uint64:
		if v > math.MaxInt64 {
			return "", fmt.Errorf("NUMERIC_VALUE_OUT_OF_RANGE: %d is larger than a bigint", v)
		}
		return strconv.FormatUint(v, 10), nil
	case duckdb.Decimal:
		return decimal(v), nil
	case time.Time:
		switch t.InternalType() {
		case duckdb.TYPE_DATE:
			return v.UTC().Format(time.DateOnly), nil
		case duckdb.TYPE_TIMESTAMP_TZ:
			return v.UTC().Format("2006-01-02 15:04:05.000") + " UTC", nil
		}
		return v.UTC().Format("2006-01-02 15:04:05.000"), nil
	case []byte:
		if t.InternalType() == duckdb.TYPE_UUID {
			return fmt.Sprintf("%x-%x-%x-%x-%x", v[:4], v[4:6], v[6:8], v[8:10], v[10:]), nil
		}
		return strings.TrimSpace(fmt.Sprintf("% x", v)), nil
	case int8, int16, int32, int64, uint8, uint16, uint32:
		return fmt.Sprint(v), nil
	}
	return showNested(t, v)
}

// showNested shows arrays, maps in the order of their keys, and rows.
func showNested(t duckdb.TypeInfo, v any) (string, error) {
	var parts []string
	add := func(before string, t duckdb.TypeInfo, v any) error {
		text, err := show(t, v)
		parts = append(parts, before+text)
		return err
	}
	switch d := t.Details().(type) {
	case *duckdb.ListDetails:
		list, _ := v.([]any)
		for _, item := range list {
			if err := add("", d.Child, item); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(parts, ", ") + "]", nil
	case *duckdb.MapDetails:
		pairs, _ := v.(duckdb.Map)
		for key, value := range pairs {
			text, err := show(d.Key, key)
			if err == nil {
				err = add(text+"=", d.Value, value)
			}
			if err != nil {
				return "", err
			}
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ", ") + "}", nil
	case *duckdb.StructDetails:
		fields, _ := v.(map[string]any)
		for _, e := range d.Entries {
			if err := add(e.Name()+"=", e.Info(), fields[e.Name()]); err != nil {
				return "", err
			}
		}
		return "{" + strings.Join(parts, ", ") + "}", nil
	}
	if t.InternalType() == duckdb.TYPE_VARCHAR { // what is JSON comes decoded
		raw, err := json.Marshal(v)
		return string(raw), err
	}
	return "", errUnshown
}

// double is a number as Java writes it: with a point always, and with an exponent from ten millions on or below a thousandth.
func double(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == 0 || math.Abs(f) >= 1e-3 && math.Abs(f) < 1e7:
		text := strconv.FormatFloat(f, 'f', -1, bits)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text
	}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, bits), "e")
	if !strings.Contains(digits, ".") {
		digits += ".0"
	}
	n, _ := strconv.Atoi(exponent) // FormatFloat wrote it
	return digits + "E" + strconv.Itoa(n)
}

// decimal has all digits of its scale.
func decimal(d duckdb.Decimal) string {
	digits := new(big.Int).Abs(d.Value).String()
	if missing := int(d.Scale) + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	if d.Scale > 0 {
		at := len(digits) - int(d.Scale)
		digits = digits[:at] + "." + digits[at:]
	}
	if d.Value.Sign() < 0 {
		digits = "-" + digits
	}
	return digits
}
