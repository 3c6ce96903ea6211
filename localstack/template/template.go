// Package template reads CloudFormation templates: it resolves their parameters, conditions and intrinsic
// functions, finds the order of their resources, and hands each one to the provider of its type.
//
// It must not know any service: what a type means is up to the [resource.Provider] that names it.
// Its entry points are [Parse] for the document and [Deployer] for a whole stack.
package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Template is one CloudFormation document as it was written, nothing resolved.
type Template struct {
	Description string
	Metadata    map[string]any
	Parameters  map[string]Parameter
	Mappings    map[string]map[string]map[string]any
	Conditions  map[string]any
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
	MinLength, MaxLength  any
	MinValue, MaxValue    any
	NoEcho                any
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
	UpdatePolicy        any
	CreationPolicy      any
}

// Output is one entry of the Outputs section.
type Output struct {
	Description string
	Condition   string
	Value       any
	Export      *struct{ Name any }
}

// document lists every section a template may have, so that an unknown one is refused.
type document struct {
	AWSTemplateFormatVersion string
	Rules                    map[string]any
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
	for name := range doc.Rules {
		if name != "CheckBootstrapVersion" {
			return nil, fmt.Errorf("reading template: rule %s is not supported; only the CDK's own CheckBootstrapVersion is", name)
		}
	}
	if len(doc.Resources) == 0 {
		return nil, fmt.Errorf("reading template: it declares no resources")
	}
	return &doc.Template, nil
}

// StackName is what the template says its stack is called (Metadata "stile:stack"), else fallback.
func (t *Template) StackName(fallback string) string {
	if name, ok := t.Metadata["stile:stack"].(string); ok && name != "" {
		return name
	}
	return fallback
}

// Types lists the resource types that the template declares, sorted, each once.
func (t *Template) Types() []string {
	set := map[string]bool{}
	for _, d := range t.Resources {
		set[d.Type] = true
	}
	return slices.Sorted(maps.Keys(set))
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

// IsCustom reports whether a type is a custom resource, answered by a function of the template.
func IsCustom(typ string) bool {
	return typ == "AWS::CloudFormation::CustomResource" || strings.HasPrefix(typ, "Custom::")
}
