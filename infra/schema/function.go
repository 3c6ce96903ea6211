package schema

import (
	"regexp"
	"strings"
)

// intrinsic takes an intrinsic function apart.
func intrinsic(v any) (name string, arg any, ok bool) {
	m, isMap := v.(map[string]any)
	if !isMap || len(m) != 1 {
		return "", nil, false
	}
	for name, arg = range m {
		ok = name == "Ref" || strings.HasPrefix(name, "Fn::")
	}
	return name, arg, ok
}

// noValue is what makes a property absent.
const noValue = "AWS::NoValue"

// pseudo are the pseudo parameters.
var pseudo = map[string]Type{
	"AWS::AccountId": {Is: String}, "AWS::Partition": {Is: String}, "AWS::Region": {Is: String}, "AWS::StackId": {Is: String},
	"AWS::StackName": {Is: String}, "AWS::URLSuffix": {Is: String}, "AWS::NotificationARNs": {Is: List, Of: &Type{Is: String}},
}

// mayBeAbsent reports whether the value is, or can be, AWS::NoValue.
func (c *checker) mayBeAbsent(v any) bool {
	name, arg, ok := intrinsic(v)
	parts, _ := arg.([]any)
	switch {
	case !ok:
		return false
	case name == "Ref":
		return arg == noValue
	case name == "Fn::If" && len(parts) == 3:
		return c.mayBeAbsent(parts[1]) || c.mayBeAbsent(parts[2])
	}
	return false
}

var (
	text  = Type{Is: String}
	texts = Type{Is: List, Of: &text}
)

// function checks an intrinsic function: its arguments, and whether what it gives is what is wanted.
func (c *checker) function(at, name string, arg any, want Type) {
	got := text
	parts, _ := arg.([]any)
	switch name {
	case "Ref":
		if arg == noValue {
			return
		}
		got = c.ref(at, arg)
	case "Fn::GetAtt":
		got = c.attribute(at, arg)
	case "Fn::Sub":
		c.substitute(at, arg)
	case "Fn::ImportValue":
		c.imported(at, arg)
	case "Fn::GetStackOutput":
		c.stackOutput(at, arg)
	case "Fn::If":
		c.choice(at, parts, want)
		return
	case "Fn::Join":
		c.arguments(at+".Fn::Join", parts, text, texts)
	case "Fn::Select":
		c.arguments(at+".Fn::Select", parts, Type{Is: Either, Types: []Type{text, {Is: Integer}}}, texts)
	case "Fn::Split":
		c.arguments(at+".Fn::Split", parts, text, text)
		got = texts
	case "Fn::GetAZs":
		c.value(at+".Fn::GetAZs", arg, text)
		got = texts
	case "Fn::Cidr":
		c.anything(at, arg)
		got = texts
	case "Fn::Base64":
		c.value(at+".Fn::Base64", arg, text)
	default:
		c.fault(at, "the function %s is not known here", name)
		return
	}
	if got.Is != "" && !gives(got, want) {
		c.fault(at, "%s gives %s where %s is wanted", name, got.Is, want.Is)
	}
}

func (c *checker) arguments(at string, got []any, want ...Type) {
	if len(got) != len(want) {
		c.fault(at, "it takes %d arguments", len(want))
		return
	}
	for i, t := range want {
		c.value(at, got[i], t)
	}
}

// ref is what Ref gives; a type without a kind stands for what can't be said.
func (c *checker) ref(at string, arg any) Type {
	name, _ := arg.(string)
	if t, ok := pseudo[name]; ok {
		return t
	}
	if p, ok := c.here.Parameters[name]; ok {
		c.used[name] = true
		return parameterTypes[p.Type]
	}
	c.target(at, name)
	return text
}

// target looks a resource up, and demands that it exists whenever what refers to it does.
func (c *checker) target(at, id string) (declaration, bool) {
	r, ok := c.here.Resources[id]
	switch {
	case !ok:
		c.fault(at, "there is no %q to refer to", id)
	case r.Condition != "" && !c.given[r.Condition]:
		c.fault(at, "%s exists only if %s, and nothing says so here", id, r.Condition)
	}
	return r, ok
}

