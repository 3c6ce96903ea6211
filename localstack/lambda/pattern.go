package lambda

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Pattern is an event pattern, as event source mappings and rules use it to choose events: an object that
// mirrors the event, whose leaves are lists of alternatives
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

// comparisons are the leaves that are objects, by their only key.
var comparisons = []string{"prefix", "suffix", "anything-but", "exists", "equals-ignore-case"}

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
			if key == "$or" {
				return fmt.Errorf("$or is not supported")
			}
			for _, leaf := range v {
				if m, ok := leaf.(map[string]any); ok && !known(m) {
					return fmt.Errorf("%s: comparison %v is not supported", key, m)
				}
			}
		default:
			return fmt.Errorf("%s: %v is neither an object nor a list", key, v)
		}
	}
	return nil
}

func known(m map[string]any) bool {
	for key := range m {
		if len(m) == 1 && slices.Contains(comparisons, key) {
			return true
		}
	}
	return false
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
			if !slices.ContainsFunc(w, func(leaf any) bool { return matchLeaf(leaf, got, present) }) {
				return false
			}
		}
	}
	return true
}

// matchLeaf compares one alternative; a list in the event matches if one of its entries does.
func matchLeaf(leaf, got any, present bool) bool {
	if list, ok := got.([]any); ok {
		if m, isMap := leaf.(map[string]any); !isMap || m["exists"] == nil {
			return slices.ContainsFunc(list, func(item any) bool { return matchLeaf(leaf, item, true) })
		}
	}
	comparison, ok := leaf.(map[string]any)
	if !ok {
		return present && leaf == scalarOf(got)
	}
	for name, arg := range comparison {
		if name == "exists" {
			return arg == present
		}
		return present && compare(name, arg, got)
	}
	return false
}

// scalarOf keeps comparable values only, so that == cannot panic.
func scalarOf(v any) any {
	switch v.(type) {
	case map[string]any, []any:
		return fmt.Errorf("not a scalar")
	}
	return v
}

func compare(name string, arg, got any) bool {
	if name == "anything-but" {
		switch a := arg.(type) {
		case []any:
			return !slices.ContainsFunc(a, func(one any) bool { return one == scalarOf(got) })
		case map[string]any:
			for inner, value := range a {
				return !compare(inner, value, got)
			}
			return false
		}
		return arg != scalarOf(got)
	}
	text, isText := got.(string)
	want, isWant := arg.(string)
	if !isText || !isWant {
		return false
	}
	switch name {
	case "prefix":
		return strings.HasPrefix(text, want)
	case "suffix":
		return strings.HasSuffix(text, want)
	}
	return strings.EqualFold(text, want)
}
