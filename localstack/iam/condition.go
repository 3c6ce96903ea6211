package iam

import (
	"fmt"
	"slices"
	"strings"
)

// condition is the context of a query: keys in lower case.
type condition map[string][]string

func newCondition(context map[string][]string) condition {
	c := make(condition, len(context))
	for k, v := range context {
		c[strings.ToLower(k)] = v
	}
	return c
}

func (c condition) get(key string) []string { return c[strings.ToLower(key)] }

// set gives the key a value unless that is empty or the key has one.
func (c condition) set(key, value string) {
	key = strings.ToLower(key)
	if _, there := c[key]; !there && value != "" {
		c[key] = []string{value}
	}
}

// quantifier is the prefix for keys with several values.
type quantifier int

const (
	single quantifier = iota
	forAll            // ForAllValues: holds when every value does, hence for a key that is absent or empty
	forAny            // ForAnyValue: holds when some value does, hence not for a key that is absent or empty
)

// clause is one operator on one key.
type clause struct {
	text       string // for reasons: StringEquals kms:MessageType
	operator   operator
	quantifier quantifier
	ifExists   bool
	key        string
	values     []operand
}

// readCondition reads {operator: {key: value or values}}.
func readCondition(at string, n node, variables bool) ([]clause, error) {
	blocks, err := n.members(at)
	if err != nil {
		return nil, err
	}
	var out []clause
	for _, block := range blocks {
		in := at + "." + block.key
		base, err := readOperator(in, block.key)
		if err != nil {
			return nil, err
		}
		asked, err := block.node.members(in)
		if err != nil {
			return nil, err
		}
		if len(asked) == 0 {
			return nil, fmt.Errorf("%s: is empty", in)
		}
		seen := map[string]bool{}
		for _, k := range asked {
			where := in + "." + k.key
			if lower := strings.ToLower(k.key); seen[lower] {
				return nil, fmt.Errorf("%s: the key appears twice; case makes no difference", where)
			} else {
				seen[lower] = true
			}
			c := base
			c.key, c.text = k.key, block.key+" "+k.key
			if err := c.readValues(where, k.node, variables); err != nil {
				return nil, err
			}
			out = append(out, c)
		}
	}
	return out, nil
}

func readOperator(at, name string) (clause, error) {
	c := clause{}
	rest := name
	if s, ok := strings.CutPrefix(rest, "ForAllValues:"); ok {
		c.quantifier, rest = forAll, s
	} else if s, ok := strings.CutPrefix(rest, "ForAnyValue:"); ok {
		c.quantifier, rest = forAny, s
	}
	if s, ok := strings.CutSuffix(rest, "IfExists"); ok {
		c.ifExists, rest = true, s
	}
	op, ok := operators[rest]
	if !ok {
		return c, fmt.Errorf("%s: unknown condition operator %q", at, name)
	}
	if rest == "Null" && (c.ifExists || c.quantifier != single) {
		return c, fmt.Errorf("%s: Null takes neither IfExists nor a set prefix", at)
	}
	c.operator = op
	return c, nil
}

func (c *clause) readValues(at string, n node, variables bool) error {
	if !supplied(c.key) {
		return fmt.Errorf("%s: the local AWS does not supply the condition key %s", at, c.key)
	}
	values, err := n.strings(at, true)
	if err != nil {
		return err
	}
	if len(values) == 0 {
		return fmt.Errorf("%s: is empty", at)
	}
	for _, v := range values {
		o, err := c.operator.read(at, v, variables)
		if err != nil {
			return err
		}
		c.values = append(c.values, o)
	}
	return nil
}

// errSeveral is the reason for a key with several values under an operator for one: AWS leaves the outcome
// open, so the whole decision is no.
type errSeveral struct{ clause string }

func (e errSeveral) Error() string {
	return "because the condition " + e.clause + " compares a key that has several values here; write ForAllValues: or ForAnyValue:"
}

// errUnresolved is the reason for a negated condition on a variable without a value. AWS says that it may make the
// whole statement invalid; here it makes the whole decision no, since nothing would ever equal it.
type errUnresolved struct{ clause string }

func (e errUnresolved) Error() string {
	return "because the condition " + e.clause + " has a policy variable without a value here; give it a default"
}

// holds reports whether the clause is fulfilled.
func (c clause) holds(ctx condition) (bool, error) {
	values := ctx.get(c.key)
	if c.operator.null {
		return c.holdsNull(empty(values)), nil
	}
	if len(values) == 0 || c.quantifier != single && empty(values) {
		if c.ifExists && len(values) == 0 || c.quantifier == forAll {
			return true, nil
		}
		return c.operator.negated && c.quantifier == single, nil
	}
	if c.quantifier == single && len(values) > 1 {
		return false, errSeveral{c.text}
	}
	if c.operator.negated && !c.resolved(ctx) {
		return false, errUnresolved{c.text}
	}
	for _, v := range values {
		ok := c.compare(v, ctx)
		if c.quantifier == forAll && !ok {
			return false, nil
		}
		if c.quantifier != forAll && ok {
			return true, nil
		}
	}
	return c.quantifier == forAll, nil
}

// names reports whether the clause holds only for values of the key that it names.
func (c clause) names(key string) bool {
	return strings.EqualFold(c.key, key) && !c.operator.negated && !c.operator.null && !c.ifExists && c.quantifier == single
}

// empty reports whether a key is absent or has only empty strings, which Null and the set prefixes treat as nothing.
func empty(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return v != "" })
}

func (c clause) resolved(ctx condition) bool {
	return !slices.ContainsFunc(c.values, func(o operand) bool {
		_, ok := o.pattern.expand(ctx)
		return !ok
	})
}

// compare compares one value of the context with all of the policy's: any for an operator that affirms,
// none for one that negates.
func (c clause) compare(value string, ctx condition) bool {
	for _, o := range c.values {
		if c.operator.match(o, value, ctx) {
			return !c.operator.negated
		}
	}
	return c.operator.negated
}

func (c clause) holdsNull(absent bool) bool {
	for _, o := range c.values {
		if strings.EqualFold(o.raw, "true") == absent {
			return true
		}
	}
	return false
}
