package expression

import (
	"maps"
	"slices"
	"strings"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// Env holds a request's ExpressionAttributeNames and ExpressionAttributeValues and notes which of them
// its expressions use. One Env serves all expressions of one request, one after the other.
type Env struct {
	names      map[string]string
	values     map[string]item.Value
	usedNames  map[string]bool
	usedValues map[string]bool
}

// Bindings are the placeholders of a request; nil means that the member is absent.
type Bindings struct {
	Names  map[string]string
	Values map[string]item.Value
}

// NewEnv checks the placeholders. Without expressions none may be given: absent then says which
// members are missing, as in "ConditionExpression is null".
func NewEnv(b Bindings, expressions bool, absent string) (*Env, error) {
	if err := checkBindings(b, expressions, absent); err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(b.Names)) {
		if !placeholder(key, '#') {
			return nil, item.Invalid("ExpressionAttributeNames contains invalid key: Syntax error; key: \"" + key + "\"")
		}
		if b.Names[key] == "" {
			return nil, item.Invalid("ExpressionAttributeNames contains invalid value: Empty attribute name for key " + key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b.Values)) {
		if !placeholder(key, ':') {
			return nil, item.Invalid("ExpressionAttributeValues contains invalid key: Syntax error; key: \"" + key + "\"")
		}
	}
	return &Env{names: b.Names, values: b.Values, usedNames: map[string]bool{}, usedValues: map[string]bool{}}, nil
}

func checkBindings(b Bindings, expressions bool, absent string) error {
	switch {
	case b.Names != nil && !expressions:
		return item.Invalid("ExpressionAttributeNames can only be specified when using expressions")
	case b.Values != nil && (!expressions || absent != ""):
		text := "ExpressionAttributeValues can only be specified when using expressions"
		if absent != "" {
			text += ": " + absent
		}
		return item.Invalid(text)
	case b.Names != nil && len(b.Names) == 0:
		return item.Invalid("ExpressionAttributeNames must not be empty")
	case b.Values != nil && len(b.Values) == 0:
		return item.Invalid("ExpressionAttributeValues must not be empty")
	}
	return nil
}

func placeholder(key string, sign byte) bool {
	return len(key) > 1 && key[0] == sign && span(key, 1) == len(key)
}

// Unused refuses placeholders that no expression used. Call it after the last expression.
func (e *Env) Unused() error {
	if keys := unused(e.names, e.usedNames); keys != "" {
		return item.Invalid("Value provided in ExpressionAttributeNames unused in expressions: keys: {" + keys + "}")
	}
	if keys := unused(e.values, e.usedValues); keys != "" {
		return item.Invalid("Value provided in ExpressionAttributeValues unused in expressions: keys: {" + keys + "}")
	}
	return nil
}

func unused[V any](given map[string]V, used map[string]bool) string {
	var left []string
	for key := range given {
		if !used[key] {
			left = append(left, key)
		}
	}
	slices.Sort(left)
	return strings.Join(left, ", ")
}

// name is the attribute name that a path's word or #placeholder stands for.
func (e *Env) name(k Kind, t token) (string, error) {
	if t.class == classWord {
		if Reserved(t.text) {
			return "", k.fault("Attribute name is a reserved keyword; reserved keyword: " + t.text)
		}
		return t.text, nil
	}
	name, ok := e.names[t.text]
	if !ok {
		return "", k.fault("An expression attribute name used in the document path is not defined; attribute name: " + t.text)
	}
	e.usedNames[t.text] = true
	return name, nil
}

// value is what a :placeholder stands for.
func (e *Env) value(k Kind, text string) (item.Value, error) {
	v, ok := e.values[text]
	if !ok {
		return item.Value{}, k.fault("An expression attribute value used in expression is not defined; attribute value: " + text)
	}
	e.usedValues[text] = true
	return v, nil
}
