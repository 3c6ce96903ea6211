package expression

import (
	"slices"
	"strings"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

const keyCondition = Kind("KeyConditionExpression")

// keyOperators are what a key condition may be made of.
var keyOperators = []string{"=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"}

// KeyCondition is what a query asks of the primary key.
type KeyCondition struct {
	Hash item.Value
	Op   string       // of the sort key: "", =, <, <=, >, >=, BETWEEN or begins_with
	Args []item.Value // of the sort key's condition: two for BETWEEN
}

// KeyExpression is a key condition that has been read, but not yet checked against a table's schema.
type KeyExpression struct{ parts []keyPart }

type keyPart struct {
	path Path
	op   string
	args []item.Value
}

// ParseKeyCondition reads a KeyConditionExpression.
func ParseKeyCondition(source string, env *Env) (*KeyExpression, error) {
	n, err := readCondition(keyCondition, source)
	if err != nil {
		return nil, err
	}
	b := &binder{kind: keyCondition, env: env}
	if _, err := b.test(n); err != nil {
		return nil, err
	}
	if err := b.checkLater(); err != nil {
		return nil, err
	}
	k := &KeyExpression{}
	return k, k.collect(n, env)
}

// collect flattens the conjunction into its parts.
func (k *KeyExpression) collect(n *node, env *Env) error {
	n = n.inner()
	if n.shape == shapeLogic && n.op == "AND" {
		if err := k.collect(n.args[0], env); err != nil {
			return err
		}
		return k.collect(n.args[1], env)
	}
	if n.shape == shapeLogic || !slices.Contains(keyOperators, n.op) {
		return item.Invalid("Invalid operator used in KeyConditionExpression: " + n.op)
	}
	part := keyPart{op: n.op}
	for i, a := range n.args {
		if err := part.add(i, a.inner(), env); err != nil {
			return err
		}
	}
	if part.path == nil || len(part.args) == 0 {
		return item.Invalid("Invalid condition in KeyConditionExpression: " + n.op + " operator must have one key attribute and a value")
	}
	k.parts = append(k.parts, part)
	return nil
}

// add takes one operand: the key attribute or a value. An attribute on the right turns the comparison round.
func (p *keyPart) add(at int, n *node, env *Env) error {
	switch n.shape {
	case shapeCall:
		return item.Invalid("KeyConditionExpressions cannot contain nested operations")
	case shapeValue:
		v, err := env.value(keyCondition, n.op)
		p.args = append(p.args, v)
		return err
	default:
	}
	path, err := env.resolve(keyCondition, n.steps)
	switch {
	case err != nil:
		return err
	case p.path != nil || at > 0 && len(n.op) > 2:
		return item.Invalid("Invalid condition in KeyConditionExpression: multiple attribute names used in one condition")
	case len(path) > 1:
		return item.Invalid("Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: " + path.Attribute())
	}
	p.path = path
	if at > 0 {
		p.op = strings.NewReplacer("<", ">", ">", "<").Replace(p.op)
	}
	return nil
}

// Hash is the value that the condition gives to the named partition key, before anything else is checked.
func (k *KeyExpression) Hash(name string) (item.Value, bool) {
	for _, p := range k.parts {
		if p.path.Attribute() == name && p.op == "=" {
			return p.args[0], true
		}
	}
	return item.Value{}, false
}

// Bind checks the condition against a schema.
func (k *KeyExpression) Bind(schema item.Schema) (KeyCondition, error) {
	byName := map[string]keyPart{}
	for _, p := range k.parts {
		if _, twice := byName[p.path.Attribute()]; twice {
			return KeyCondition{}, item.Invalid("KeyConditionExpressions must only contain one condition per key")
		}
		byName[p.path.Attribute()] = p
	}
	if len(k.parts) > 2 {
		return KeyCondition{}, item.Invalid("Conditions can be of length 1 or 2 only")
	}
	hash, ok := byName[schema.Hash.Name]
	if !ok {
		return KeyCondition{}, item.Invalid("Query condition missed key schema element: " + schema.Hash.Name)
	}
	if err := hash.check(schema.Hash); err != nil {
		return KeyCondition{}, err
	}
	if hash.op != "=" {
		return KeyCondition{}, item.Invalid("Query key condition not supported")
	}
	c := KeyCondition{Hash: hash.args[0]}
	if len(k.parts) == 1 {
		return c, nil
	}
	sort, ok := byName[schema.Range.Name]
	if !ok || schema.Range.Name == "" {
		return KeyCondition{}, item.Invalid("Query condition missed key schema element: " + schema.Range.Name)
	}
	c.Op, c.Args = sort.op, sort.args
	return c, sort.check(schema.Range)
}

func (p keyPart) check(a item.Attribute) error {
	for _, v := range p.args {
		if v.Kind != a.Kind {
			return item.Invalid("One or more parameter values were invalid: Condition parameter type does not match schema type")
		}
		if err := item.NotEmpty(a.Name, v); err != nil && p.op != "begins_with" {
			return err
		}
	}
	return nil
}

// Accepts reports whether a sort key satisfies the condition.
func (c KeyCondition) Accepts(v item.Value) bool {
	switch c.Op {
	case "":
		return true
	case "BETWEEN":
		return v.Compare(c.Args[0]) >= 0 && v.Compare(c.Args[1]) <= 0
	case "begins_with":
		return strings.HasPrefix(v.Text, c.Args[0].Text)
	}
	return holds(c.Op, v.Compare(c.Args[0]))
}

// Span is the range of sortable key bytes that the condition can accept: from the first, up to and
// including what begins with the last. Open ends are "" and open.
func (c KeyCondition) Span() (from, to string, open bool) {
	switch c.Op {
	case "=", "begins_with":
		key := c.Args[0].Sortable()
		return key, key, false
	case "<", "<=":
		return "", c.Args[0].Sortable(), false
	case ">", ">=":
		return c.Args[0].Sortable(), "", true
	case "BETWEEN":
		return c.Args[0].Sortable(), c.Args[1].Sortable(), false
	}
	return "", "", true
}
