// Package pattern is the language in which EventBridge's rules and Lambda's event source mappings choose events
// (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html): an object that mirrors
// the event, whose leaves are lists of alternatives.
//
// It knows the alternatives that somebody here uses, and refuses others: values, prefix, wildcard, anything-but,
// exists, and $or between objects. Its entry point is [Parse].
package pattern

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Pattern is a pattern that was read.
type Pattern struct{ fields map[string]any }

const or = "$or"

// Parse reads a pattern, and refuses a comparison that is not supported.
func Parse(raw []byte) (*Pattern, error) {
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("reading event pattern: %w", err)
	}
	if err := checkFields(fields); err != nil {
		return nil, fmt.Errorf("reading event pattern: %w", err)
	}
	return &Pattern{fields}, nil
}

func checkFields(fields map[string]any) error {
	if len(fields) == 0 {
		return fmt.Errorf("an empty object matches nothing by design; leave the key out")
	}
	for key, value := range fields {
		if err := checkField(key, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func checkField(key string, value any) error {
	switch v := value.(type) {
	case map[string]any:
		return checkFields(v)
	case []any:
		if len(v) == 0 {
			return fmt.Errorf("an empty list matches nothing by design; leave the key out")
		}
		if key == or {
			return checkAlternatives(v)
		}
		for _, leaf := range v {
			if _, err := comparison(leaf); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%v is neither an object nor a list", value)
}

func checkAlternatives(list []any) error {
	for _, one := range list {
		fields, ok := one.(map[string]any)
		if !ok || len(list) < 2 {
			return fmt.Errorf("two or more objects are expected")
		}
		if err := checkFields(fields); err != nil {
			return err
		}
	}
	return nil
}

// comparison makes a test of a field from one alternative. The field's value is nil where it is absent.
func comparison(leaf any) (func(got any, present bool) bool, error) {
	operator, ok := leaf.(map[string]any)
	if !ok {
		if _, isList := leaf.([]any); isList {
			return nil, fmt.Errorf("comparison %v is not supported", leaf)
		}
		return func(got any, present bool) bool { return present && scalar(got) && got == leaf }, nil
	}
	if len(operator) == 1 {
		if want, ok := operator["exists"].(bool); ok {
			return func(_ any, present bool) bool { return present == want }, nil
		}
		if want, ok := operator["prefix"].(string); ok {
			return ofText(func(got string) bool { return strings.HasPrefix(got, want) }), nil
		}
		if want, ok := operator["wildcard"].(string); ok && !strings.Contains(want, "**") && !strings.Contains(want, `\`) {
			return ofText(func(got string) bool { return wild(want, got) }), nil
		}
		if want, ok := operator["anything-but"]; ok {
			return except(want)
		}
	}
	return nil, fmt.Errorf("comparison %v is not supported", leaf)
}

// except is anything-but a value, one of a list, or a prefix. A field that is absent is not anything.
func except(want any) (func(any, bool) bool, error) {
	list, isList := want.([]any)
	if !isList {
		list = []any{want}
	}
	var not []func(any, bool) bool
	for _, one := range list {
		operator, isOperator := one.(map[string]any)
		_, isPrefix := operator["prefix"].(string)
		if isOperator && (!isPrefix || isList) {
			return nil, fmt.Errorf("comparison anything-but %v is not supported", want)
		}
		c, err := comparison(one)
		if err != nil {
			return nil, err
		}
		not = append(not, c)
	}
	return func(got any, present bool) bool {
		return present && !slices.ContainsFunc(not, func(c func(any, bool) bool) bool { return c(got, present) })
	}, nil
}

func ofText(test func(string) bool) func(any, bool) bool {
	return func(got any, _ bool) bool {
		text, ok := got.(string)
		return ok && test(text)
	}
}

// wild matches a text against a pattern in which * is any run of characters.
func wild(want, got string) bool {
	parts := strings.Split(want, "*")
	if len(parts) == 1 {
		return want == got
	}
	rest, ok := strings.CutPrefix(got, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

// scalar reports whether two values can be compared by == without a panic.
func scalar(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

// Matches reports whether an event, as JSON, has everything that the pattern asks for.
func (p *Pattern) Matches(event []byte) bool {
	var value any
	return json.Unmarshal(event, &value) == nil && matchFields(p.fields, value)
}

// matchFields matches an object, or one in a list of them.
func matchFields(fields map[string]any, value any) bool {
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, func(item any) bool { return matchFields(fields, item) })
	}
	object, _ := value.(map[string]any)
	for key, want := range fields {
		got, present := object[key]
		if !matchField(key, want, object, got, present) {
			return false
		}
	}
	return true
}

func matchField(key string, want any, object map[string]any, got any, present bool) bool {
	switch w := want.(type) {
	case map[string]any:
		return matchFields(w, got)
	case []any:
		return slices.ContainsFunc(w, func(leaf any) bool {
			if fields, ok := leaf.(map[string]any); ok && key == or {
				return matchFields(fields, object)
			}
			return matchLeaf(leaf, got, present)
		})
	}
	return false
}

// matchLeaf compares one alternative; a list in the event matches if one of its entries does.
func matchLeaf(leaf, got any, present bool) bool {
	compare, err := comparison(leaf)
	if err != nil {
		return false // Parse refused it
	}
	if list, ok := got.([]any); ok && len(list) > 0 {
		return slices.ContainsFunc(list, func(item any) bool { return compare(item, present) })
	}
	return compare(got, present)
}
