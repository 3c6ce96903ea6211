package words

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// documents returns the sentences of the API's document and of the Makefile's help.
func documents(root string) ([]Sentence, error) {
	file, err := parser.ParseFile(filepath.Join(root, "openapi.yaml"), 0)
	if err != nil {
		return nil, err
	}
	d := &document{}
	for _, doc := range file.Docs {
		ast.Walk(d, doc.Body)
	}
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return nil, err
	}
	for _, help := range target.FindAllStringSubmatch(string(text), -1) {
		d.out = append(d.out, Sentence{"Makefile", Doc, help[1]})
	}
	return d.out, nil
}

var target = regexp.MustCompile(`(?m)^[a-z]+:.*## (.*)$`)

// document gathers what openapi.yaml tells people.
type document struct{ out []Sentence }

// Visit takes a summary or a description and goes on.
func (d *document) Visit(n ast.Node) ast.Visitor {
	pair, ok := n.(*ast.MappingValueNode)
	if !ok {
		return d
	}
	var text string
	switch v := pair.Value.(type) {
	case *ast.StringNode:
		text = v.Value
	case *ast.LiteralNode:
		text = v.Value.Value
	}
	if key := pair.Key.String(); text != "" && (key == "summary" || key == "description" || key == "title") {
		d.out = append(d.out, Sentence{"openapi.yaml", Doc, strings.TrimSpace(text)})
	}
	return d
}
