package preflight_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/cli/preflight"
)

// Every name that the templates fix, of the kinds that are looked for, is looked for.
func TestTheNamesAreThoseOfTheTemplates(t *testing.T) {
	kinds := map[string]string{
		"AWS::Lambda::Function": "FunctionName", "AWS::IAM::Role": "RoleName", "AWS::KMS::Alias": "AliasName", "AWS::Logs::LogGroup": "LogGroupName",
	}
	var fixed []string
	for _, stack := range preflight.Stacks {
		raw, err := os.ReadFile("../../infra/templates/" + stack + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var template struct {
			Resources map[string]struct {
				Type       string
				Properties map[string]any
			}
		}
		if err := json.Unmarshal(raw, &template); err != nil {
			t.Fatal(err)
		}
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
			fixed = append(fixed, strings.ReplaceAll(name, "${AWS::Region}", "eu-central-1"))
		}
	}
	looked := preflight.Names("eu-central-1")
	slices.Sort(fixed)
	slices.Sort(looked)
	if !slices.Equal(slices.Compact(fixed), looked) {
		t.Errorf("the templates fix\n%s\nand preflight looks for\n%s", strings.Join(fixed, " "), strings.Join(looked, " "))
	}
}
