// Package item holds DynamoDB's attribute values: their JSON form, validation, numbers, sizes, order and
// the bytes under which keys sort.
//
// It knows no table, no expression and no request. Its entry points are [Item] and [Value].
package item

import (
	"maps"
	"slices"
)

// Kind is a value's data type, by the name that it has on the wire.
type Kind string

// The data types of DynamoDB.
const (
	S    Kind = "S"
	N    Kind = "N"
	B    Kind = "B"
	BOOL Kind = "BOOL"
	NULL Kind = "NULL"
	M    Kind = "M"
	L    Kind = "L"
	SS   Kind = "SS"
	NS   Kind = "NS"
	BS   Kind = "BS"
)

// Kinds lists the data types in the order in which AWS names them.
var Kinds = []Kind{N, BS, L, B, NULL, M, S, SS, NS, BOOL}

// Value is one attribute value. Values are immutable: whoever changes one makes a copy.
type Value struct {
	Kind Kind
	Text string   // S as it is, N in canonical form, B as raw bytes
	Bool bool     // BOOL
	List []Value  // L
	Map  Item     // M
	Set  []string // SS, NS and BS, each as Text, sorted
}

// Item is a set of named values: a whole item, a key or the inside of a map.
type Item map[string]Value

// Invalid is a request's fault, in AWS's words; it becomes a ValidationException.
type Invalid string

func (e Invalid) Error() string { return string(e) }

// String is the value that holds s.
func String(s string) Value { return Value{Kind: S, Text: s} }

// Number is the value of n, which must be canonical.
func Number(n string) Value { return Value{Kind: N, Text: n} }

// Clone is a copy whose top level may be changed.
func (i Item) Clone() Item {
	if i == nil {
		return Item{}
	}
	return maps.Clone(i)
}

// Equal reports whether both items hold the same values under the same names.
func (i Item) Equal(o Item) bool { return maps.EqualFunc(i, o, Value.Equal) }

// Equal reports whether both values have the same type and content; sets compare without order.
func (v Value) Equal(o Value) bool {
	if v.Kind != o.Kind {
		return false
	}
	switch v.Kind {
	case BOOL:
		return v.Bool == o.Bool
	case NULL:
		return true
	case L:
		return slices.EqualFunc(v.List, o.List, Value.Equal)
	case M:
		return v.Map.Equal(o.Map)
	case SS, NS, BS:
		return slices.Equal(v.Set, o.Set)
	default:
		return v.Text == o.Text
	}
}

// Element is the type of a set's elements; "" for what is not a set.
func (k Kind) Element() Kind {
	switch k {
	case SS:
		return S
	case NS:
		return N
	case BS:
		return B
	default:
		return ""
	}
}

// Ordered reports whether values of the type compare by <, > and BETWEEN.
func (k Kind) Ordered() bool { return k == S || k == N || k == B }

// Compare orders two values of one ordered type: strings and binaries by bytes, numbers by value.
func (v Value) Compare(o Value) int {
	if v.Kind == N {
		return compareNumbers(v.Text, o.Text)
	}
	switch {
	case v.Text < o.Text:
		return -1
	case v.Text > o.Text:
		return 1
	}
	return 0
}

// sortSet orders a set's elements as AWS answers them.
func sortSet(k Kind, set []string) {
	if k == NS {
		slices.SortFunc(set, compareNumbers)
		return
	}
	slices.Sort(set)
}

// NewSet is the set of the given elements, which must be distinct and, for NS, canonical.
func NewSet(k Kind, elements []string) Value {
	set := slices.Clone(elements)
	sortSet(k, set)
	return Value{Kind: k, Set: set}
}
