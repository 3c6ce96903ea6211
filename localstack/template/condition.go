package template

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// evaluateConditions evaluates the whole Conditions section.
func (s *Scope) evaluateConditions(section map[string]any) error {
	for _, name := range sortedKeys(section) {
		value, err := s.truth(section[name])
		if err != nil {
			return fmt.Errorf("condition %s: %w", name, err)
		}
		s.conditions[name] = value
	}
	return nil
}

// checkRules evaluates the whole Rules section; every assertion that does not hold is told.
func (s *Scope) checkRules(section map[string]Rule) error {
	var faults []error
	for _, name := range sortedKeys(section) {
		rule := section[name]
		applies, err := true, error(nil)
		if rule.RuleCondition != nil {
			applies, err = s.truth(rule.RuleCondition)
		}
		if err != nil {
			return fmt.Errorf("rule %s: %w", name, err)
		}
		for _, a := range rule.Assertions {
			holds, err := s.truth(a.Assert)
			if err != nil {
				return fmt.Errorf("rule %s: %w", name, err)
			}
			if applies && !holds {
				faults = append(faults, fmt.Errorf("rule %s: %s", name, a.AssertDescription))
			}
		}
	}
	return errors.Join(faults...)
}

// truth evaluates one condition expression.
func (s *Scope) truth(v any) (bool, error) {
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return false, fmt.Errorf("%v is not a condition function", v)
	}
	for fn, arg := range m {
		args, ok := arg.([]any)
		switch {
		case !ok:
			return false, fmt.Errorf("%s takes a list", fn)
		case fn == "Fn::Equals" && len(args) == 2:
			return s.equals(args[0], args[1])
		case fn == "Fn::Not" && len(args) == 1:
			value, err := s.truth(args[0])
			return !value, err
		}
		return false, fmt.Errorf("%s with %d operands is not a condition function that is known here", fn, len(args))
	}
	return false, nil
}

func (s *Scope) equals(left, right any) (bool, error) {
	a, err := s.Resolve(left)
	if err != nil {
		return false, err
	}
	b, err := s.Resolve(right)
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
