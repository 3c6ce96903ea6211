// Package output prints what commands found: tables for people, JSON and YAML for programs, and faults as
// an error and a hint.
//
// It knows nothing of the API. Text from elsewhere is escaped before it reaches a terminal, since a label or
// a message could carry control sequences. Its entry points are [Print] and [Fault].
package output

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
)

// Format is how a list is printed.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Formats are those that a list can be printed in, in the order of help texts.
var Formats = []Format{Table, JSON, YAML}

// Parse reads the value of --format.
func Parse(s string, allowed ...Format) (Format, error) {
	if f := Format(s); slices.Contains(allowed, f) {
		return f, nil
	}
	words := make([]string, len(allowed))
	for i, f := range allowed {
		words[i] = string(f)
	}
	return "", fault.Newf(fault.BadInput, "use --format with one of: "+strings.Join(words, ", "), "%q is not a format that this command prints", s)
}

// Rows is a table: a header and lines of as many cells.
type Rows struct {
	Header []string
	Lines  [][]string
}

// Print writes value as JSON or YAML, or rows as a table.
func Print(w io.Writer, f Format, value any, rows Rows) error {
	switch f {
	case JSON:
		return printJSON(w, value)
	case YAML:
		return printYAML(w, value)
	default:
		return printTable(w, rows)
	}
}

func printTable(w io.Writer, rows Rows) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range append([][]string{rows.Header}, rows.Lines...) {
		cells := make([]string, len(line))
		for i, c := range line {
			if cells[i] = escape.Text(c); c == "" {
				cells[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(tw, strings.Join(cells, "\t")); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// Labels writes labels as key=value, sorted, with commas.
func Labels(labels map[string]string) string {
	out := make([]string, 0, len(labels))
	for k, v := range labels {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}
