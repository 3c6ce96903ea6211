package strict

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/stile-dev/stile/pkg/fault"
)

// ParseYAML reads the documents of a file, separated by ---, into trees; empty ones are left out. Anchors,
// aliases, merge keys, tags and keys that are not strings are refused: what you see is what is read.
func ParseYAML(data []byte, limit int) (documents []*Node, err error) {
	if err := tooLarge(len(data), limit); err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, refuse(0, 0, "", "the file is not valid UTF-8")
	}
	defer func() {
		// The parser gets whatever people send; what it can't handle is bad input and must not crash us.
		if r := recover(); r != nil {
			documents, err = nil, fault.New(fault.BadInput, "this is not YAML", "check quotes, brackets and indentation")
		}
	}()
	for line, text := range separate(string(data)) {
		n, err := document(line, text)
		if err != nil {
			return nil, err
		}
		if n != nil {
			documents = append(documents, n)
		}
	}
	return documents, nil
}

// separate returns each document of a file with the number of lines before it. The parser is not left to do it: at the
// second of two separators in a row, or at one behind a comment, it stops and drops all that follows.
func separate(text string) iter.Seq2[int, string] {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(text, "\ufeff"))
	return func(yield func(int, string) bool) {
		line, first := 0, 0
		var document strings.Builder
		for l := range strings.Lines(text) {
			rest, begins := marker(l, "---")
			_, ends := marker(l, "...")
			if (begins || ends) && document.Len() > 0 {
				if !yield(first, document.String()) {
					return
				}
				document.Reset()
			}
			if document.Len() == 0 {
				first = line
			}
			switch {
			case begins:
				document.WriteString("   " + rest) // of as many columns
			case !ends:
				document.WriteString(l)
			}
			line++
		}
		if document.Len() > 0 {
			yield(first, document.String())
		}
	}
}

// marker reports whether a line begins with --- or ..., alone or before a space (YAML 1.2.2, section 9.1.2).
func marker(line, mark string) (rest string, is bool) {
	rest, is = strings.CutPrefix(line, mark)
	return rest, is && (rest == "" || strings.ContainsRune(" \t\n", rune(rest[0])))
}

// document reads one, after so many lines of the file; nil when there is nothing in it.
func document(line int, text string) (*Node, error) {
	tokens := lexer.Tokenize(text)
	for _, t := range tokens {
		at := *t.Position
		at.Line += line
		t.Position = &at
	}
	if err := shallow(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, yamlFault(err)
	}
	var body ast.Node
	for _, d := range file.Docs {
		switch {
		case d.Body == nil || d.Body.Type() == ast.CommentType || d.Body.Type() == ast.CommentGroupType:
		case body != nil:
			return nil, refuse(line+1, 1, "", "a document ends inside another; separate them with lines of ---")
		default:
			body = d.Body
		}
	}
	if body == nil {
		return nil, nil //nolint:nilnil // as said above
	}
	return convert(body, "", 0)
}

// shallow refuses what would make the parser itself go deep: nested brackets, and rows of - or ? on one line.
func shallow(tokens token.Tokens) error {
	flow, row := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			row++
			if t.Prev == nil || t.Prev.Position.Line != t.Position.Line {
				row = 1
			}
		default: // nothing else nests
		}
		if flow > MaxDepth || row > MaxDepth {
			return refuse(t.Position.Line, t.Position.Column, "", deep)
		}
	}
	return nil
}

var deep = fmt.Sprintf("nested deeper than %d levels", MaxDepth)

func yamlFault(err error) error {
	if s, ok := errors.AsType[*yaml.SyntaxError](err); ok && s.Token != nil {
		return refuse(s.Token.Position.Line, s.Token.Position.Column, "", "this is not YAML: "+s.Message)
	}
	if d, ok := errors.AsType[*yaml.DuplicateKeyError](err); ok && d.Token != nil {
		return refuse(d.Token.Position.Line, d.Token.Position.Column, d.Token.Value, "this key appears twice")
	}
	return fault.New(fault.BadInput, "this is not YAML", "check quotes, brackets and indentation").Because(err)
}

func convert(y ast.Node, path string, depth int) (*Node, error) {
	n := &Node{Line: 1, Col: 1}
	if t := y.GetToken(); t != nil {
		n.Line, n.Col = t.Position.Line, t.Position.Column
	}
	if depth > MaxDepth {
		return nil, refuse(n.Line, n.Col, path, deep)
	}
	switch y := y.(type) {
	case *ast.NullNode:
		n.Type = Null
	case *ast.BoolNode:
		n.Type, n.Text = Bool, fmt.Sprint(y.Value)
	case *ast.IntegerNode:
		n.Type, n.Text = Number, y.Token.Value
	case *ast.FloatNode:
		n.Type, n.Text = Number, y.Token.Value
	case *ast.StringNode:
		n.Type, n.Text = String, y.Value
	case *ast.LiteralNode:
		n.Type, n.Text = String, y.Value.Value
	case *ast.SequenceNode:
		n.Type = List
		return n, n.sequence(y, path, depth)
	case *ast.MappingNode:
		n.Type = Object
		return n, n.mapping(y.Values, path, depth)
	case *ast.MappingValueNode:
		n.Type = Object
		return n, n.mapping([]*ast.MappingValueNode{y}, path, depth)
	case *ast.AnchorNode, *ast.AliasNode:
		return nil, refuse(n.Line, n.Col, path, "anchors and aliases are not supported; write the value out, and put a * in quotes")
	case *ast.TagNode:
		return nil, refuse(n.Line, n.Col, path, "tags are not supported; write the plain value, and put a ! in quotes")
	default:
		return nil, refuse(n.Line, n.Col, path, "a value of this form is not supported; write it in quotes")
	}
	return n, nil
}

func (n *Node) sequence(y *ast.SequenceNode, path string, depth int) error {
	for i, v := range y.Values {
		item, err := convert(v, fmt.Sprintf("%s[%d]", path, i), depth+1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	return nil
}

func (n *Node) mapping(values []*ast.MappingValueNode, path string, depth int) error {
	for i, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			t := v.Key.GetToken()
			return refuse(t.Position.Line, t.Position.Column, path, fmt.Sprintf("the key %q is not a string; write it in quotes", strings.TrimSpace(t.Value)))
		}
		at := spot{key.Token.Position.Line, key.Token.Position.Column}
		if i == 0 {
			n.Line, n.Col = at.line, at.col
		}
		value, err := convert(v.Value, child(path, key.Value), depth+1)
		if err != nil {
			return err
		}
		if value.Type == Null {
			value.Line, value.Col = at.line, at.col
		}
		if !n.add(key.Value, at, value) {
			return refuse(at.line, at.col, child(path, key.Value), "this key appears twice")
		}
	}
	return nil
}
