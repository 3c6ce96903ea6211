package template

import (
	"fmt"
	"strconv"
	"strings"
)

// function resolves one intrinsic function's argument.
type function func(s *Scope, arg any) (any, error)

// functions is the closed set of intrinsic functions; any other Fn:: is refused. It is filled by init,
// because the functions resolve their own arguments through it.
var functions map[string]function

func init() {
	functions = map[string]function{
		"Ref":                (*Scope).ref,
		"Fn::GetAtt":         (*Scope).getAtt,
		"Fn::Sub":            (*Scope).sub,
		"Fn::Join":           (*Scope).join,
		"Fn::Select":         (*Scope).pick,
		"Fn::Split":          (*Scope).split,
		"Fn::If":             (*Scope).choose,
		"Fn::ImportValue":    (*Scope).importValue,
		"Fn::GetStackOutput": (*Scope).stackOutput,
		"Fn::GetAZs":         (*Scope).zones,
	}
}

// Resolve returns v with every intrinsic function in it replaced by its value. An unknown function, a
// reference to something undeclared, or a dynamic reference ({{resolve:…}}) is an error.
func (s *Scope) Resolve(v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		return s.resolveMap(v)
	case []any:
		list := make([]any, 0, len(v))
		for i, item := range v {
			value, err := s.Resolve(item)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			if value != (absent{}) {
				list = append(list, value)
			}
		}
		return list, nil
	case string:
		if strings.Contains(v, "{{resolve:") {
			return nil, fmt.Errorf("dynamic reference %q is not supported", v)
		}
	}
	return v, nil
}

func (s *Scope) resolveMap(m map[string]any) (any, error) {
	if fn, arg, ok := call(m); ok {
		run, known := functions[fn]
		if !known {
			return nil, fmt.Errorf("intrinsic function %s is not known here", fn)
		}
		value, err := run(s, arg)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fn, err)
		}
		return value, nil
	}
	out := make(map[string]any, len(m))
	for _, key := range sortedKeys(m) {
		if strings.HasPrefix(key, "Fn::") {
			return nil, fmt.Errorf("%s is beside other keys, but must be the only one", key)
		}
		value, err := s.Resolve(m[key])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if value != (absent{}) {
			out[key] = value
		}
	}
	return out, nil
}

// absent is what AWS::NoValue resolves to: the property or item that has it is left out.
type absent struct{}

// call recognises a function call: an object whose only key is Ref or Fn::….
func call(m map[string]any) (fn string, arg any, ok bool) {
	if len(m) != 1 {
		return "", nil, false
	}
	for key, value := range m {
		return key, value, key == "Ref" || strings.HasPrefix(key, "Fn::")
	}
	return "", nil, false
}

func (s *Scope) ref(arg any) (any, error) {
	name, ok := arg.(string)
	if !ok {
		return nil, fmt.Errorf("takes a name, not %v", arg)
	}
	if value, ok := s.Pseudo[name]; ok {
		return value, nil
	}
	if value, ok := s.Parameters[name]; ok {
		return value, nil
	}
	if outcome, ok := s.Resources[name]; ok {
		return outcome.Ref, nil
	}
	return nil, fmt.Errorf("%s is not a parameter, pseudo parameter or existing resource", name)
}

func (s *Scope) getAtt(arg any) (any, error) {
	name, attribute, err := attribute(arg)
	if err != nil {
		return nil, err
	}
	outcome, ok := s.Resources[name]
	if !ok {
		return nil, fmt.Errorf("resource %s does not exist", name)
	}
	value, ok := outcome.Attributes[attribute]
	if !ok {
		return nil, fmt.Errorf("resource %s has no attribute %s here", name, attribute)
	}
	return value, nil
}

