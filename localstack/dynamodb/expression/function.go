package expression

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// arity is the number of operands of each function.
var arity = map[string]int{
	"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2,
	"size": 1, "if_not_exists": 2, "list_append": 2,
}

// updating are the functions that are for updates only.
var updating = map[string]bool{"if_not_exists": true, "list_append": true}

// checkCall refuses unknown functions and wrong numbers of operands.
func (b *binder) checkCall(n *node, misused bool) error {
	want, ok := arity[n.op]
	switch {
	case !ok:
		return b.kind.fault("Invalid function name; function: " + n.op)
	case updating[n.op]:
		return b.kind.fault("The function is not allowed in a condition expression; function: " + n.op)
	case misused:
		return b.kind.fault("The function is not allowed to be used this way in an expression; function: " + n.op)
	case len(n.args) != want:
		return b.wrongCount(n)
	}
	return nil
}

func (b *binder) wrongCount(n *node) error {
	return b.kind.fault(fmt.Sprintf("Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", n.op, len(n.args)))
}

// call binds a function that is a condition by itself.
func (b *binder) call(n *node) (test, error) {
	if err := b.checkCall(n, n.op == "size"); err != nil {
		return nil, err
	}
	args, err := b.operands(n.args)
	if err != nil {
		return nil, err
	}
	b.check(func() error { return b.distinct(n.op, args) })
	switch n.op {
	case "attribute_exists", "attribute_not_exists":
		return b.exists(n.op, args[0]), nil
	case "attribute_type":
		return b.ofType(args), nil
	case "begins_with":
		return b.beginsWith(args), nil
	}
	return func(i item.Item) bool {
		whole, ok := args[0].get(i)
		part, found := args[1].get(i)
		return ok && found && contains(whole, part)
	}, nil
}

func (b *binder) exists(op string, a bound) test {
	b.check(func() error {
		if a.path == nil {
			return b.kind.fault("Operator or function requires a document path; operator or function: " + op)
		}
		return nil
	})
	want := op == "attribute_exists"
	return func(i item.Item) bool {
		_, ok := a.get(i)
		return ok == want
	}
}

func (b *binder) ofType(args []bound) test {
	const everything = "{DOUBLE,INT,BOOL,N,NS,BS,L,S,SS,DECIMALSET,DOUBLESET,DICT,HDS,FS,NULL,FLOAT,M,HD,B,DECIMAL,INTSET}"
	name := args[1].value
	b.check(func() error {
		switch {
		case name == nil && args[1].kind == "":
			return b.wrongType("attribute_type", everything)
		case name == nil || name.Kind != item.S:
			return b.wrongType("attribute_type", args[1].kind)
		case !slices.Contains(item.Kinds, item.Kind(name.Text)):
			return b.kind.fault("Invalid attribute type name found; type: " + name.Text + ", valid types: {N,BS,L,B,NULL,M,S,SS,NS,BOOL}")
		}
		return nil
	})
	return func(i item.Item) bool {
		v, ok := args[0].get(i)
		return ok && string(v.Kind) == name.Text
	}
}

func (b *binder) beginsWith(args []bound) test {
	b.check(func() error {
		for _, a := range args {
			if a.kind != "" && a.kind != item.S && a.kind != item.B {
				return b.wrongType("begins_with", a.kind)
			}
		}
		return nil
	})
	return func(i item.Item) bool {
		whole, ok := args[0].get(i)
		prefix, found := args[1].get(i)
		return ok && found && whole.Kind == prefix.Kind && (whole.Kind == item.S || whole.Kind == item.B) &&
			strings.HasPrefix(whole.Text, prefix.Text)
	}
}

// contains reports whether a string or binary has a part, or a set or list an element.
func contains(whole, part item.Value) bool {
	switch whole.Kind {
	case item.S, item.B:
		return part.Kind == whole.Kind && strings.Contains(whole.Text, part.Text)
	case item.L:
		return slices.ContainsFunc(whole.List, part.Equal)
	case item.SS, item.NS, item.BS:
		return part.Kind == whole.Kind.Element() && slices.Contains(whole.Set, part.Text)
	default:
		return false
	}
}

// size binds a function that is an operand, which in conditions only size is.
func (b *binder) size(n *node) (bound, error) {
	if err := b.checkCall(n, n.op != "size"); err != nil {
		return bound{}, err
	}
	a, err := b.operand(n.args[0])
	if err != nil {
		return bound{}, err
	}
	b.check(func() error {
		if a.kind == item.N || a.kind == item.BOOL || a.kind == item.NULL {
			return b.wrongType("size", a.kind)
		}
		return nil
	})
	return bound{kind: item.N, get: func(i item.Item) (item.Value, bool) {
		v, ok := a.get(i)
		if !ok {
			return v, false
		}
		count, ok := length(v)
		return item.Number(itoa(count)), ok
	}}, nil
}

func length(v item.Value) (int, bool) {
	switch v.Kind {
	case item.S:
		return len(utf16.Encode([]rune(v.Text))), true
	case item.B:
		return len(v.Text), true
	case item.L:
		return len(v.List), true
	case item.M:
		return len(v.Map), true
	case item.SS, item.NS, item.BS:
		return len(v.Set), true
	default:
		return 0, false
	}
}
