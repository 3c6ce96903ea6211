package template

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// evaluateConditions evaluates the whole Conditions section; conditions may refer to each other, and a
// cycle of them is an error.
func (s *Scope) evaluateConditions(section map[string]any) error {
	running := map[string]bool{}
	var named func(name string) (bool, error)
	named = func(name string) (bool, error) {
		if value, done := s.conditions[name]; done {
			return value, nil
		}
		body, ok := section[name]
		if !ok {
			return false, fmt.Errorf("condition %s is not declared", name)
		}
		if running[name] {
			return false, fmt.Errorf("condition %s refers to itself", name)
		}
		running[name] = true
		value, err := s.truth(body, named)
		if err != nil {
			return false, fmt.Errorf("condition %s: %w", name, err)
		}
		s.conditions[name] = value
		return value, nil
	}
	for _, name := range sortedKeys(section) {
		if _, err := named(name); err != nil {
			return err
		}
	}
	return nil
}

// truth evaluates one condition expression.
func (s *Scope) truth(v any, named func(string) (bool, error)) (bool, error) {
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return false, fmt.Errorf("%v is not a condition function", v)
	}
	for fn, arg := range m {
		if fn == "Condition" {
			name, ok := arg.(string)
			if !ok {
				return false, fmt.Errorf("condition takes a name")
			}
			return named(name)
		}
		args, ok := arg.([]any)
		if !ok {
			return false, fmt.Errorf("%s takes a list", fn)
		}
		switch fn {
		case "Fn::Equals":
			return s.equals(args)
		case "Fn::Not":
			if len(args) != 1 {
				return false, fmt.Errorf("Fn::Not takes one condition")
			}
			value, err := s.truth(args[0], named)
			return !value, err
		case "Fn::And", "Fn::Or":
			return s.junction(fn, args, named)
		}
		return false, fmt.Errorf("%s is not a condition function that is known here", fn)
	}
	return false, nil
}

func (s *Scope) equals(args []any) (bool, error) {
	if len(args) != 2 {
		return false, fmt.Errorf("Fn::Equals takes two values")
	}
	a, err := s.Resolve(args[0])
	if err != nil {
		return false, err
	}
	b, err := s.Resolve(args[1])
	if err != nil {
		return false, err
	}
	if x, err := scalar(a); err == nil {
		if y, err := scalar(b); err == nil {
			return x == y, nil
		}
	}
	return reflect.DeepEqual(a, b), nil
}

func (s *Scope) junction(fn string, args []any, named func(string) (bool, error)) (bool, error) {
	if len(args) < 2 || len(args) > 10 {
		return false, fmt.Errorf("%s takes two to ten conditions", fn)
	}
	all, some := true, false
	for _, arg := range args {
		value, err := s.truth(arg, named)
		if err != nil {
			return false, err
		}
		all, some = all && value, some || value
	}
	if fn == "Fn::And" {
		return all, nil
	}
	return some, nil
}

// holds reports whether a resource or output with this Condition exists; "" always does.
func (s *Scope) holds(condition string) (bool, error) {
	if condition == "" {
		return true, nil
	}
	value, ok := s.conditions[condition]
	if !ok {
		return false, fmt.Errorf("condition %s is not declared", condition)
	}
	return value, nil
}