// attribute reads both forms of Fn::GetAtt's argument: a list of two, and name.attribute.
func attribute(arg any) (name, attribute string, err error) {
	switch v := arg.(type) {
	case string:
		name, attribute, _ = strings.Cut(v, ".")
	case []any:
		if len(v) == 2 {
			name, _ = v[0].(string)
			attribute, _ = v[1].(string)
		}
	}
	if name == "" || attribute == "" {
		return "", "", fmt.Errorf("takes a resource and an attribute, not %v", arg)
	}
	return name, attribute, nil
}

// list resolves an argument that has to be a list of n entries (n < 0: of any length).
func (s *Scope) list(arg any, n int) ([]any, error) {
	value, err := s.Resolve(arg)
	if err != nil {
		return nil, err
	}
	list, ok := value.([]any)
	if !ok || (n >= 0 && len(list) != n) {
		if n >= 0 {
			return nil, fmt.Errorf("takes a list of %d, not %v", n, value)
		}
		return nil, fmt.Errorf("takes a list, not %v", value)
	}
	return list, nil
}

func (s *Scope) join(arg any) (any, error) {
	args, err := s.list(arg, 2)
	if err != nil {
		return nil, err
	}
	separator, ok := args[0].(string)
	parts, isList := args[1].([]any)
	if !ok || !isList {
		return nil, fmt.Errorf("takes a separator and a list")
	}
	text := make([]string, len(parts))
	for i, part := range parts {
		if text[i], err = scalar(part); err != nil {
			return nil, err
		}
	}
	return strings.Join(text, separator), nil
}

func (s *Scope) pick(arg any) (any, error) {
	args, err := s.list(arg, 2)
	if err != nil {
		return nil, err
	}
	index, err := scalar(args[0])
	if err != nil {
		return nil, err
	}
	i, err := strconv.Atoi(index)
	if err != nil {
		return nil, fmt.Errorf("index %q is not a number", index)
	}
	list, ok := args[1].([]any)
	if !ok || i < 0 || i >= len(list) {
		return nil, fmt.Errorf("index %d is outside %v", i, args[1])
	}
	return list[i], nil
}

func (s *Scope) split(arg any) (any, error) {
	args, err := s.list(arg, 2)
	if err != nil {
		return nil, err
	}
	separator, ok := args[0].(string)
	text, isText := args[1].(string)
	if !ok || !isText || separator == "" {
		return nil, fmt.Errorf("takes a separator and a string")
	}
	var parts []any
	for part := range strings.SplitSeq(text, separator) {
		parts = append(parts, part)
	}
	return parts, nil
}

// choose resolves only the branch that is taken: the other may refer to what does not exist.
func (s *Scope) choose(arg any) (any, error) {
	branch, err := s.branch(arg)
	if err != nil {
		return nil, err
	}
	return s.Resolve(branch)
}

func (s *Scope) branch(arg any) (any, error) {
	args, ok := arg.([]any)
	if !ok || len(args) != 3 {
		return nil, fmt.Errorf("takes a condition and two values")
	}
	name, ok := args[0].(string)
	if !ok || name == "" {
		return nil, fmt.Errorf("takes the name of a condition, not %v", args[0])
	}
	value, err := s.holds(name)
	if err != nil {
		return nil, err
	}
	if value {
		return args[1], nil
	}
	return args[2], nil
}

func (s *Scope) importValue(arg any) (any, error) {
	value, err := s.Resolve(arg)
	if err != nil {
		return nil, err
	}
	name, ok := value.(string)
	if !ok {
		return nil, fmt.Errorf("takes the name of an export")
	}
	if s.Import == nil {
		return nil, fmt.Errorf("no stack exports %s", name)
	}
	return s.Import(name)
}

func (s *Scope) zones(arg any) (any, error) {
	value, err := s.Resolve(arg)
	if err != nil {
		return nil, err
	}
	if region, ok := value.(string); !ok || (region != "" && region != s.Pseudo["AWS::Region"]) {
		return nil, fmt.Errorf("only this Region's zones are known, not those of %v", value)
	}
	list := make([]any, len(s.Zones))
	for i, zone := range s.Zones {
		list[i] = zone
	}
	return list, nil
}
