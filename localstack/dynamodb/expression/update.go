package expression

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

const updateExpression = Kind("UpdateExpression")

var verbs = []string{"SET", "REMOVE", "ADD"}

// Update is an UpdateExpression that is ready to be applied.
type Update struct {
	actions []action
	paths   []Path // in the order of writing
}

// action is one change at one path.
type action struct {
	verb  string // SET, REMOVE or ADD
	path  Path
	value source // of SET
	with  item.Value
}

// source computes what SET stores, from the item as it was.
type source func(item.Item) (item.Value, error)

// Writes are the top-level attributes that the update changes, sorted.
func (u *Update) Writes() []string { return attributes(u.paths) }

// Touched is the part of an item that the update's paths name, as UPDATED_OLD and UPDATED_NEW return it.
func (u *Update) Touched(i item.Item) item.Item { return project(u.paths, i) }

// ParseUpdate reads an UpdateExpression.
func ParseUpdate(text string, env *Env) (*Update, error) {
	r, err := newReader(updateExpression, text)
	if err != nil {
		return nil, err
	}
	written, err := r.sections()
	if err != nil {
		return nil, err
	}
	b := &updateBinder{binder: binder{kind: updateExpression, env: env}}
	u := &Update{}
	for _, w := range written {
		a, err := b.action(w)
		if err != nil {
			return nil, err
		}
		u.actions, u.paths = append(u.actions, a), append(u.paths, a.path)
	}
	if err := disjoint(updateExpression, u.paths); err != nil {
		return nil, err
	}
	return u, b.checkLater()
}

// change is an action as written.
type change struct {
	verb  string
	steps steps
	value *node
}

func (r *reader) sections() ([]change, error) {
	var changes []change
	seen := map[string]bool{}
	repeated := ""
	for first := true; first || r.peek().class != classEnd; first = false {
		verb := strings.ToUpper(r.peek().text)
		if r.peek().class != classWord || !slices.Contains(verbs, verb) {
			return nil, r.syntax()
		}
		r.take()
		if seen[verb] && repeated == "" {
			repeated = verb
		}
		seen[verb] = true
		for {
			c, err := r.change(verb)
			if err != nil {
				return nil, err
			}
			if changes = append(changes, c); !r.accept(",") {
				break
			}
		}
	}
	if repeated != "" {
		return nil, r.kind.fault(fmt.Sprintf("The %q section can only be used once in an update expression;", repeated))
	}
	for _, c := range changes {
		if c.value != nil && c.value.doubled() {
			return nil, r.kind.fault("The expression has redundant parentheses;")
		}
	}
	return changes, nil
}

func (r *reader) change(verb string) (change, error) {
	s, err := r.path()
	if err != nil || verb == "REMOVE" {
		return change{verb: verb, steps: s}, err
	}
	if verb == "SET" {
		if err := r.expect("="); err != nil {
			return change{}, err
		}
		value, err := r.sum()
		return change{verb: verb, steps: s, value: value}, err
	}
	if r.peek().class != classValue {
		return change{}, r.syntax()
	}
	return change{verb: verb, steps: s, value: &node{shape: shapeValue, op: r.take().text}}, nil
}

// sum reads an operand, or two with + or - between.
func (r *reader) sum() (*node, error) {
	left, err := r.term()
	if err != nil || !r.peek().is("+") && !r.peek().is("-") {
		return left, err
	}
	op := r.take().text
	right, err := r.term()
	return &node{shape: shapeArithmetic, op: op, args: []*node{left, right}}, err
}

func (r *reader) term() (*node, error) {
	if !r.peek().is("(") {
		return r.operand()
	}
	r.take()
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.leave()
	inner, err := r.sum()
	if err != nil {
		return nil, err
	}
	return &node{shape: shapeParen, args: []*node{inner}}, r.expect(")")
}
