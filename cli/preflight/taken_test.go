package preflight_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/cli/preflight"
)

type template struct {
	Parameters map[string]struct{ Default any }
	Conditions map[string]any
	Resources  map[string]struct {
		Type, Condition string
		Properties      map[string]any
	}
}

// templates are those that are committed, by stack.
func templates(t *testing.T) map[string]template {
	t.Helper()
	out := map[string]template{}
	for _, stack := range preflight.Stacks {
		raw, err := os.ReadFile("../../infra/templates/" + stack + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var read template
		if err := json.Unmarshal(raw, &read); err != nil {
			t.Fatal(err)
		}
		out[stack] = read
	}
	return out
}

// Every name that the templates fix, of the kinds that are looked for, is looked for as that stack's.
func TestTheNamesAreThoseOfTheTemplates(t *testing.T) {
	kinds := map[string]string{
		"AWS::Lambda::Function": "FunctionName", "AWS::IAM::Role": "RoleName", "AWS::KMS::Alias": "AliasName", "AWS::Logs::LogGroup": "LogGroupName",
	}
	var fixed []string
	for stack, template := range templates(t) {
		for id, r := range template.Resources {
			property, counts := kinds[r.Type]
			if !counts {
				continue
			}
			name, plain := r.Properties[property].(string)
			if sub, ok := r.Properties[property].(map[string]any); ok {
				name, plain = sub["Fn::Sub"].(string)
			}
			if !plain {
				t.Errorf("%s.%s has no name that can be read: %v", stack, id, r.Properties[property])
			}
			fixed = append(fixed, stack+" "+strings.ReplaceAll(name, "${AWS::Region}", "eu-central-1"))
		}
	}
	looked := preflight.Names("eu-central-1")
	slices.Sort(fixed)
	slices.Sort(looked)
	if !slices.Equal(fixed, looked) {
		t.Errorf("the templates fix\n%s\nand preflight looks for\n%s", strings.Join(fixed, "\n"), strings.Join(looked, "\n"))
	}
}

// holds evaluates a condition as it is when no parameter is given.
func (d template) holds(t *testing.T, expression any) bool {
	t.Helper()
	for function, given := range expression.(map[string]any) {
		arguments, _ := given.([]any)
		switch function {
		case "Fn::Not":
			return !d.holds(t, arguments[0])
		case "Fn::Equals":
			of, _ := arguments[0].(map[string]any)
			parameter, _ := of["Ref"].(string)
			return d.Parameters[parameter].Default == arguments[1]
		}
	}
	t.Fatalf("this condition can't be evaluated here: %v", expression)
	return false
}

// What makes each type of resource is asked about, and what only a parameter asks for is known as such.
func TestEveryTypeOfTheTemplatesHasTheActionsThatMakeIt(t *testing.T) {
	made, asked := map[string]bool{}, map[string]bool{}
	for stack, template := range templates(t) {
		for id, r := range template.Resources {
			if len(preflight.Making[r.Type]) == 0 {
				t.Errorf("%s.%s is a %s, and it isn't known which actions make one: add a row to making", stack, id, r.Type)
			}
			asked[r.Type] = true
			if r.Condition == "" || template.holds(t, template.Conditions[r.Condition]) {
				made[r.Type] = true
			}
		}
	}
	for kind := range preflight.Making {
		if !asked[kind] {
			t.Errorf("no stack has a %s", kind)
		}
		if _, parameter := preflight.Asked[kind]; parameter == made[kind] {
			t.Errorf("%s: a deployment without parameters makes one: %v; it is asked for by %q", kind, made[kind], preflight.Asked[kind])
		}
	}
}

// unlisted are services whose actions infra/schema doesn't have, since no policy of a template names them.
var unlisted = strings.Fields("apigateway cloudwatch ec2 ecs elasticloadbalancing events iam wafv2")

// An action that AWS doesn't know is allowed or denied to nobody.
func TestTheActionsAreAWSs(t *testing.T) {
	raw, err := os.ReadFile("../../infra/schema/actions.json")
	if err != nil {
		t.Fatal(err)
	}
	var known struct {
		Services map[string]struct{ Actions map[string]any }
	}
	if err := json.Unmarshal(raw, &known); err != nil {
		t.Fatal(err)
	}
	for kind, actions := range preflight.Making {
		for _, action := range actions {
			service, name, _ := strings.Cut(action, ":")
			list, listed := known.Services[service]
			if !listed && !slices.Contains(unlisted, service) {
				t.Errorf("%s: no list of %s's actions", kind, service)
			}
			if _, ok := list.Actions[name]; listed && !ok {
				t.Errorf("%s: %s has no action %s", kind, service, name)
			}
		}
	}
}
