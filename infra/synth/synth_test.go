package synth_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/infra/code"
	"github.com/stile-dev/stile/infra/stack"
	"github.com/stile-dev/stile/infra/synth"
)

var update = flag.Bool("update", false, "write what was synthesised to ../templates")

// TestMain ends the CDK's Node process, which leaves files behind otherwise.
func TestMain(m *testing.M) {
	flag.Parse()
	failed := m.Run()
	jsii.Close()
	os.Exit(failed)
}

const templates = "../templates"

func TestTheCommittedTemplatesAreWhatTheAppDeclares(t *testing.T) {
	api, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := synth.Templates(stack.Config{API: api, Code: code.Named, Program: code.Placed})
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range got {
		path := filepath.Join(templates, name+".json")
		if *update {
			if err := os.WriteFile(path, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(raw)); diff != "" {
			t.Errorf("%s is not what the app declares (-committed +declared); run make synth and review the change\n%s", path, diff)
		}
	}
}

func TestTheBundledValidatorFailsTheSynthesisOfABadTemplate(t *testing.T) {
	dir := t.TempDir()
	err := synth.Run(dir, func(app awscdk.App) {
		s := awscdk.NewStack(app, new("Bad"), nil)
		awscdk.NewCfnResource(s, new("Table"), &awscdk.CfnResourceProps{
			Type:       new("AWS::DynamoDB::Table"),
			Properties: &map[string]any{"BillingMode": "PAY_PER_REQUEST", "KeySchema": []any{}},
		})
	})
	if err == nil || !strings.Contains(err.Error(), "Validation failed") {
		t.Fatalf("the synthesis gave %v, want a validation failure", err)
	}
	report, err := os.ReadFile(filepath.Join(dir, "validation-report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(report), "KeySchema") {
		t.Errorf("the report doesn't name KeySchema, which is empty:\n%s", report)
	}
}
