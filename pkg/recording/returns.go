package recording

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Returns writes the lines of a recording without a terminal for players, which go down at a line feed and not to the line's
// beginning: each line feed in what was shown that has no carriage return before it gets one. All else is written as it is. It
// is for the chunks of one recording in their order; the zero value is ready.
type Returns struct {
	returned bool // the output so far ends with a carriage return
}

// Write writes the lines of a chunk, a line at a time. A line that can't be read is written as it is. An error is w's.
func (r *Returns) Write(w io.Writer, lines []byte) error {
	for line := range bytes.Lines(lines) {
		if _, err := w.Write(r.line(line)); err != nil {
			return fmt.Errorf("writing a recording's lines: %w", err)
		}
	}
	return nil
}

// line returns a line with carriage returns where it is an output that needs some.
func (r *Returns) line(line []byte) []byte {
	if len(line) > maxLine {
		return line
	}
	var fields [4]json.RawMessage // what is more is left out and takes no memory
	var kind, text string
	if json.Unmarshal(line, &fields) != nil || fields[3] != nil || json.Unmarshal(fields[1], &kind) != nil || kind != kindOutput ||
		json.Unmarshal(fields[2], &text) != nil || text == "" {
		return line
	}
	shown, before := make([]byte, 0, len(text)+len(text)/16+1), r.returned
	for _, b := range []byte(text) {
		if b == '\n' && !before {
			shown = append(shown, '\r')
		}
		shown, before = append(shown, b), b == '\r'
	}
	if r.returned = before; len(shown) == len(text) {
		return line
	}
	out := append(append([]byte{'['}, fields[0]...), `,"`+kindOutput+`",`...)
	return append(appendText(out, shown), "]\n"...)
}
