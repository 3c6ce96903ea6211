package lambda

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Pattern is an event pattern, as event source mappings use it to choose records: an object that mirrors the event,
// whose leaves are lists of alternatives. Only exact values are alternatives here
// (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html).
type Pattern struct{ fields map[string]any }

// ParsePattern reads a pattern, and refuses a comparison that is not supported.
func ParsePattern(raw []byte) (*Pattern, error) {
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("reading event pattern: %w", err)
	}
	if err := checkPattern(fields); err != nil {
		return nil, fmt.Errorf("reading event pattern: %w", err)
	}
	return &Pattern{fields}, nil
}

func checkPattern(fields map[string]any) error {
	if len(fields) == 0 {
		return fmt.Errorf("an empty object matches nothing by design; leave the key out")
	}
	for key, value := range fields {
		switch v := value.(type) {
		case map[string]any:
			if err := checkPattern(v); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		case []any:
			for _, leaf := range v {
				if scalarOf(leaf) != leaf {
					return fmt.Errorf("%s: comparison %v is not supported", key, leaf)
				}
			}
		default:
			return fmt.Errorf("%s: %v is neither an object nor a list", key, v)
		}
	}
	return nil
}

// Matches reports whether an event, as JSON, has everything that the pattern asks for.
func (p *Pattern) Matches(event []byte) bool {
	var value any
	if json.Unmarshal(event, &value) != nil {
		return false
	}
	return matchObject(p.fields, value)
}

func matchObject(fields map[string]any, value any) bool {
	object, _ := value.(map[string]any)
	for key, want := range fields {
		got, present := object[key]
		switch w := want.(type) {
		case map[string]any:
			if !matchObject(w, got) {
				return false
			}
		case []any:
			if !present || !slices.ContainsFunc(w, func(leaf any) bool { return matchLeaf(leaf, got) }) {
				return false
			}
		}
	}
	return true
}

// matchLeaf compares one alternative; a list in the event matches if one of its entries does.
func matchLeaf(leaf, got any) bool {
	if list, ok := got.([]any); ok {
		return slices.ContainsFunc(list, func(item any) bool { return matchLeaf(leaf, item) })
	}
	return leaf == scalarOf(got)
}

// scalarOf keeps comparable values only, so that == cannot panic.
func scalarOf(v any) any {
	switch v.(type) {
	case map[string]any, []any:
		return fmt.Errorf("not a scalar")
	}
	return v
}
