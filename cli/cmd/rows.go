package cmd

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/stile-dev/stile/cli/output"
	"github.com/stile-dev/stile/cli/shell"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// mostTable is how many rows a table has, which is laid out once all are there.
const mostTable = 100_000

// found prints what a query found, a page at a time but for a table, and returns how many rows there were.
func (a *app) found(ctx context.Context, cl *client.Client, f output.Format, id string) (n int, err error) {
	var columns []string
	var lines [][]string
	err = cl.QueryRows(ctx, id, func(page wire.QueryRows) error {
		begins, before := columns == nil, n
		if begins {
			columns = distinct(page.Columns)
		}
		n += len(page.Rows)
		if f == output.JSON {
			return writeObjects(a.Out, columns, page, before == 0)
		}
		if f == formatCSV {
			var header []string
			if begins {
				header = columns
			}
			return a.writeCSV(header, texts(page))
		}
		if n > mostTable {
			return fault.Newf(fault.TooLarge, "use --format csv or json, or add a LIMIT", "a table has at most %d rows", mostTable)
		}
		lines = append(lines, texts(page)...)
		return nil
	})
	if err != nil {
		return n, err
	}
	if f == output.JSON {
		text := "\n]\n"
		if n == 0 {
			text = "[]\n"
		}
		_, err = io.WriteString(a.Out, text)
		return n, err
	}
	if f == formatCSV {
		return n, nil
	}
	return n, output.Print(a.Out, f, nil, output.Rows{Header: columns, Lines: lines})
}

// distinct are the columns' names, each once: of two that are equal the second is told by its place.
func distinct(columns []wire.QueryColumn) []string {
	out := []string{}
	for i, c := range columns {
		name := c.Name
		for slices.Contains(out, name) {
			name += "_" + strconv.Itoa(i+1)
		}
		out = append(out, name)
	}
	return out
}

// texts are a page's rows, in which null is empty.
func texts(page wire.QueryRows) [][]string {
	out := make([][]string, len(page.Rows))
	for i, r := range page.Rows {
		out[i] = make([]string, len(r.Values))
		for j, v := range r.Values {
			if v != nil {
				out[i][j] = *v
			}
		}
	}
	return out
}

// writeCSV writes lines as programs read them, and for a terminal without what it would obey.
func (a *app) writeCSV(header []string, lines [][]string) error {
	if header != nil {
		lines = slices.Concat([][]string{header}, lines)
	}
	if shell.IsTerminal(a.Out) {
		for _, line := range lines {
			for i, cell := range line {
				line[i] = escape.Text(cell)
			}
		}
	}
	w := csv.NewWriter(a.Out)
	for _, line := range lines {
		if len(line) == 1 && line[0] == "" { // an empty line, which readers leave out
			w.Flush()
			if _, err := io.WriteString(a.Out, "\"\"\n"); err != nil {
				return fmt.Errorf("printing: %w", err)
			}
			continue
		}
		if err := w.Write(line); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// numeric are the types whose text is a number in JSON as well.
var numeric = []string{"tinyint", "smallint", "integer", "int", "bigint", "double", "float", "real", "boolean"}

// writeObjects writes a page's rows as objects of the array, whose end is written with the last page: one that is cut short has
// none, so that nobody takes it for all.
func writeObjects(to io.Writer, columns []string, page wire.QueryRows, begins bool) error {
	var b bytes.Buffer
	for i, r := range page.Rows {
		if len(r.Values) != len(columns) {
			return fault.New(fault.Unreachable, "the API returned a row that doesn't fit its columns", "update stile")
		}
		b.WriteString(map[bool]string{true: "[\n", false: ",\n"}[begins && i == 0])
		for j, v := range r.Values {
			b.WriteString(map[bool]string{true: "{", false: ","}[j == 0])
			name, _ := json.Marshal(columns[j]) // text always can
			text, err := json.Marshal(value(v, page.Columns, j))
			if err != nil {
				return fmt.Errorf("printing: %w", err)
			}
			b.Write(name)
			b.WriteByte(':')
			b.Write(text)
		}
		b.WriteByte('}')
	}
	if _, err := to.Write(escape.JSON(b.Bytes())); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// value is a cell as JSON has it: a number or boolean where its column is one and the text as well.
func value(v *string, columns []wire.QueryColumn, at int) any {
	if v == nil {
		return nil
	}
	if at < len(columns) && slices.Contains(numeric, columns[at].Type) && json.Valid([]byte(*v)) {
		return json.RawMessage(*v)
	}
	return *v
}
