package expression

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// Condition is a condition or filter that is ready to be asked.
type Condition struct {
	root  test
	paths []Path
}

// Holds reports whether the condition holds for i; a missing item is an empty one. A nil condition always holds.
func (c *Condition) Holds(i item.Item) bool { return c == nil || c.root(i) }

// Attributes are the top-level attributes that the condition names, sorted.
func (c *Condition) Attributes() []string {
	if c == nil {
		return nil
	}
	return attributes(c.paths)
}

// ParseCondition reads a condition or a filter.
func ParseCondition(kind Kind, source string, env *Env) (*Condition, error) {
	n, err := readCondition(kind, source)
	if err != nil {
		return nil, err
	}
	b := &binder{kind: kind, env: env}
	root, err := b.test(n)
	if err != nil {
		return nil, err
	}
	return &Condition{root: root, paths: b.paths}, b.checkLater()
}

func readCondition(kind Kind, source string) (*node, error) {
	r, err := newReader(kind, source)
	if err != nil {
		return nil, err
	}
	return r.parseCondition()
}

// test answers a condition, operand gives a value, if there is one.
type (
	test    func(item.Item) bool
	operand func(item.Item) (item.Value, bool)
)

// bound is an operand with what is known about it before any item is seen.
type bound struct {
	get   operand
	path  Path        // of a document path
	value *item.Value // of a placeholder
	kind  item.Kind   // of a placeholder or a function's result
}

// binder turns syntax into functions and checks what can be checked without an item. As AWS does, it
// complains about names, values and functions anywhere before it complains about operands.
type binder struct {
	kind  Kind
	env   *Env
	paths []Path
	later []func() error // checks of operands
}

func (b *binder) check(f func() error) { b.later = append(b.later, f) }

func (b *binder) checkLater() error {
	for _, f := range b.later {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (b *binder) test(n *node) (test, error) {
	switch n.shape {
	case shapeParen:
		return b.test(n.args[0])
	case shapeLogic:
		return b.logic(n)
	case shapeNot:
		inner, err := b.test(n.args[0])
		return func(i item.Item) bool { return !inner(i) }, err
	case shapeCall:
		return b.call(n)
	default:
	}
	args, err := b.operands(n.args)
	if err != nil {
		return nil, err
	}
	b.check(func() error { return b.distinct(n.op, args) })
	if n.shape == shapeBetween {
		return b.between(args), nil
	}
	return b.compare(n.op, args), nil
}

func (b *binder) logic(n *node) (test, error) {
	left, err := b.test(n.args[0])
	if err != nil {
		return nil, err
	}
	right, err := b.test(n.args[1])
	if err != nil {
		return nil, err
	}
	if n.op == "AND" {
		return func(i item.Item) bool { return left(i) && right(i) }, nil
	}
	return func(i item.Item) bool { return left(i) || right(i) }, nil
}

func (b *binder) operands(nodes []*node) ([]bound, error) {
	list := make([]bound, len(nodes))
	for i, n := range nodes {
		var err error
		if list[i], err = b.operand(n); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (b *binder) operand(n *node) (bound, error) {
	switch n.shape {
	case shapeParen:
		return b.operand(n.args[0])
	case shapePath:
		p, err := b.env.resolve(b.kind, n.steps)
		if err != nil {
			return bound{}, err
		}
		b.paths = append(b.paths, p)
		return bound{get: p.Lookup, path: p}, nil
	case shapeValue:
		v, err := b.env.value(b.kind, n.op)
		if err != nil {
			return bound{}, err
		}
		return bound{get: func(item.Item) (item.Value, bool) { return v, true }, value: &v, kind: v.Kind}, nil
	default:
		return bound{}, b.checkCall(n, true) // no function of a condition returns a value
	}
}

// distinct refuses a first operand that occurs again.
func (b *binder) distinct(op string, args []bound) error {
	for _, a := range args[1:] {
		if args[0].path != nil && slices.Equal(args[0].path, a.path) {
			return b.kind.fault(fmt.Sprintf("The first operand must be distinct from the remaining operands for this operator or function; operator: %s, first operand: %s", op, args[0].path))
		}
	}
	return nil
}

func (b *binder) wrongType(op string, kind item.Kind) error {
	return b.kind.fault(fmt.Sprintf("Incorrect operand type for operator or function; operator or function: %s, operand type: %s", op, kind))
}

func equal(x, y bound, i item.Item) bool {
	l, lok := x.get(i)
	r, rok := y.get(i)
	return lok && rok && l.Equal(r)
}

func (b *binder) compare(op string, args []bound) test {
	x, y := args[0], args[1]
	switch op {
	case "=":
		return func(i item.Item) bool { return equal(x, y, i) }
	case "<>":
		return func(i item.Item) bool { return !equal(x, y, i) }
	}
	b.check(func() error { return b.ordered(op, args) })
	return func(i item.Item) bool {
		order, ok := compare(x, y, i)
		return ok && holds(op, order)
	}
}

func holds(op string, order int) bool {
	switch op {
	case "=":
		return order == 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

func (b *binder) ordered(op string, args []bound) error {
	for _, a := range args {
		if a.kind != "" && !a.kind.Ordered() {
			return b.wrongType(op, a.kind)
		}
	}
	return nil
}

// compare orders two operands of one ordered type.
func compare(x, y bound, i item.Item) (int, bool) {
	l, lok := x.get(i)
	r, rok := y.get(i)
	if !lok || !rok || l.Kind != r.Kind || !l.Kind.Ordered() {
		return 0, false
	}
	return l.Compare(r), true
}

func (b *binder) between(args []bound) test {
	b.check(func() error {
		if err := b.ordered("BETWEEN", args); err != nil {
			return err
		}
		return b.bounds(args[1].value, args[2].value)
	})
	return func(i item.Item) bool {
		low, lok := compare(args[0], args[1], i)
		high, hok := compare(args[0], args[2], i)
		return lok && hok && low >= 0 && high <= 0
	}
}

// bounds refuses limits of BETWEEN that nothing lies between.
func (b *binder) bounds(low, high *item.Value) error {
	if low == nil || high == nil {
		return nil
	}
	shown := fmt.Sprintf("lower bound operand: AttributeValue: %s, upper bound operand: AttributeValue: %s", show(*low), show(*high))
	if low.Kind != high.Kind {
		return b.kind.fault("The BETWEEN operator requires same data type for lower and upper bounds; " + shown)
	}
	if low.Compare(*high) > 0 {
		return b.kind.fault("The BETWEEN operator requires upper bound to be greater than or equal to lower bound; " + shown)
	}
	return nil
}

// show writes a value as AWS's messages do: {S:text}.
func show(v item.Value) string {
	return "{" + string(v.Kind) + ":" + strings.TrimSpace(v.Plain()) + "}"
}
