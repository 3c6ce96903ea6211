package template

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
)

var placeholder = regexp.MustCompile(`\$\{[^}]*\}`)

// sub resolves both forms of Fn::Sub: a string, and a list of a string and its own variables.
func (s *Scope) sub(arg any) (any, error) {
	text, variables, err := subParts(arg)
	if err != nil {
		return nil, err
	}
	values := maps.Clone(variables)
	for name, raw := range variables {
		if values[name], err = s.Resolve(raw); err != nil {
			return nil, err
		}
	}
	var fault error
	out := placeholder.ReplaceAllStringFunc(text, func(hole string) string {
		name := hole[2 : len(hole)-1]
		if literal, ok := strings.CutPrefix(name, "!"); ok {
			return "${" + literal + "}"
		}
		value, err := s.substitute(name, values)
		if err != nil && fault == nil {
			fault = fmt.Errorf("%s: %w", hole, err)
		}
		return value
	})
	return out, fault
}

func (s *Scope) substitute(name string, variables map[string]any) (string, error) {
	if value, ok := variables[name]; ok {
		return scalar(value)
	}
	var value any
	var err error
	if strings.Contains(name, ".") {
		value, err = s.getAtt(name)
	} else {
		value, err = s.ref(name)
	}
	if err != nil {
		return "", err
	}
	return scalar(value)
}

func subParts(arg any) (string, map[string]any, error) {
	if text, ok := arg.(string); ok {
		return text, nil, nil
	}
	if args, ok := arg.([]any); ok && len(args) == 2 {
		text, isText := args[0].(string)
		variables, isMap := args[1].(map[string]any)
		if isText && isMap {
			return text, variables, nil
		}
	}
	return "", nil, fmt.Errorf("takes a string, or a string and its variables")
}
