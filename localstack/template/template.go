// Package template reads CloudFormation templates: it resolves their parameters, conditions and intrinsic
// functions, finds the order of their resources, and hands each one to the provider of its type. Of the
// language it knows what infra/templates and the conformance suite use, and refuses the rest.
//
// It must not know any service: what a type means is up to the [resource.Provider] that names it.
// Its entry points are [Parse] for the document and [Deployer] for a whole stack.
package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Template is one CloudFormation document as it was written, nothing resolved.
type Template struct {
	Description string
	Parameters  map[string]Parameter
	Conditions  map[string]any
	Rules       map[string]Rule
	Resources   map[string]Declaration
	Outputs     map[string]Output
}

// Parameter is one entry of the Parameters section.
type Parameter struct {
	Type                  string
	Default               any
	Description           string
	AllowedValues         []any
	AllowedPattern        string
	ConstraintDescription string
	MinLength             any
	MinValue, MaxValue    any
}

// Rule is one entry of the Rules section: what must hold of the parameters before anything is made.
type Rule struct {
	RuleCondition any // nil: it always takes effect
	Assertions    []struct {
		Assert            any
		AssertDescription string
	}
}

// Declaration is one entry of the Resources section.
type Declaration struct {
	Type                string
	Properties          map[string]any
	Metadata            map[string]any
	DependsOn           any // a name or a list of names
	Condition           string
	DeletionPolicy      any
	UpdateReplacePolicy any
}

// Output is one entry of the Outputs section.
type Output struct {
	Condition string
	Value     any
	Export    *struct{ Name any }
}

// document lists every section a template may have, so that an unknown one is refused.
type document struct {
	AWSTemplateFormatVersion string
	Template
}

// Parse reads a template in JSON. A section or a resource attribute that it doesn't know is an error.
func Parse(raw []byte) (*Template, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	var doc document
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("reading template: %w", err)
	}
	if len(doc.Resources) == 0 {
		return nil, fmt.Errorf("reading template: it declares no resources")
	}
	return &doc.Template, nil
}

func (d Declaration) dependsOn() ([]string, error) {
	switch v := d.DependsOn.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		var names []string
		for _, item := range v {
			name, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("DependsOn contains %v, which is not a name", item)
			}
			names = append(names, name)
		}
		return names, nil
	}
	return nil, fmt.Errorf("DependsOn is neither a name nor a list of names")
}

// checkPolicies refuses policies that aren't known here.
func (d Declaration) checkPolicies() error {
	for name, policy := range map[string]any{"DeletionPolicy": d.DeletionPolicy, "UpdateReplacePolicy": d.UpdateReplacePolicy} {
		switch policy {
		case nil, "Delete", retain:
		case retainExceptOnCreate:
			if name == "UpdateReplacePolicy" {
				return fmt.Errorf("%s can't be %s", name, policy)
			}
		default:
			return fmt.Errorf("%s %v is not known here", name, policy)
		}
	}
	return nil
}

// IsCustom reports whether a type is a custom resource, answered by a function of the template.
func IsCustom(typ string) bool {
	return strings.HasPrefix(typ, "Custom::")
}
