package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/stile-dev/stile/localstack/resource"
)

// Scope is everything that a template's functions may refer to while it is resolved.
type Scope struct {
	Pseudo     map[string]any                        // AWS::AccountId and the like
	Parameters map[string]any                        // effective values
	Resources  map[string]resource.Outcome           // what has been provisioned so far
	Import     func(name string) (any, error)        // value of another stack's export
	Output     func(stack, name string) (any, error) // value of another stack's output
	Zones      []string                              // availability zones of the Region
	conditions map[string]bool
}

// NewScope checks the given parameter values against the template's declarations and rules, and evaluates its
// conditions. A parameter without value and default, or a value for an undeclared one, is an error.
func NewScope(t *Template, pseudo map[string]any, given map[string]string) (*Scope, error) {
	s := &Scope{Pseudo: pseudo, Parameters: map[string]any{}, Resources: map[string]resource.Outcome{}, conditions: map[string]bool{}}
	var faults []error
	for name := range given {
		if _, ok := t.Parameters[name]; !ok {
			faults = append(faults, fmt.Errorf("parameter %s is not declared by the template", name))
		}
	}
	for _, name := range sortedKeys(t.Parameters) {
		value, err := t.Parameters[name].effective(name, given)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		s.Parameters[name] = value
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if err := s.checkRules(t.Rules); err != nil {
		return nil, err
	}
	return s, s.evaluateConditions(t.Conditions)
}

func (p Parameter) effective(name string, given map[string]string) (any, error) {
	text, ok := given[name]
	if !ok {
		if p.Default == nil {
			return nil, fmt.Errorf("parameter %s has neither a value nor a default", name)
		}
		var err error
		if text, err = scalar(p.Default); err != nil {
			return nil, fmt.Errorf("default of parameter %s: %w", name, err)
		}
	}
	if err := p.check(text); err != nil {
		return nil, fmt.Errorf("parameter %s: %w", name, err)
	}
	return text, nil
}

func (p Parameter) check(text string) error {
	if p.Type != "String" && p.Type != "Number" {
		return fmt.Errorf("the type %s is not known here", p.Type)
	}
	if len(p.AllowedValues) > 0 && !slices.ContainsFunc(p.AllowedValues, func(v any) bool { s, err := scalar(v); return err == nil && s == text }) {
		return fmt.Errorf("%q is not one of %v", text, p.AllowedValues)
	}
	if p.AllowedPattern != "" {
		pattern, err := regexp.Compile("^(?:" + p.AllowedPattern + ")$")
		if err != nil {
			return fmt.Errorf("AllowedPattern: %w", err)
		}
		if !pattern.MatchString(text) {
			return fmt.Errorf("%q does not match %s %s", text, p.AllowedPattern, p.ConstraintDescription)
		}
	}
	if p.Type == "Number" {
		number, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		return within(number, p.MinValue, p.MaxValue)
	}
	return within(float64(len(text)), p.MinLength, nil)
}

func within(n float64, low, high any) error {
	for _, bound := range []struct {
		value any
		bad   func(limit float64) bool
		word  string
	}{{low, func(l float64) bool { return n < l }, "less"}, {high, func(l float64) bool { return n > l }, "more"}} {
		if bound.value == nil {
			continue
		}
		text, err := scalar(bound.value)
		if err != nil {
			return err
		}
		limit, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("limit %q is not a number", text)
		}
		if bound.bad(limit) {
			return fmt.Errorf("%v is %s than %v", n, bound.word, limit)
		}
	}
	return nil
}

// scalar writes a JSON scalar as CloudFormation would put it into a string.
func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case int:
		return strconv.Itoa(v), nil
	}
	return "", fmt.Errorf("%v (%T) is not a string, number or boolean", v, v)
}
