package synth_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/infra/stack"
	"github.com/stile-dev/stile/infra/synth"
)

// finding is a line of cdk-nag's report.
type finding struct {
	Rule       string `json:"ruleId"`
	Resource   string `json:"resourceId"`
	Compliance string
	Info       string `json:"ruleInfo"`
}

// nag synthesises with cdk-nag's AwsSolutions pack and returns its findings, and the reasons in the templates' metadata
// as resource and rule.
func nag(t *testing.T, declare func(awscdk.App) error) (findings []finding, reasons map[string]string) {
	t.Helper()
	dir := t.TempDir()
	err := synth.Run(dir, nil, func(app awscdk.App) error {
		err := declare(app)
		awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{
			Reports: new(true), ReportFormats: &[]cdknag.NagReportFormat{cdknag.NagReportFormat_JSON},
		}), nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	reasons = map[string]string{}
	templates, _ := filepath.Glob(filepath.Join(dir, "*.template.json"))
	for _, path := range templates {
		name := strings.TrimSuffix(filepath.Base(path), ".template.json")
		var report struct{ Lines []finding }
		parse(t, filepath.Join(dir, "AwsSolutions-"+name+"-NagReport.json"), &report)
		findings = append(findings, report.Lines...)
		collect(t, path, name, reasons)
	}
	return findings, reasons
}

func collect(t *testing.T, path, stack string, reasons map[string]string) {
	t.Helper()
	var template struct {
		Resources map[string]struct {
			Metadata struct {
				Nag struct {
					Rules []struct{ ID, Reason string } `json:"rules_to_suppress"`
				} `json:"cdk_nag"`
			}
		}
	}
	parse(t, path, &template)
	for id, r := range template.Resources {
		for _, rule := range r.Metadata.Nag.Rules {
			reasons[stack+"/"+id+" "+rule.ID] = rule.Reason
		}
	}
}

func parse(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestWhatCDKNagFindsHasItsReasonAndNothingElseHas(t *testing.T) {
	findings, reasons := nag(t, func(app awscdk.App) error { return stack.New(app, config(t)) })
	if len(findings) < 50 {
		t.Fatalf("only %d findings and compliances", len(findings))
	}
	idle := map[string]string{}
	for key, reason := range reasons {
		idle[key] = reason
		if len(strings.Fields(reason)) < 4 {
			t.Errorf("%s: %q is no reason", key, reason)
		}
	}
	for _, f := range findings {
		key := f.Resource + " " + f.Rule
		switch f.Compliance {
		case "Compliant":
		case "Suppressed":
			delete(idle, key)
		default:
			t.Errorf("%s: %s %s Change the resource, or accept the rule beside it with the reason", key, f.Compliance, f.Info)
		}
	}
	if diff := cmp.Diff(map[string]string{}, idle); diff != "" {
		t.Errorf("reasons that no finding needs (+):\n%s", diff)
	}
}

func TestCDKNagFindsAQueueThatAnybodyReachesWithoutTLS(t *testing.T) {
	findings, reasons := nag(t, func(app awscdk.App) error {
		s := awscdk.NewStack(app, new("Bad"), nil)
		queue := awssqs.NewCfnQueue(s, new("Queue"), nil)
		queue.AddMetadata(new("cdk_nag"), map[string]any{"rules_to_suppress": []any{map[string]any{"id": "AwsSolutions-SQS3", "reason": "it is the last of its line"}}})
		return nil
	})
	got := map[string]string{}
	for _, f := range findings {
		got[f.Resource+" "+f.Rule] = f.Compliance
	}
	want := map[string]string{"Bad/Queue AwsSolutions-SQS3": "Suppressed", "Bad/Queue AwsSolutions-SQS4": "Non-Compliant"}
	for key, compliance := range want {
		if got[key] != compliance {
			t.Errorf("%s: %q, want %q, of %v", key, got[key], compliance, got)
		}
	}
	if reasons["Bad/Queue AwsSolutions-SQS3"] == "" {
		t.Errorf("reasons %q", reasons)
	}
}
