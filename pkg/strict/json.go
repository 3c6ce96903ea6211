package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// JSON reads one JSON document of at most limit bytes into v, a pointer. Faults are [fault.BadInput] or
// [fault.TooLarge].
func JSON(data []byte, limit int, v any) error {
	n, err := ParseJSON(data, limit)
	if err != nil {
		return err
	}
	return n.Into(v, Options{})
}

// LaterJSON is [JSON] for what a newer release may have written: it ignores keys that are not known here.
func LaterJSON(data []byte, limit int, v any) error {
	n, err := ParseJSON(data, limit)
	if err != nil {
		return err
	}
	return n.Into(v, Options{Unknown: true})
}

// ParseJSON reads one JSON document into a tree.
func ParseJSON(data []byte, limit int) (*Node, error) {
	if err := tooLarge(len(data), limit); err != nil {
		return nil, err
	}
	if !utf8.Valid(data) {
		return nil, refuse(0, 0, "", "the document is not valid UTF-8")
	}
	p := jsonParser{dec: json.NewDecoder(bytes.NewReader(data))}
	p.dec.UseNumber()
	n, err := p.value("", 0)
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, refuse(0, 0, "", "there is more text after the end of the document")
	}
	return n, nil
}

type jsonParser struct{ dec *json.Decoder }

func (p jsonParser) token(path string) (json.Token, error) {
	t, err := p.dec.Token()
	if err != nil {
		return nil, refuse(0, 0, path, "this is not JSON: "+syntax(err))
	}
	return t, nil
}

func syntax(err error) string {
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("%s (byte %d)", s.Error(), s.Offset)
	}
	return "it ends too early"
}

func (p jsonParser) value(path string, depth int) (*Node, error) {
	t, err := p.token(path)
	if err != nil {
		return nil, err
	}
	return p.of(t, path, depth)
}

func (p jsonParser) of(t json.Token, path string, depth int) (*Node, error) {
	switch t := t.(type) {
	case nil:
		return &Node{Type: Null}, nil
	case bool:
		return &Node{Type: Bool, Text: fmt.Sprint(t)}, nil
	case json.Number:
		return &Node{Type: Number, Text: t.String()}, nil
	case string:
		return &Node{Type: String, Text: t}, nil
	case json.Delim:
		if depth >= MaxDepth {
			return nil, refuse(0, 0, path, fmt.Sprintf("nested deeper than %d levels", MaxDepth))
		}
		if t == '[' {
			return p.list(path, depth+1)
		}
		return p.object(path, depth+1)
	}
	return nil, refuse(0, 0, path, "this is not JSON")
}

func (p jsonParser) list(path string, depth int) (*Node, error) {
	n := &Node{Type: List}
	for i := 0; p.dec.More(); i++ {
		v, err := p.value(fmt.Sprintf("%s[%d]", path, i), depth)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, v)
	}
	_, err := p.token(path)
	return n, err
}

func (p jsonParser) object(path string, depth int) (*Node, error) {
	n := &Node{Type: Object}
	for p.dec.More() {
		t, err := p.token(path)
		if err != nil {
			return nil, err
		}
		key, _ := t.(string)
		v, err := p.value(child(path, key), depth)
		if err != nil {
			return nil, err
		}
		if !n.add(key, spot{}, v) {
			return nil, refuse(0, 0, child(path, key), "this key appears twice")
		}
	}
	_, err := p.token(path)
	return n, err
}
