package output

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/stile-dev/stile/pkg/escape"
)

func printJSON(w io.Writer, value any) error { return encode(w, value, "  ") }

// Line writes value as JSON on one line.
func Line(w io.Writer, value any) error { return encode(w, value, "") }

// encode writes what isn't printable in strings as \u escapes, so that a terminal obeys none of it and a program reads the same
// value.
func encode(w io.Writer, value any, indent string) error {
	e := json.NewEncoder(escape.JSONWriter(w))
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// printYAML goes through JSON, so that both have the same keys and whole numbers stay whole.
func printYAML(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	var ordered any
	if err := yaml.UnmarshalWithOptions(escape.JSON(text), &ordered, yaml.UseOrderedMap()); err != nil {
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
	if s, ok := n.(*ast.StringNode); ok && strings.ContainsFunc(s.Value, func(r rune) bool { return r != '\n' && escape.Unprintable(r) }) {
		s.Value = strconv.Quote(s.Value) // as the library does for strings that need quotes: their value is then the quoted text
	}
	return q
}
