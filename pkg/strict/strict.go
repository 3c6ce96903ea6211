// Package strict is the one decoder of documents that come from outside: JSON and YAML are read into a tree
// under limits of size and depth, and the tree into Go values. Unknown keys, doubled keys, wrong types,
// trailing data and invalid UTF-8 are refused; all faults are reported at once, each with its path and,
// for YAML, its line and column, in words that need no knowledge of Go.
//
// It doesn't know what the values mean. Its entry points are [JSON], [ParseYAML] and [Node.Into].
package strict

import (
	"fmt"
	"strings"

	"github.com/stile-dev/stile/pkg/fault"
)

// The limits of every document but those that state their own.
const (
	MaxSize  = 64 << 10 // bytes
	MaxDepth = 32       // nested lists and objects
)

// Type is what a node is.
type Type uint8

// The types.
const (
	Null Type = iota
	Bool
	Number
	String
	List
	Object
)

var typeNames = [...]string{"null", "true or false", "a number", "a string", "a list", "a mapping of keys to values"}

// String names the type for people, with its article.
func (t Type) String() string { return typeNames[t] }

// Node is a value of a document.
type Node struct {
	Type Type
	Text string // for a scalar: a string's value, a number as written, true, false
	Line int    // from 1; 0 when the document's lines mean nothing to a person
	Col  int    // from 1

	items []*Node  // for a list, or an object's values
	keys  []string // for an object, as written
	spots []spot   // for an object: where each key is
}

type spot struct{ line, col int }

// Get returns the value of an object's key, or nil.
func (n *Node) Get(key string) *Node {
	if n == nil || n.Type != Object {
		return nil
	}
	for i, k := range n.keys {
		if k == key {
			return n.items[i]
		}
	}
	return nil
}

// Items returns the values of a list; nothing for another node.
func (n *Node) Items() []*Node {
	if n.Type != List {
		return nil
	}
	return n.items
}

// add appends a key and reports false when the object has it already, in whatever case: decoders
// disagree on which of two wins.
func (n *Node) add(key string, at spot, value *Node) bool {
	for _, k := range n.keys {
		if strings.EqualFold(k, key) {
			return false
		}
	}
	n.keys, n.items, n.spots = append(n.keys, key), append(n.items, value), append(n.spots, at)
	return true
}

// place is how a person finds a value: its path, behind line and column where they are known.
func place(line, col int, path string) string {
	switch {
	case line == 0:
		return path
	case path == "":
		return fmt.Sprintf("line %d, column %d", line, col)
	}
	return fmt.Sprintf("line %d, column %d: %s", line, col, path)
}

// Refuse makes one fault of all faulty fields: its message is the first of them.
func Refuse(fields []fault.Field) *fault.Fault {
	first := fields[0]
	message := strings.TrimPrefix(first.Path+": "+first.Reason, ": ")
	hint := "correct it and try again"
	if n := len(fields) - 1; n > 0 {
		message = fmt.Sprintf("%s (and %d more)", message, n)
		hint = "correct every field that is listed and try again"
	}
	f := fault.New(fault.BadInput, message, hint)
	f.Fields = fields
	return f
}

func refuse(line, col int, path, reason string) *fault.Fault {
	return Refuse([]fault.Field{{Path: place(line, col, path), Reason: reason}})
}

func tooLarge(size, limit int) error {
	if size <= limit {
		return nil
	}
	// Readers stop after the limit, so the size is not the document's.
	return fault.Newf(fault.TooLarge, "make it smaller or split it", "the document is longer than %d bytes; %s are allowed", limit, amount(limit))
}

func amount(bytes int) string {
	if bytes%(1<<10) == 0 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

func child(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
