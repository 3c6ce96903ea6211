package synth_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/infra/stack"
	"github.com/stile-dev/stile/infra/synth"
)

// first synthesises with a value of the context key, as `cdk deploy -c` gives it.
func first(t *testing.T, value any) (dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	return dir, synth.Run(dir, synth.Context{stack.FirstKey: value}, func(app awscdk.App) error { return stack.New(app, config(t)) })
}

func TestAFirstDeploymentLacksProtectionAndNothingElse(t *testing.T) {
	dir, err := first(t, "true")
	if err != nil {
		t.Fatal(err)
	}
	manifest := load(t, filepath.Join(dir, "manifest.json"))["artifacts"].(map[string]any)
	if p := manifest[stack.Data].(map[string]any)["properties"].(map[string]any)["terminationProtection"]; p == true {
		t.Error("StileData is protected before it has been created")
	}
	for _, name := range []string{stack.Data, stack.Control, stack.Audit, stack.Fleet} {
		want := load(t, filepath.Join(templates, name+".json"))
		for _, r := range want["Resources"].(map[string]any) {
			r := r.(map[string]any)
			unread(r)
			if r["Type"] == "AWS::DynamoDB::Table" {
				properties := r["Properties"].(map[string]any)
				if properties["DeletionProtectionEnabled"] != true {
					t.Error("a table of later deployments has no deletion protection")
				}
				properties["DeletionProtectionEnabled"] = false
			}
		}
		if diff := cmp.Diff(want, load(t, filepath.Join(dir, name+".template.json"))); diff != "" {
			t.Errorf("%s of a first deployment (-later +first):\n%s", name, diff)
		}
	}
}

// load reads a file of JSON.
func load(t *testing.T, path string) (v map[string]any) {
	t.Helper()
	parse(t, path, &v)
	return v
}

// unread takes away the digest of what a resource reads of other stacks.
func unread(r map[string]any) {
	metadata, _ := r["Metadata"].(map[string]any)
	delete(metadata, stack.Consumes)
	if len(metadata) == 0 {
		delete(r, "Metadata")
	}
}

func TestALaterDeploymentProtectsTheData(t *testing.T) {
	dir, err := first(t, "false")
	if err != nil {
		t.Fatal(err)
	}
	manifest := load(t, filepath.Join(dir, "manifest.json"))["artifacts"].(map[string]any)
	if p := manifest[stack.Data].(map[string]any)["properties"].(map[string]any)["terminationProtection"]; p != true {
		t.Error("StileData is not protected")
	}
	if _, err := first(t, "yes"); err == nil || !strings.Contains(err.Error(), "stile:first is yes: say stile:first=true") {
		t.Errorf("a value that is neither true nor false: %v", err)
	}
}