// attribute is what Fn::GetAtt gives, whose argument is [id, name] or id.name.
func (c *checker) attribute(at string, arg any) Type {
	id, name := "", ""
	switch v := arg.(type) {
	case string:
		id, name, _ = strings.Cut(v, ".")
	case []any:
		if len(v) == 2 {
			id, _ = v[0].(string)
			name, _ = v[1].(string)
		}
	}
	r, ok := c.target(at, id)
	if !ok || strings.HasPrefix(r.Type, "Custom::") {
		return Type{} // what a custom resource answers is its function's to say
	}
	t, ok := c.schemas.Resources[r.Type].Attributes[name]
	if !ok {
		c.fault(at, "%s, of type %s, has no attribute %q", id, r.Type, name)
	}
	return t
}

var placeholder = regexp.MustCompile(`\$\{([^!}][^}]*)\}`)

func (c *checker) substitute(at string, arg any) {
	form, ok := arg.(string)
	var own map[string]any
	if parts, _ := arg.([]any); len(parts) == 2 {
		form, ok = parts[0].(string)
		own, _ = parts[1].(map[string]any)
	}
	if !ok {
		c.fault(at, "Fn::Sub takes a text, or a text and its variables")
		return
	}
	for _, v := range own {
		c.value(at, v, text)
	}
	for _, m := range placeholder.FindAllStringSubmatch(form, -1) {
		if _, local := own[m[1]]; local {
			continue
		}
		give := c.ref
		if strings.Contains(m[1], ".") {
			give = c.attribute
		}
		if got := give(at, m[1]); got.Is != "" && !gives(got, text) {
			c.fault(at, "${%s} is %s where string is wanted", m[1], got.Is)
		}
	}
}

func (c *checker) choice(at string, parts []any, want Type) {
	if len(parts) != 3 {
		c.fault(at, "Fn::If takes a condition and two values")
		return
	}
	name, _ := parts[0].(string)
	done := c.under(name, at)
	c.value(at, parts[1], want)
	done()
	c.value(at, parts[2], want)
	if name == "" {
		c.fault(at, "Fn::If takes the name of a condition")
	}
}

// imported: another stack exports the value under that name.
func (c *checker) imported(at string, arg any) {
	for stack, t := range c.templates {
		for _, out := range t.Outputs {
			if stack != c.stack && out.Export != nil && out.Export.Name == arg {
				return
			}
		}
	}
	c.fault(at, "no other stack exports %v", arg)
}

// stackOutput: the stack that is named has the output that is named.
func (c *checker) stackOutput(at string, arg any) {
	m, _ := arg.(map[string]any)
	stack, _ := m["StackName"].(string)
	name, _ := m["OutputName"].(string)
	for key := range m {
		if key != "StackName" && key != "OutputName" {
			c.fault(at, "Fn::GetStackOutput with %s is not known here", key)
		}
	}
	t, ok := c.templates[stack]
	if !ok || stack == c.stack {
		c.fault(at, "there is no other stack %q", stack)
		return
	}
	if _, ok := t.Outputs[name]; !ok {
		c.fault(at, "%s has no output %q", stack, name)
	}
}

// boolean checks a condition's expression.
func (c *checker) boolean(at string, v any) {
	m, _ := v.(map[string]any)
	for name, arg := range m {
		parts, _ := arg.([]any)
		switch {
		case len(m) != 1:
		case name == "Condition":
			c.condition(at, arg)
			return
		case name == "Fn::Equals" && len(parts) == 2:
			c.value(at, parts[0], text)
			c.value(at, parts[1], text)
			return
		case name == "Fn::Not" && len(parts) == 1, (name == "Fn::And" || name == "Fn::Or") && len(parts) >= 2 && len(parts) <= 10:
			for _, part := range parts {
				c.boolean(at, part)
			}
			return
		}
	}
	c.fault(at, "%s is not a condition", shown(v))
}
