package synth_test

import (
	"bytes"
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

// The committed templates: as for a new cluster, and with the settings in changed/context.json.
const (
	templates = "../templates"
	changed   = "../templates/changed"
)

func config(t *testing.T) stack.Config {
	t.Helper()
	api, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return stack.Config{API: api, Code: code.Named, Program: code.Placed}
}

// A stage serves the snapshot that a deployment made of the API, so whatever changes in the API's body needs another one.
func TestAChangedAPIIsDeployed(t *testing.T) {
	deployment := func(c stack.Config) (id string) {
		t.Helper()
		all, err := synth.Templates(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, r := range read(t, all[stack.Control]).Resources {
			if r.Type == "AWS::ApiGateway::Deployment" {
				id += name
			}
		}
		return id
	}
	before := deployment(config(t))
	for name, change := range map[string][2]string{
		"a route's function": {"operationId: hostStatus\n      tags: [api]", "operationId: hostStatus\n      tags: [admin]"},
		"a route's path":     {"  /v1/host/status:", "  /v1/host/state:"},
	} {
		c := config(t)
		if c.API = bytes.Replace(c.API, []byte(change[0]), []byte(change[1]), 1); bytes.Equal(c.API, config(t).API) {
			t.Fatalf("%s: the document doesn't have %q", name, change[0])
		}
		if after := deployment(c); after == before || after == "" {
			t.Errorf("%s: the deployment stays %s", name, after)
		}
	}
	if after := deployment(config(t)); after != before {
		t.Errorf("the same API is deployed again: %s after %s", after, before)
	}
}

func TestTheCommittedTemplatesAreWhatTheAppDeclares(t *testing.T) {
	for dir, context := range map[string]synth.Context{templates: nil, changed: changedContext(t)} {
		got, err := synth.Templates(config(t), context)
		if err != nil {
			t.Fatal(err)
		}
		for name, raw := range got {
			compare(t, filepath.Join(dir, name+".json"), raw)
		}
	}
}

func compare(t *testing.T, path string, raw []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(raw)); diff != "" {
		t.Errorf("%s is not what the app declares (-committed +declared); run make synth and review the change\n%s", path, diff)
	}
}

func TestTheBundledValidatorFailsTheSynthesisOfABadTemplate(t *testing.T) {
	dir := t.TempDir()
	err := synth.Run(dir, nil, func(app awscdk.App) error {
		s := awscdk.NewStack(app, new("Bad"), nil)
		awscdk.NewCfnResource(s, new("Table"), &awscdk.CfnResourceProps{
			Type:       new("AWS::DynamoDB::Table"),
			Properties: &map[string]any{"BillingMode": "PAY_PER_REQUEST", "KeySchema": []any{}},
		})
		return nil
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
