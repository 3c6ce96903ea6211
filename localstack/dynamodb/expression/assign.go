package expression

import (
	"fmt"
	"slices"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// Refusals that depend on the item, in AWS's words.
const (
	errOperand item.Invalid = "An operand in the update expression has an incorrect data type"
	errMissing item.Invalid = "The provided expression refers to an attribute that does not exist in the item"
	errPath    item.Invalid = "The document path provided in the update expression is invalid for update"
)

// updateBinder binds the right-hand sides of updates.
type updateBinder struct{ binder }

// sourced is a right-hand side with the type it has for certain, if that is known.
type sourced struct {
	get  source
	kind item.Kind
	path Path
}

// typeNames are the words that AWS uses for the operand of ADD.
var typeNames = map[item.Kind]string{
	item.S: "STRING", item.N: "NUMBER", item.B: "BINARY", item.BOOL: "BOOLEAN", item.NULL: "NULL",
	item.M: "MAP", item.L: "LIST", item.SS: "STRING_SET", item.NS: "NUMBER_SET", item.BS: "BINARY_SET",
}

func (b *updateBinder) action(c change) (action, error) {
	path, err := b.env.resolve(b.kind, c.steps)
	if err != nil {
		return action{}, err
	}
	a := action{verb: c.verb, path: path}
	switch c.verb {
	case "SET":
		s, err := b.source(c.value)
		a.value = s.get
		return a, err
	case "ADD":
		if a.with, err = b.env.value(b.kind, c.value.op); err != nil {
			return action{}, err
		}
		b.check(func() error {
			if a.with.Kind.Element() == "" && a.with.Kind != item.N {
				return b.kind.fault(fmt.Sprintf("Incorrect operand type for operator or function; operator: %s, operand type: %s, typeSet: ALLOWED_FOR_%s_OPERAND", c.verb, typeNames[a.with.Kind], c.verb))
			}
			return nil
		})
	}
	return a, nil
}

func (b *updateBinder) source(n *node) (sourced, error) {
	switch n.shape {
	case shapeParen:
		return b.source(n.args[0])
	case shapePath:
		p, err := b.env.resolve(b.kind, n.steps)
		b.paths = append(b.paths, p)
		return sourced{path: p, get: func(i item.Item) (item.Value, error) {
			v, ok := p.Lookup(i)
			if !ok {
				return v, errMissing
			}
			return v, nil
		}}, err
	case shapeValue:
		v, err := b.env.value(b.kind, n.op)
		return sourced{kind: v.Kind, get: func(item.Item) (item.Value, error) { return v, nil }}, err
	case shapeArithmetic:
		return b.arithmetic(n)
	default:
		return b.function(n)
	}
}

func (b *updateBinder) pair(n *node) (x, y sourced, err error) {
	if x, err = b.source(n.args[0]); err != nil {
		return x, y, err
	}
	y, err = b.source(n.args[1])
	return x, y, err
}

func (b *updateBinder) arithmetic(n *node) (sourced, error) {
	x, y, err := b.pair(n)
	if err != nil {
		return sourced{}, err
	}
	b.needs(n.op, item.N, x, y)
	compute := item.Add
	if n.op == "-" {
		compute = item.Sub
	}
	return sourced{kind: item.N, get: func(i item.Item) (item.Value, error) {
		l, r, err := both(x, y, i)
		if err != nil {
			return l, err
		}
		if l.Kind != item.N || r.Kind != item.N {
			return l, errOperand
		}
		total, err := compute(l.Text, r.Text)
		return item.Number(total), err
	}}, nil
}

// needs refuses operands that are certainly of another type.
func (b *updateBinder) needs(op string, kind item.Kind, operands ...sourced) {
	b.check(func() error {
		for _, s := range operands {
			if s.kind != "" && s.kind != kind {
				return b.wrongType(op, s.kind)
			}
		}
		return nil
	})
}

func both(x, y sourced, i item.Item) (l, r item.Value, err error) {
	if l, err = x.get(i); err != nil {
		return l, r, err
	}
	r, err = y.get(i)
	return l, r, err
}

func (b *updateBinder) function(n *node) (sourced, error) {
	want, ok := arity[n.op]
	switch {
	case !ok:
		return sourced{}, b.kind.fault("Invalid function name; function: " + n.op)
	case !updating[n.op]:
		return sourced{}, b.kind.fault("The function is not allowed in an update expression; function: " + n.op)
	case len(n.args) != want:
		return sourced{}, b.wrongCount(n)
	}
	x, y, err := b.pair(n)
	if err != nil {
		return sourced{}, err
	}
	if n.op == "if_not_exists" {
		return b.ifNotExists(x, y), nil
	}
	b.needs(n.op, item.L, x, y)
	return sourced{kind: item.L, get: func(i item.Item) (item.Value, error) {
		l, r, err := both(x, y, i)
		if err != nil {
			return l, err
		}
		if l.Kind != item.L || r.Kind != item.L {
			return l, errOperand
		}
		return item.Value{Kind: item.L, List: slices.Concat(l.List, r.List)}, nil
	}}, nil
}

func (b *updateBinder) ifNotExists(x, y sourced) sourced {
	b.check(func() error {
		if x.path == nil {
			return b.kind.fault("Operator or function requires a document path; operator or function: if_not_exists")
		}
		return b.distinct("if_not_exists", []bound{{path: x.path}, {path: y.path}})
	})
	return sourced{get: func(i item.Item) (item.Value, error) {
		fallback, err := y.get(i) // must be there even when it isn't taken
		if v, ok := x.path.Lookup(i); ok && err == nil {
			return v, nil
		}
		return fallback, err
	}}
}
