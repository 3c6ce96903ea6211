package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// template is a template's sections, of those that are used here: any other is refused.
type template struct {
	AWSTemplateFormatVersion, Description string

	Parameters map[string]parameter
	Conditions map[string]any
	Rules      map[string]rule
	Resources  map[string]declaration
	Outputs    map[string]output
}

// parameter, declaration and output list what may be in an entry of their section.
type parameter struct {
	Type, Description, AllowedPattern, ConstraintDescription string
	Default                                                  any
	AllowedValues                                            []any
	MinLength, MaxLength, MinValue, MaxValue                 any
	NoEcho                                                   bool
}

type declaration struct {
	Type, Condition                     string
	DeletionPolicy, UpdateReplacePolicy string
	Properties, Metadata                map[string]any
	CreationPolicy, UpdatePolicy        map[string]any
	DependsOn                           any
}

type output struct {
	Description, Condition string
	Value                  any
	Export                 *struct{ Name any }
}

// checker collects what is wrong.
type checker struct {
	schemas   *Schemas
	templates map[string]*template
	found     []string

	stack string
	here  *template
	used  map[string]bool // names of parameters and conditions
	given map[string]bool // conditions that hold where the checker is
}

// Check says what is wrong with the templates, by stack name, each finding as <stack>.<id>.<path>: <what>, sorted. They are
// taken together: an output that one reads must stand in another.
//
// It is stricter than CloudFormation: which converts between strings, numbers and booleans, and allows parameters and
// conditions that nothing uses.
func (s *Schemas) Check(raw map[string][]byte) []string {
	c := &checker{schemas: s, templates: map[string]*template{}}
	for stack, text := range raw {
		t := &template{}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(t); err != nil {
			c.found = append(c.found, stack+": "+err.Error())
			continue
		}
		c.templates[stack] = t
	}
	for stack, t := range c.templates {
		c.stack, c.here, c.used, c.given = stack, t, map[string]bool{}, map[string]bool{}
		c.template()
	}
	slices.Sort(c.found)
	return slices.Compact(c.found)
}

func (c *checker) fault(at, format string, args ...any) {
	c.found = append(c.found, c.stack+"."+at+": "+fmt.Sprintf(format, args...))
}

func (c *checker) template() {
	for name, condition := range c.here.Conditions {
		c.boolean("Conditions."+name, condition)
	}
	for name, rule := range c.here.Rules {
		c.rule("Rules."+name, rule)
	}
	for id, r := range c.here.Resources {
		c.resource(id, r)
	}
	for name, out := range c.here.Outputs {
		c.output("Outputs."+name, out)
	}
	for name, p := range c.here.Parameters {
		c.parameter(name, p)
	}
	for name := range c.here.Conditions {
		if !c.used[name] {
			c.fault("Conditions."+name, "nothing uses it")
		}
	}
}

// rule is what must hold of the parameters before anything is made.
type rule struct {
	RuleCondition any
	Assertions    []struct {
		Assert            any
		AssertDescription string
	}
}

func (c *checker) rule(at string, r rule) {
	if r.RuleCondition != nil {
		c.boolean(at+".RuleCondition", r.RuleCondition)
	}
	if len(r.Assertions) == 0 {
		c.fault(at, "it asserts nothing")
	}
	for i, a := range r.Assertions {
		c.boolean(fmt.Sprintf("%s.Assertions.%d", at, i), a.Assert)
		if a.AssertDescription == "" {
			c.fault(at, "assertion %d has no description", i)
		}
	}
}

// parameterTypes are those of the types of parameters that are used here, and what Ref gives for each.
var parameterTypes = map[string]Type{
	"String": {Is: String}, "Number": {Is: Number},
	"CommaDelimitedList": {Is: List, Of: &Type{Is: String}}, "List<AWS::EC2::Subnet::Id>": {Is: List, Of: &Type{Is: String}},
	"AWS::EC2::VPC::Id": {Is: String}, "AWS::SSM::Parameter::Value<String>": {Is: String},
}

func (c *checker) parameter(name string, p parameter) {
	at := "Parameters." + name
	if _, ok := parameterTypes[p.Type]; !ok {
		c.fault(at, "the type %q is not known here", p.Type)
	}
	if !c.used[name] {
		c.fault(at, "nothing uses it")
	}
	if p.Default != nil && p.AllowedValues != nil && !slices.Contains(p.AllowedValues, p.Default) {
		c.fault(at, "the default %v is not among the allowed values", p.Default)
	}
}

func (c *checker) output(at string, out output) {
	done := c.under(out.Condition, at)
	defer done()
	if out.Value == nil {
		c.fault(at, "Value is missing")
		return
	}
	c.value(at+".Value", out.Value, Type{Is: String})
	if out.Export != nil {
		c.value(at+".Export.Name", out.Export.Name, Type{Is: String})
	}
}

func (c *checker) resource(id string, r declaration) {
	done := c.under(r.Condition, id)
	defer done()
	for name, policy := range map[string]string{"DeletionPolicy": r.DeletionPolicy, "UpdateReplacePolicy": r.UpdateReplacePolicy} {
		allowed := []string{"", "Delete", "Retain", "Snapshot"}
		if name == "DeletionPolicy" {
			allowed = append(allowed, "RetainExceptOnCreate")
		}
		if !slices.Contains(allowed, policy) {
			c.fault(id, "%s %q is not known", name, policy)
		}
	}
	for _, on := range c.dependsOn(id, r.DependsOn) {
		if _, ok := c.here.Resources[on]; !ok || on == id {
			c.fault(id+".DependsOn", "there is no other resource %s", on)
		}
	}
	if strings.HasPrefix(r.Type, "Custom::") {
		c.custom(id, r)
		return
	}
	known, ok := c.schemas.Resources[r.Type]
	if !ok {
		c.fault(id, "there is no schema of %s here; %s", r.Type, Refresh)
		return
	}
	c.object(id, r.Properties, known.Properties)
}

// custom: a custom resource is answered by a function, whose ARN it names, and waits as long as it says.
func (c *checker) custom(id string, r declaration) {
	if r.Properties["ServiceToken"] == nil {
		c.fault(id, "ServiceToken is missing")
	}
	for name, v := range r.Properties {
		c.value(id+"."+name, v, Type{Is: JSON})
	}
}

func (c *checker) dependsOn(id string, value any) []string {
	switch v := value.(type) {
	case nil:
		return nil
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, item := range v {
			name, ok := item.(string)
			if !ok {
				c.fault(id+".DependsOn", "%v is not a name", item)
			}
			out = append(out, name)
		}
		return out
	}
	c.fault(id+".DependsOn", "%v is neither a name nor a list of names", value)
	return nil
}

// under takes a condition for given until the function that it returns is called.
func (c *checker) under(name, at string) func() {
	if name == "" {
		return func() {}
	}
	c.condition(at, name)
	before := c.given
	c.given = maps.Clone(before)
	c.given[name] = true
	return func() { c.given = before }
}

func (c *checker) condition(at string, name any) {
	text, _ := name.(string)
	c.used[text] = true
	if _, ok := c.here.Conditions[text]; !ok {
		c.fault(at, "there is no condition %v", name)
	}
}
