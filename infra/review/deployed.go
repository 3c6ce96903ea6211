package review

import (
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/stile-dev/stile/infra/schema"
)

// Deployed resolves every value as a deployment would, with the longest of what AWS chooses: the partition aws-us-gov
// and a Region of 14 characters, generated names with their suffixes, and of two values of Fn::If the one with a wildcard, else the longer. It is
// for what depends on the values: how long a policy is, and what its ARNs are of.
func (a *Account) Deployed(s *schema.Schemas) *Account {
	out := &Account{stacks: map[string]*template{}}
	for stack, t := range a.stacks {
		copied := *t
		copied.Resources = map[string]Resource{}
		for id, r := range t.Resources {
			d := deployment{a, s, stack}
			r.Properties, _ = d.value(r.Properties).(map[string]any)
			copied.Resources[id] = r
		}
		out.stacks[stack] = &copied
	}
	return out
}

// wider is the one of two values that has a wildcard, else the longer one.
func wider(yes, no any) any {
	a, b := fmt.Sprint(yes), fmt.Sprint(no)
	if x, y := strings.Contains(a, "*"), strings.Contains(b, "*"); x && !y || x == y && len(a) >= len(b) {
		return yes
	}
	return no
}

// chosen are the pseudo parameters.
var chosen = map[string]string{
	"AWS::AccountId": "111122223333", "AWS::Partition": "aws-us-gov", "AWS::Region": "ap-southeast-1", "AWS::URLSuffix": "amazonaws.com",
	"AWS::StackId": "arn:aws-us-gov:cloudformation:ap-southeast-1:111122223333:stack/" + generated("Stack", "") + "/" + uuid,
}

const uuid = "11111111-2222-3333-4444-555555555555"

// generated is a name that CloudFormation makes.
func generated(stack, id string) string { return stack + "-" + id + "-1A2B3C4D5E6F7" }

type deployment struct {
	account *Account
	schemas *schema.Schemas
	stack   string
}

func (d deployment) value(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = d.value(item)
		}
		return out
	case map[string]any:
		if len(v) == 1 {
			for name, arg := range v {
				if name == "Ref" || strings.HasPrefix(name, "Fn::") {
					return d.function(name, arg)
				}
			}
		}
		out := maps.Clone(v)
		for name, item := range v {
			out[name] = d.value(item)
		}
		return out
	}
	return v
}

func (d deployment) function(name string, arg any) any {
	parts, _ := arg.([]any)
	switch {
	case name == "Ref":
		return d.ref(arg.(string))
	case name == "Fn::GetAtt" && len(parts) == 2:
		return d.attribute(fmt.Sprint(parts[0]), fmt.Sprint(parts[1]))
	case name == "Fn::Sub" && parts == nil:
		return d.substitute(fmt.Sprint(arg))
	case name == "Fn::Join" && len(parts) == 2:
		return d.join(fmt.Sprint(parts[0]), d.value(parts[1]))
	case name == "Fn::If" && len(parts) == 3:
		return wider(d.value(parts[1]), d.value(parts[2]))
	case name == "Fn::GetStackOutput":
		return d.output(arg)
	}
	return "<" + name + ">"
}

func (d deployment) output(arg any) any {
	m, _ := arg.(map[string]any)
	stack, _ := m["StackName"].(string)
	name, _ := m["OutputName"].(string)
	if t := d.account.stacks[stack]; t != nil {
		return deployment{d.account, d.schemas, stack}.value(t.Outputs[name].Value)
	}
	return "<" + stack + "." + name + ">"
}

func (d deployment) join(by string, parts any) string {
	list, _ := parts.([]any)
	texts := make([]string, len(list))
	for i, part := range list {
		texts[i] = fmt.Sprint(part)
	}
	return strings.Join(texts, by)
}

var hole = regexp.MustCompile(`\$\{([^!}][^}]*)\}`)

func (d deployment) substitute(text string) string {
	return hole.ReplaceAllStringFunc(text, func(p string) string {
		name := p[2 : len(p)-1]
		if id, attribute, dotted := strings.Cut(name, "."); dotted {
			return fmt.Sprint(d.attribute(id, attribute))
		}
		return fmt.Sprint(d.ref(name))
	})
}

func (d deployment) ref(id string) any {
	if text, ok := chosen[id]; ok {
		return text
	}
	r, ok := d.account.stacks[d.stack].Resources[id]
	switch {
	case !ok:
		return strings.Repeat("p", 64) // a parameter
	case r.Type == "AWS::SNS::Topic":
		return d.arn(r)
	}
	return d.name(r)
}

func (d deployment) attribute(id, name string) any {
	r := d.account.stacks[d.stack].Resources[id]
	switch name {
	case "Arn", "TopicArn":
		return d.arn(r)
	case "StreamArn":
		return d.arn(r) + "/stream/2026-11-27T00:00:00.000"
	}
	return generated(d.stack, id+name)
}

// names are the properties that name a resource, by type; the others' are their types' names with Name behind.
var names = map[string]string{"AWS::Events::EventBus": "Name", "AWS::Events::Rule": "Name"}

func (d deployment) name(r Resource) string {
	property := names[r.Type]
	if property == "" {
		property = r.Type[strings.LastIndex(r.Type, ":")+1:] + "Name"
	}
	switch text := d.value(r.Properties[property]).(type) {
	case string:
		return text
	default:
		if r.Type == "AWS::KMS::Key" {
			return uuid
		}
		name := generated(r.Stack, r.ID)
		if r.Type == "AWS::S3::Bucket" {
			name = strings.ToLower(name)
		}
		return name
	}
}

func (d deployment) arn(r Resource) string {
	form := d.schemas.Resources[r.Type].ARN
	if form == "" {
		parts := strings.Split(strings.ToLower(r.Type), "::")
		form = "arn:${Partition}:" + parts[1] + ":${Region}:${Account}:" + parts[2] + "/${Name}"
	}
	text := hole.ReplaceAllStringFunc(form, func(p string) string {
		switch p {
		case "${Partition}", "${Region}":
			return chosen["AWS::"+p[2:len(p)-1]]
		case "${Account}":
			return chosen["AWS::AccountId"]
		}
		return d.name(r)
	})
	if r.Type == "AWS::Logs::LogGroup" {
		text += ":*" // as its attribute has it
	}
	return text
}
