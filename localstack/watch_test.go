package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/events"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

// sample is an event in the form in which AWS documents it, and the rules of StileControl that must hear it.
type sample struct {
	Name       string
	HeardBy    []string `json:"heard_by"`
	Source     string
	DetailType string `json:"detail-type"`
	Detail     json.RawMessage
}

// What only the account's administrator can do to the system is heard of, and what everybody does all day is not.
func TestSec_S86_RulesHearWhatTheyAreForAndNothingElse(t *testing.T) {
	raw, err := os.ReadFile("testdata/trail.json")
	if err != nil {
		t.Fatal(err)
	}
	var samples []sample
	if err := json.Unmarshal(raw, &samples); err != nil {
		t.Fatal(err)
	}
	var heard []string
	s, rules := listeners(t, func(rule string) { heard = append(heard, rule) })
	silent := map[string]bool{}
	for _, rule := range rules {
		silent[rule] = true
	}
	for _, sample := range samples {
		heard = []string{}
		if err := s.Emit(sample.Source, sample.DetailType, time.Now(), sample.Detail); err != nil {
			t.Fatal(err)
		}
		slices.Sort(heard)
		if diff := cmp.Diff(sample.HeardBy, heard); diff != "" {
			t.Errorf("%s: heard by (-want +got):\n%s", sample.Name, diff)
		}
		for _, rule := range heard {
			delete(silent, rule)
		}
	}
	for rule := range silent {
		t.Errorf("no sample is heard by %s", rule)
	}
}

// listeners is an EventBridge with the rules of StileControl that have a pattern.
func listeners(t *testing.T, on func(rule string)) (*events.Service, []string) {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: "111122223333", Region: "eu-central-1"})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	s, err := events.Open(events.Config{Dir: t.TempDir(), Authority: a, OnEvent: func(r events.Rule, _ events.Target, _ []byte) error {
		on(names[r.Name])
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, err := range []error{s.Close(), a.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	raw, err := os.ReadFile("../infra/templates/StileControl.json")
	if err != nil {
		t.Fatal(err)
	}
	var control struct {
		Resources map[string]struct {
			Type       string
			Properties map[string]any
		}
	}
	if err := json.Unmarshal(raw, &control); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for id, r := range control.Resources {
		if r.Type != "AWS::Events::Rule" || r.Properties["EventPattern"] == nil {
			continue
		}
		out, err := s.Provision(resource.Resource{Stack: "StileControl", LogicalID: id, Type: r.Type, Properties: settled(r.Properties).(map[string]any)})
		if err != nil {
			t.Fatal(err)
		}
		names[out.Ref] = id
		ids = append(ids, id)
	}
	return s, ids
}

var hole = regexp.MustCompile(`\$\{([A-Za-z:]+)\}`)

// settled puts placeholders where a deployment would put what AWS chose: <Api> for a reference, and likewise for another stack's output.
func settled(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if of, ok := v["Fn::GetStackOutput"].(map[string]any); ok {
			return "<" + of["StackName"].(string) + "-" + strings.TrimPrefix(of["OutputName"].(string), "Out") + ">"
		}
		if text, ok := v["Ref"].(string); ok {
			return "<" + text + ">"
		}
		if of, ok := v["Fn::GetAtt"].([]any); ok {
			return "<" + of[0].(string) + ">"
		}
		if text, ok := v["Fn::Sub"].(string); ok {
			known := map[string]string{"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "111122223333"}
			return hole.ReplaceAllStringFunc(text, func(h string) string { return known[h[2:len(h)-1]] })
		}
		out := map[string]any{}
		for key, inner := range v {
			out[key] = settled(inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = settled(inner)
		}
		return out
	}
	return value
}
