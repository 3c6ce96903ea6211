package template

import (
	"fmt"
	"slices"
	"strings"
)

// Order lists the logical ids of the resources that exist under the scope's conditions, each after
// everything that it refers to or depends on; ties are broken by name, so the order is the same each time.
// A cycle or a reference to an undeclared name is an error.
func (t *Template) Order(s *Scope) ([]string, error) {
	graph := map[string][]string{}
	for name, declaration := range t.Resources {
		exists, err := s.holds(declaration.Condition)
		if err != nil {
			return nil, fmt.Errorf("resource %s: %w", name, err)
		}
		if !exists {
			continue
		}
		if graph[name], err = t.needs(s, declaration); err != nil {
			return nil, fmt.Errorf("resource %s: %w", name, err)
		}
	}
	return sortGraph(graph)
}

func sortGraph(graph map[string][]string) ([]string, error) {
	var order, path []string
	done := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		if _, exists := graph[name]; done[name] || !exists {
			return nil // a DependsOn on a resource whose condition is false counts for nothing
		}
		if i := slices.Index(path, name); i >= 0 {
			return fmt.Errorf("resources refer to each other in a cycle: %s", strings.Join(append(path[i:], name), " → "))
		}
		path = append(path, name)
		for _, need := range graph[name] {
			if err := visit(need); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		done[name] = true
		order = append(order, name)
		return nil
	}
	for _, name := range sortedKeys(graph) {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// needs lists, sorted, the resources that a declaration names in DependsOn, properties and metadata.
func (t *Template) needs(s *Scope, d Declaration) ([]string, error) {
	explicit, err := d.dependsOn()
	if err != nil {
		return nil, err
	}
	set := map[string]bool{}
	for _, name := range explicit {
		if _, ok := t.Resources[name]; !ok {
			return nil, fmt.Errorf("DependsOn names %s, which is not declared", name)
		}
		set[name] = true
	}
	note := func(name string) {
		if _, ok := t.Resources[name]; ok {
			set[name] = true
		}
	}
	for _, part := range []map[string]any{d.Properties, d.Metadata} {
		if err := s.references(part, note); err != nil {
			return nil, err
		}
	}
	return sortedKeys(set), nil
}

// references calls note with each name that v refers to, following only the taken branch of Fn::If. Names
// that are not resources are noted too; resolving says whether they exist.
func (s *Scope) references(v any, note func(string)) error {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := s.references(item, note); err != nil {
				return err
			}
		}
	case map[string]any:
		if fn, arg, ok := call(v); ok {
			return s.callReferences(fn, arg, note)
		}
		for _, key := range sortedKeys(v) {
			if err := s.references(v[key], note); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Scope) callReferences(fn string, arg any, note func(string)) error {
	switch fn {
	case "Ref":
		if name, ok := arg.(string); ok {
			note(name)
		}
		return nil
	case "Fn::GetAtt":
		name, _, err := attribute(arg)
		note(name)
		return err
	case "Fn::If":
		branch, err := s.branch(arg)
		if err != nil {
			return err
		}
		return s.references(branch, note)
	case "Fn::Sub":
		text, _ := arg.(string)
		for _, hole := range placeholder.FindAllString(text, -1) {
			name, _, _ := strings.Cut(hole[2:len(hole)-1], ".")
			note(name)
		}
		return nil
	}
	return s.references(arg, note)
}
