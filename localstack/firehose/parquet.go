package firehose

import (
	"bytes"
	"fmt"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"github.com/stile-dev/stile/localstack/glue"
)

// ordered is a group whose fields are in the order of the table's columns.
type ordered struct {
	parquet.Group
	columns []glue.Column
}

// Fields implements [parquet.Node].
func (o ordered) Fields() []parquet.Field {
	byName := map[string]parquet.Field{}
	for _, f := range o.Group.Fields() {
		byName[f.Name()] = f
	}
	fields := make([]parquet.Field, len(o.columns))
	for i, c := range o.columns {
		fields[i] = byName[c.Name]
	}
	return fields
}

// nodes are the Parquet types of Hive's, all of which may be NULL. Hive writes a timestamp as INT96.
var nodes = map[string]func() parquet.Node{
	"string":        parquet.String,
	"int":           func() parquet.Node { return parquet.Leaf(parquet.Int32Type) },
	"bigint":        func() parquet.Node { return parquet.Leaf(parquet.Int64Type) },
	"double":        func() parquet.Node { return parquet.Leaf(parquet.DoubleType) },
	"boolean":       func() parquet.Node { return parquet.Leaf(parquet.BooleanType) },
	"timestamp":     func() parquet.Node { return parquet.Leaf(parquet.Int96Type) },
	"array<string>": func() parquet.Node { return parquet.List(parquet.Optional(parquet.String())) },
	"map<string,string>": func() parquet.Node {
		return parquet.Map(parquet.String(), parquet.Optional(parquet.String()))
	},
}

// encode writes rows, which have a value for each column as [convert] has it, into a Parquet file with Snappy.
func encode(columns []glue.Column, rows [][]any) ([]byte, error) {
	group := ordered{parquet.Group{}, columns}
	for _, c := range columns {
		node, ok := nodes[c.Type]
		if !ok {
			return nil, fmt.Errorf("column %s has the type %s, which is not supported here", c.Name, c.Type)
		}
		group.Group[c.Name] = parquet.Optional(node())
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[any](&b, parquet.NewSchema("hive_schema", group), parquet.Compression(&parquet.Snappy))
	for _, row := range rows {
		if _, err := w.WriteRows([]parquet.Row{shred(columns, row)}); err != nil {
			return nil, fmt.Errorf("writing Parquet: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("writing Parquet: %w", err)
	}
	return b.Bytes(), nil
}

// shred is a row as Parquet has it: each leaf's values with their repetition and definition levels.
func shred(columns []glue.Column, row []any) (out parquet.Row) {
	leaf := 0
	add := func(v any, repeated, defined int) {
		out = append(out, parquet.ValueOf(v).Level(repeated, defined, leaf))
	}
	for i, c := range columns {
		switch v := row[i].(type) {
		case []*string:
			if len(v) == 0 {
				add(nil, 0, 1) // there, and empty
			}
			for j, item := range v {
				addOptional(add, item, min(j, 1), 2)
			}
		case []pair:
			shredMap(&leaf, add, v)
		case nil:
			add(nil, 0, 0)
			if c.Type == "map<string,string>" {
				leaf++
				add(nil, 0, 0)
			}
		case time.Time:
			add(int96(v), 0, 1)
		default:
			add(v, 0, 1)
		}
		leaf++
	}
	return out
}

// shredMap writes a map's two leaves, all keys first, and leaves leaf at the second.
func shredMap(leaf *int, add func(any, int, int), pairs []pair) {
	if len(pairs) == 0 {
		add(nil, 0, 1)
	}
	for j, p := range pairs {
		add(p.key, min(j, 1), 2)
	}
	*leaf++
	if len(pairs) == 0 {
		add(nil, 0, 1)
	}
	for j, p := range pairs {
		addOptional(add, p.value, min(j, 1), 2)
	}
}

// addOptional writes a value that is one level deeper if it is there.
func addOptional(add func(any, int, int), v *string, repeated, defined int) {
	if v == nil {
		add(nil, repeated, defined)
		return
	}
	add(*v, repeated, defined+1)
}

// julianEpoch is the Julian day of 1970-01-01.
const julianEpoch = 2440588

// int96 is a time as Hive writes it: the nanoseconds of the day, then the Julian day.
func int96(t time.Time) deprecated.Int96 {
	day := t.Unix() / 86400
	if t.Unix()%86400 < 0 {
		day--
	}
	nanos := uint64(t.Unix()-day*86400)*1e9 + uint64(t.Nanosecond())
	return deprecated.Int96{uint32(nanos), uint32(nanos >> 32), uint32(day + julianEpoch)}
}
