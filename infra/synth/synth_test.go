package synth_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
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

// TestSec_S93_ADeploymentNamesTheDigestOfWhatItUploads: the file that stands among the assets is the one whose digest the
// function is told.
func TestSec_S93_ADeploymentNamesTheDigestOfWhatItUploads(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{"go.mod": "module example.com/m\n\ngo 1.26\n", "proxy/main.go": "package main\n\nfunc main() {}\n", "agent/main.go": "package main\n\nfunc main() {}\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := code.Build(t.Context(), root, nil, stack.Programs())
	if err != nil {
		t.Fatal(err)
	}
	cfg, dir := config(t), t.TempDir()
	cfg.Program = files.Program
	if err := synth.Deploy(dir, cfg); err != nil {
		t.Fatal(err)
	}
	var declared struct {
		Resources struct {
			Image struct{ Properties struct{ Key, Sha256 string } }
		}
	}
	var assets struct {
		Files map[string]struct {
			Source       struct{ Path string }
			Destinations map[string]struct{ ObjectKey string }
		}
	}
	for name, into := range map[string]any{".template.json": &declared, ".assets.json": &assets} {
		raw, err := os.ReadFile(filepath.Join(dir, stack.Fleet+name))
		if err == nil {
			err = json.Unmarshal(raw, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	told, uploaded := declared.Resources.Image.Properties, 0
	for _, f := range assets.Files {
		for _, to := range f.Destinations {
			if to.ObjectKey != told.Key {
				continue
			}
			uploaded++
			content, err := os.ReadFile(filepath.Join(dir, f.Source.Path))
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(content)); told.Sha256 != got {
				t.Errorf("the function is told %q, and what is uploaded has %s", told.Sha256, got)
			}
		}
	}
	if uploaded != 1 {
		t.Errorf("%d files are uploaded to %q", uploaded, told.Key)
	}
}
