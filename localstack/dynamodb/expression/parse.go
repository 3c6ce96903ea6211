// Package expression reads and evaluates DynamoDB's expressions: conditions, filters, key conditions,
// projections and updates, with the refusals that AWS gives them.
//
// It knows no table and no request. Its entry points are [ParseCondition], [ParseKeyCondition],
// [ParseProjection] and [ParseUpdate], which share the placeholders of an [Env].
package expression

import "slices"

var comparators = []string{"=", "<>", "<", "<=", ">", ">="}

// Kind is the request member that an expression comes from, as AWS's messages name it.
type Kind string

// The kinds of expressions that are conditions.
const (
	ConditionExpression Kind = "ConditionExpression"
	FilterExpression    Kind = "FilterExpression"
)

// shape is what a node of the syntax tree is.
type shape int

const (
	shapePath shape = iota
	shapeValue
	shapeCall       // op is the function
	shapeParen      // one argument
	shapeCompare    // op is the comparator
	shapeBetween    // three arguments
	shapeNot        // one argument
	shapeLogic      // op is AND or OR
	shapeArithmetic // op is + or -
)

// node is an expression's syntax tree.
type node struct {
	shape shape
	op    string
	steps steps // of a path
	args  []*node
}

// operand reports whether the node stands for a value, looking through parentheses.
func (n *node) operand() bool {
	switch n.shape {
	case shapeParen:
		return n.args[0].operand()
	case shapePath, shapeValue, shapeArithmetic:
		return true
	default:
		return n.shape == shapeCall
	}
}

// bare reports whether the node is an operand that can't stand as a condition.
func (n *node) bare() bool { return n.operand() && n.inner().shape != shapeCall }

// inner is the node without the parentheses around it.
func (n *node) inner() *node {
	for n.shape == shapeParen {
		n = n.args[0]
	}
	return n
}

// doubled reports whether parentheses directly enclose parentheses somewhere.
func (n *node) doubled() bool {
	if n.shape == shapeParen && n.args[0].shape == shapeParen {
		return true
	}
	for _, a := range n.args {
		if a.doubled() {
			return true
		}
	}
	return false
}

// parseCondition reads a whole condition.
func (r *reader) parseCondition() (*node, error) {
	n, err := r.or(false)
	if err != nil {
		return nil, err
	}
	if r.peek().class != classEnd {
		return nil, r.syntax()
	}
	if n.doubled() {
		return nil, r.kind.fault("The expression has redundant parentheses;")
	}
	return n, nil
}

// or reads conditions joined by OR. An operand alone is accepted if allowed, since it may be
// the parenthesised side of a comparison.
func (r *reader) or(operand bool) (*node, error) { return r.joined("OR", operand, r.and) }

func (r *reader) and(operand bool) (*node, error) { return r.joined("AND", operand, r.not) }

func (r *reader) joined(word string, operand bool, part func(bool) (*node, error)) (*node, error) {
	left, err := part(operand)
	if err != nil {
		return nil, err
	}
	for r.peek().is(word) {
		if left.bare() {
			return nil, r.syntax()
		}
		r.take()
		right, err := part(false)
		if err != nil {
			return nil, err
		}
		left = &node{shape: shapeLogic, op: word, args: []*node{left, right}}
	}
	return left, nil
}

func (r *reader) not(operand bool) (*node, error) {
	if !r.peek().is("NOT") {
		return r.primary(operand)
	}
	r.take()
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.leave()
	inner, err := r.not(false)
	if err != nil {
		return nil, err
	}
	return &node{shape: shapeNot, op: "NOT", args: []*node{inner}}, nil
}

// primary reads a parenthesised condition, a function, or an operand and what it is compared with.
func (r *reader) primary(operand bool) (*node, error) {
	left, err := r.start()
	if err != nil {
		return nil, err
	}
	if !left.operand() {
		return left, nil
	}
	switch t := r.peek(); {
	case t.class == classSymbol && slices.Contains(comparators, t.text):
		r.take()
		right, err := r.operand()
		if err != nil {
			return nil, err
		}
		return &node{shape: shapeCompare, op: t.text, args: []*node{left, right}}, nil
	case t.is("BETWEEN"):
		return r.between(left)
	}
	if left.bare() && !operand {
		return nil, r.syntax()
	}
	return left, nil
}

func (r *reader) start() (*node, error) {
	if !r.peek().is("(") {
		return r.operand()
	}
	r.take()
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.leave()
	inner, err := r.or(true)
	if err != nil {
		return nil, err
	}
	return &node{shape: shapeParen, args: []*node{inner}}, r.expect(")")
}

func (r *reader) between(left *node) (*node, error) {
	r.take()
	low, err := r.operand()
	if err != nil {
		return nil, err
	}
	if err := r.expect("AND"); err != nil {
		return nil, err
	}
	high, err := r.operand()
	if err != nil {
		return nil, err
	}
	return &node{shape: shapeBetween, op: "BETWEEN", args: []*node{left, low, high}}, nil
}

// operands reads a list up to its closing parenthesis.
func (r *reader) operands() ([]*node, error) {
	var list []*node
	for {
		n, err := r.operand()
		if err != nil {
			return nil, err
		}
		if list = append(list, n); !r.accept(",") {
			return list, r.expect(")")
		}
	}
}

// operand reads a path, a value, a function's call or any of them in parentheses.
func (r *reader) operand() (*node, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.leave()
	if r.nodes++; r.nodes > maxNodes {
		return nil, r.kind.fault("The expression contains too many operators;")
	}
	t := r.peek()
	switch {
	case t.is("("):
		r.take()
		inner, err := r.operand()
		if err != nil {
			return nil, err
		}
		return &node{shape: shapeParen, args: []*node{inner}}, r.expect(")")
	case t.class == classValue:
		r.take()
		return &node{shape: shapeValue, op: t.text}, nil
	case t.class == classWord && !t.keyword() && r.tokens[r.at+1].is("("):
		r.take()
		r.take()
		args, err := r.operands()
		return &node{shape: shapeCall, op: t.text, args: args}, err
	}
	s, err := r.path()
	return &node{shape: shapePath, steps: s}, err
}
