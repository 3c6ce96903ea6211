package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// node is a decoded JSON value that keeps the order of an object's keys and refuses repeated ones, which
// encoding/json would let the last win: AWS calls such a document malformed.
type node struct {
	value  any // string, bool, json.Number, nil, []node or []member
	object bool
}

type member struct {
	key  string
	node node
}

// maxDocument is well above AWS's quota for any policy (20,480 bytes for a bucket's).
const (
	maxDocument = 64 << 10
	maxDepth    = 16
)

func decode(doc []byte) (node, error) {
	if len(doc) > maxDocument {
		return node{}, fmt.Errorf("document of %d bytes is larger than %d", len(doc), maxDocument)
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	n, err := decodeValue(d, "document", 0)
	if err != nil {
		return node{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return node{}, errors.New("document: something follows the JSON value")
	}
	return n, nil
}

func decodeValue(d *json.Decoder, at string, depth int) (node, error) {
	if depth > maxDepth {
		return node{}, fmt.Errorf("%s: nested deeper than %d", at, maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return node{}, fmt.Errorf("%s: not JSON: %w", at, err)
	}
	switch token {
	case json.Delim('{'):
		return decodeObject(d, at, depth)
	case json.Delim('['):
		return decodeArray(d, at, depth)
	default:
		return node{value: token}, nil
	}
}

func decodeObject(d *json.Decoder, at string, depth int) (node, error) {
	members := []member{}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return node{}, fmt.Errorf("%s: not JSON: %w", at, err)
		}
		key := token.(string)
		if seen[key] {
			return node{}, fmt.Errorf("%s: key %q appears twice", at, key)
		}
		seen[key] = true
		v, err := decodeValue(d, at+"."+key, depth+1)
		if err != nil {
			return node{}, err
		}
		members = append(members, member{key, v})
	}
	if _, err := d.Token(); err != nil {
		return node{}, fmt.Errorf("%s: not JSON: %w", at, err)
	}
	return node{value: members, object: true}, nil
}

func decodeArray(d *json.Decoder, at string, depth int) (node, error) {
	items := []node{}
	for d.More() {
		v, err := decodeValue(d, at+"["+strconv.Itoa(len(items))+"]", depth+1)
		if err != nil {
			return node{}, err
		}
		items = append(items, v)
	}
	if _, err := d.Token(); err != nil {
		return node{}, fmt.Errorf("%s: not JSON: %w", at, err)
	}
	return node{value: items}, nil
}

// members returns an object's members.
func (n node) members(at string) ([]member, error) {
	m, ok := n.value.([]member)
	if !ok {
		return nil, fmt.Errorf("%s: must be an object", at)
	}
	return m, nil
}

// strings returns one string or an array of them; scalars as well if loose, as condition values may be.
func (n node) strings(at string, loose bool) ([]string, error) {
	if items, ok := n.value.([]node); ok {
		out := make([]string, 0, len(items))
		for i, item := range items {
			s, err := item.scalar(at+"["+strconv.Itoa(i)+"]", loose)
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
		return out, nil
	}
	s, err := n.scalar(at, loose)
	if err != nil {
		return nil, err
	}
	return []string{s}, nil
}

func (n node) scalar(at string, loose bool) (string, error) {
	switch v := n.value.(type) {
	case string:
		return v, nil
	case bool:
		if loose {
			return strconv.FormatBool(v), nil
		}
	case json.Number:
		if loose {
			return v.String(), nil
		}
	}
	return "", fmt.Errorf("%s: must be a string or an array of strings", at)
}
