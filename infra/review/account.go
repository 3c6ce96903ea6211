// Package review reads the synthesised templates as one account's worth of policies, and says in a table who may
// do what, so that a change shows in review as a line. It reads only JSON: it must not know the CDK, nor
// how the stacks are declared. Its entry points are [Read] and [Account.Table].
package review

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Account is what the templates declare together.
type Account struct {
	stacks map[string]*template
}

type template struct {
	Parameters map[string]any
	Resources  map[string]Resource
	Outputs    map[string]struct{ Value any }
}

// Resource is one resource of a template, its intrinsic functions as they were written.
type Resource struct {
	Stack, ID           string `json:"-"`
	Type                string
	Properties          map[string]any
	DependsOn           any // an id, several, or nil
	Metadata            map[string]any
	DeletionPolicy      string
	UpdateReplacePolicy string
}

// Read parses templates by stack name.
func Read(raw map[string][]byte) (*Account, error) {
	a := &Account{stacks: map[string]*template{}}
	for name, text := range raw {
		t := &template{}
		if err := json.Unmarshal(text, t); err != nil {
			return nil, fmt.Errorf("reading template %s: %w", name, err)
		}
		for id, r := range t.Resources {
			r.Stack, r.ID = name, id
			t.Resources[id] = r
		}
		a.stacks[name] = t
	}
	return a, nil
}

// Resources lists the resources of some types, of all without any, by stack and logical id.
func (a *Account) Resources(types ...string) []Resource {
	var out []Resource
	for _, stack := range slices.Sorted(maps.Keys(a.stacks)) {
		for _, id := range slices.Sorted(maps.Keys(a.stacks[stack].Resources)) {
			if r := a.stacks[stack].Resources[id]; len(types) == 0 || slices.Contains(types, r.Type) {
				out = append(out, r)
			}
		}
	}
	return out
}

// Parameter reports whether some template has a parameter whose name contains a word.
func (a *Account) Parameter(word string) bool {
	for _, t := range a.stacks {
		for name := range t.Parameters {
			if strings.Contains(name, word) {
				return true
			}
		}
	}
	return false
}

// HasOutput reports whether a stack has an output of that name.
func (a *Account) HasOutput(stack, name string) bool {
	t := a.stacks[stack]
	if t == nil {
		return false
	}
	_, ok := t.Outputs[name]
	return ok
}

// Text resolves a value of a resource as far as can be known before a deployment: what AWS chooses is in
// angle brackets, as <account> and <TableState>.
func (a *Account) Text(r Resource, value any) string { return a.text(r.Stack, value) }

func (a *Account) text(stack string, value any) string {
	switch v := value.(type) {
	case string:
		return v
	case map[string]any:
		for name, arg := range v {
			return a.intrinsic(stack, name, arg)
		}
	case nil:
		return ""
	}
	return fmt.Sprint(value)
}

func (a *Account) intrinsic(stack, name string, arg any) string {
	switch name {
	case "Ref":
		return ref(arg.(string))
	case "Fn::GetAtt":
		parts := arg.([]any)
		return a.attribute(stack, parts[0].(string), parts[1].(string))
	case "Fn::GetStackOutput":
		return a.output(arg.(map[string]any))
	case "Fn::Join":
		var parts []string
		for _, part := range arg.([]any)[1].([]any) {
			parts = append(parts, a.text(stack, part))
		}
		return strings.Join(parts, arg.([]any)[0].(string))
	case "Fn::If":
		parts := arg.([]any)
		return a.text(stack, parts[2]) + ", or if " + parts[0].(string) + " " + a.text(stack, parts[1])
	case "Fn::Sub":
		return a.substitute(stack, arg.(string))
	}
	return "<" + name + ">"
}

// output is the value of another stack's output.
func (a *Account) output(of map[string]any) string {
	stack, _ := of["StackName"].(string)
	name, _ := of["OutputName"].(string)
	if t := a.stacks[stack]; t != nil {
		if out, ok := t.Outputs[name]; ok && len(of) == 2 {
			return a.text(stack, out.Value)
		}
	}
	return fmt.Sprintf("<no output %s of %s>", name, stack)
}

func (a *Account) substitute(stack, text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		if id, attribute, dotted := strings.Cut(name, "."); dotted {
			b.WriteString(a.attribute(stack, id, attribute))
		} else {
			b.WriteString(ref(name))
		}
		text = after
	}
}

var pseudo = map[string]string{
	"AWS::AccountId": "<account>", "AWS::Partition": "<partition>", "AWS::Region": "<region>", "AWS::URLSuffix": "<suffix>",
}

func ref(id string) string {
	if text, ok := pseudo[id]; ok {
		return text
	}
	return "<" + id + ">"
}

// attribute spells the ARNs that other templates construct by name; every other one stands for its resource.
func (a *Account) attribute(stack, id, name string) string {
	r := a.stacks[stack].Resources[id]
	switch {
	case name == "Arn" && r.Type == "AWS::IAM::Role":
		return "arn:<partition>:iam::<account>:role/" + a.text(stack, r.Properties["RoleName"])
	case name == "Arn" && r.Type == "AWS::Lambda::Function":
		return "arn:<partition>:lambda:<region>:<account>:function:" + a.text(stack, r.Properties["FunctionName"])
	case name == "Arn" && r.Type == "AWS::Logs::LogGroup":
		return a.text(stack, r.Properties["LogGroupName"])
	case name == "Arn" || name == "StreamArn":
		return "<" + id + strings.TrimSuffix(strings.TrimPrefix(name, "Arn"), "Arn") + ">"
	}
	return "<" + id + "." + name + ">"
}

// Types lists stack, type and properties that the templates use, one line each, sorted.
func (a *Account) Types() string {
	used := map[string]map[string]bool{}
	for _, r := range a.Resources() {
		name := r.Stack + " " + r.Type
		if used[name] == nil {
			used[name] = map[string]bool{}
		}
		for property := range r.Properties {
			used[name][property] = true
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(used)) {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(slices.Sorted(maps.Keys(used[name])), " "))
	}
	return b.String()
}
