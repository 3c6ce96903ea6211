package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// printJSON writes what isn't printable in strings as \u escapes, so that a terminal obeys none of it and a program
// reads the same value.
func printJSON(w io.Writer, value any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if _, err := w.Write(escapeJSON(text.Bytes())); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// escapeJSON escapes what isn't printable, which in JSON stands in strings only, except line breaks.
func escapeJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\n' || !unsafeRune(r):
			out = append(out, text[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		text = text[size:]
	}
	return out
}

// printYAML goes through JSON, so that both have the same keys and whole numbers stay whole.
func printYAML(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	var ordered any
	if err := yaml.UnmarshalWithOptions(escapeJSON(text), &ordered, yaml.UseOrderedMap()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	node, err := yaml.ValueToNode(ordered)
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	ast.Walk(quoting{}, node)
	if _, err := fmt.Fprintln(w, node); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// quoting has strings written in double quotes, with escapes, if they hold anything that isn't printable. Of text in
// lines, which YAML writes as a block, the line breaks don't count.
type quoting struct{}

func (q quoting) Visit(n ast.Node) ast.Visitor {
	if s, ok := n.(*ast.StringNode); ok && strings.ContainsFunc(s.Value, func(r rune) bool { return r != '\n' && unsafeRune(r) }) {
		s.Value = strconv.Quote(s.Value) // as the library does for strings that need quotes: their value is then the quoted text
	}
	return q
}
