package expression

import (
	"fmt"
	"strings"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// arity is the number of operands of each function.
var arity = map[string]int{
	"attribute_exists": 1, "attribute_not_exists": 1, "begins_with": 2, "if_not_exists": 2, "list_append": 2,
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
	if err := b.checkCall(n, false); err != nil {
		return nil, err
	}
	args, err := b.operands(n.args)
	if err != nil {
		return nil, err
	}
	b.check(func() error { return b.distinct(n.op, args) })
	if n.op == "begins_with" {
		return b.beginsWith(args), nil
	}
	return b.exists(n.op, args[0]), nil
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
