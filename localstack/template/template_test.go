package template_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/template"
)

var update = flag.Bool("update", false, "write golden files")

// recorder provides types by remembering what it was given.
type recorder struct {
	types []string
	got   []resource.Resource
	fail  error
}

func (r *recorder) Types() []string { return r.types }

func (r *recorder) Provision(res resource.Resource) (resource.Outcome, error) {
	r.got = append(r.got, res)
	if r.fail != nil {
		return resource.Outcome{}, r.fail
	}
	return resource.Outcome{Ref: "made-" + res.LogicalID, Attributes: map[string]any{"Arn": "arn:made:" + res.LogicalID}}, nil
}

func (r *recorder) Remove(resource.Resource) error { return nil }

func parse(t *testing.T, text string) *template.Template {
	t.Helper()
	tmpl, err := template.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func deployer(t *testing.T, dir string, custom template.Custom, providers ...resource.Provider) *template.Deployer {
	t.Helper()
	state, err := template.OpenState(filepath.Join(dir, "stacks.json"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := template.New(template.Config{Account: "111122223333", Region: "us-east-1", Partition: "aws", State: state, Providers: providers, Custom: custom})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// other is a stack whose export the golden template imports.
const other = `{"Resources": {"V": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.9.0.0/16"}}},
	"Outputs": {"Out": {"Value": {"Fn::GetAtt": ["V", "CidrBlock"]}, "Export": {"Name": "Other-test"}}}}`

func TestFunctionsGolden(t *testing.T) {
	raw, err := os.ReadFile("testdata/functions.json")
	if err != nil {
		t.Fatal(err)
	}
	functions := &recorder{types: []string{"AWS::Lambda::Function"}}
	d := deployer(t, t.TempDir(), template.Custom{}, functions)
	if _, err := d.Deploy(t.Context(), template.Stack{Name: "Other", Template: parse(t, other)}); err != nil {
		t.Fatal(err)
	}
	tmpl := parse(t, string(raw))
	outputs, err := d.Deploy(t.Context(), template.Stack{Name: "Small", Template: tmpl})
	if err != nil {
		t.Fatal(err)
	}
	exported, err := d.State.Export("Small-LogArn")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{"properties": functions.got[0].Properties["Environment"], "outputs": outputs, "export": exported}); err != nil {
		t.Fatal(err)
	}
	// Ids come from the stack's own random UUID.
	text := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`).ReplaceAllString(b.String(), "UUID")
	text = regexp.MustCompile(`vpc-[0-9a-f]{17}`).ReplaceAllString(text, "vpc-ID")
	if *update {
		if err := os.WriteFile("testdata/functions.golden", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/functions.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("resolved otherwise than testdata/functions.golden says (-want +got, -update writes it):\n%s", diff)
	}
}

func TestOrderFollowsReferences(t *testing.T) {
	raw, err := os.ReadFile("testdata/functions.json")
	if err != nil {
		t.Fatal(err)
	}
	tmpl := parse(t, string(raw))
	scope, err := template.NewScope(tmpl, map[string]any{"AWS::Region": "us-east-1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	order, err := tmpl.Order(scope)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Topic", "Log", "Vpc", "Subnet", "Everything"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Error(diff)
	}
}

func TestDeployRefuses(t *testing.T) {
	wrap := func(properties string) string {
		return `{"Resources": {"T": {"Type": "AWS::DynamoDB::Table", "Properties": {"BillingMode": ` + properties + `}}}}`
	}
	for name, c := range map[string]struct {
		text   string
		params map[string]string
		want   string
	}{
		"an unknown type":              {`{"Resources": {"A": {"Type": "AWS::Braket::Device"}}}`, nil, "AWS::Braket::Device is unknown to the local AWS"},
		"an unknown property":          {`{"Resources": {"A": {"Type": "AWS::SNS::Topic", "Properties": {"FifoTopic": true}}}}`, nil, "A: the local AWS doesn't know the property FifoTopic of AWS::SNS::Topic"},
		"an unknown function":          {wrap(`{"Fn::Cidr": ["10.0.0.0/16", 2, 8]}`), nil, "Fn::Cidr is not known"},
		"a function beside other keys": {wrap(`{"Fn::Join": ["", []], "x": 1}`), nil, "is beside other keys"},
		"a dynamic reference":          {wrap(`"{{resolve:ssm:/x}}"`), nil, "dynamic reference"},
		"an undeclared reference":      {wrap(`{"Ref": "Nobody"}`), nil, "T (AWS::DynamoDB::Table): properties: BillingMode: Ref: Nobody is not a parameter"},
		"an unknown attribute":         {`{"Resources": {"V": {"Type": "AWS::EC2::VPC"}, "T": {"Type": "AWS::DynamoDB::Table", "Properties": {"BillingMode": {"Fn::GetAtt": ["V", "Colour"]}}}}}`, nil, "no attribute Colour"},
		"an unknown hole in Fn::Sub":   {wrap(`{"Fn::Sub": "${Nobody}"}`), nil, "${Nobody}"},
		"a missing export":             {wrap(`{"Fn::ImportValue": "Nothing"}`), nil, "no stack exports Nothing"},
		"an index out of range":        {wrap(`{"Fn::Select": [3, ["a"]]}`), nil, "index 3 is outside"},
		"a cycle":                      {`{"Resources": {"A": {"Type": "AWS::EC2::VPC", "DependsOn": ["B"]}, "B": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": {"Fn::Sub": "${A}"}}}}}`, nil, "in a cycle: A → B → A"},
		"DependsOn an unknown name":    {`{"Resources": {"A": {"Type": "AWS::EC2::VPC", "DependsOn": "B"}}}`, nil, "DependsOn names B"},
		"a parameter without value":    {`{"Parameters": {"P": {"Type": "String"}}, "Resources": {"A": {"Type": "AWS::EC2::VPC"}}}`, nil, "parameter P has neither a value nor a default"},
		"a value nobody declared":      {`{"Resources": {"A": {"Type": "AWS::EC2::VPC"}}}`, map[string]string{"Q": "1"}, "parameter Q is not declared"},
		"a value outside the limits":   {`{"Parameters": {"P": {"Type": "Number", "MaxValue": 3}}, "Resources": {"A": {"Type": "AWS::EC2::VPC"}}}`, map[string]string{"P": "4"}, "4 is more than 3"},
		"a value off the pattern":      {`{"Parameters": {"P": {"Type": "String", "AllowedPattern": "[a-z]+"}}, "Resources": {"A": {"Type": "AWS::EC2::VPC"}}}`, map[string]string{"P": "A1"}, "does not match"},
		"a value that isn't allowed":   {`{"Parameters": {"P": {"Type": "String", "AllowedValues": ["a"]}}, "Resources": {"A": {"Type": "AWS::EC2::VPC"}}}`, map[string]string{"P": "b"}, `"b" is not one of [a]`},
		"an undeclared condition":      {`{"Resources": {"A": {"Type": "AWS::EC2::VPC", "Condition": "C"}}}`, nil, "condition C is not declared"},
		"an unknown branch":            {wrap(`{"Fn::If": ["C", 1, 2]}`), nil, "condition C is not declared"},
		"an unknown condition":         {`{"Conditions": {"C": {"Fn::And": [true, true]}}, "Resources": {"A": {"Type": "AWS::EC2::VPC"}}}`, nil, "condition C: Fn::And with 2 operands is not a condition function"},
		"a list as a parameter":        {`{"Parameters": {"P": {"Type": "CommaDelimitedList", "Default": "a"}}, "Resources": {"A": {"Type": "AWS::EC2::VPC"}}}`, nil, "the type CommaDelimitedList is not known"},
		"a rule that is broken":        {ruled, map[string]string{"P": "a"}, "rule R: P needs Q"},
		"a rule of unknown functions":  {`{"Rules": {"R": {"Assertions": [{"Assert": {"Fn::Contains": [[], "a"]}}]}}, "Resources": {"A": {"Type": "AWS::EC2::VPC"}}}`, nil, "rule R: Fn::Contains"},
	} {
		t.Run(name, func(t *testing.T) {
			d := deployer(t, t.TempDir(), template.Custom{}, &recorder{types: []string{"AWS::DynamoDB::Table"}})
			_, err := d.Deploy(t.Context(), template.Stack{Name: "S", Template: parse(t, c.text), Parameters: c.params})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// ruled is a template in which P needs Q.
const ruled = `{"Parameters": {"P": {"Type": "String", "Default": ""}, "Q": {"Type": "String", "Default": ""}},
	"Rules": {"R": {"RuleCondition": {"Fn::Not": [{"Fn::Equals": [{"Ref": "P"}, ""]}]},
		"Assertions": [{"Assert": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Q"}, ""]}]}, "AssertDescription": "P needs Q"}]}},
	"Resources": {"A": {"Type": "AWS::EC2::VPC"}}}`

func TestARuleThatHoldsOrDoesNotApplyLetsADeploymentPass(t *testing.T) {
	for _, given := range []map[string]string{nil, {"Q": "b"}, {"P": "a", "Q": "b"}} {
		d := deployer(t, t.TempDir(), template.Custom{}, &recorder{types: []string{"AWS::DynamoDB::Table"}})
		if _, err := d.Deploy(t.Context(), template.Stack{Name: "S", Template: parse(t, ruled), Parameters: given}); err != nil {
			t.Errorf("%v: %v", given, err)
		}
	}
}

func TestParseRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, text := range []string{`{`, `{"Resources": {}}`, `{"Resources": {"A": {"Type": "T"}}, "Transform": "x"}`, `{"Resources": {"A": {"Type": "T", "Colour": 1}}}`, `{"Mappings": {"Mine": {}}, "Resources": {"A": {"Type": "T"}}}`} {
		if _, err := template.Parse([]byte(text)); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func TestSecondDeploymentHandsOutTheSameIds(t *testing.T) {
	dir := t.TempDir()
	tmpl := parse(t, `{"Resources": {"T": {"Type": "AWS::DynamoDB::Table"}, "V": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/8"}}}, "Outputs": {"V": {"Value": {"Ref": "V"}}, "Id": {"Value": {"Ref": "AWS::StackId"}}}}`)
	first := &recorder{types: []string{"AWS::DynamoDB::Table"}}
	before, err := deployer(t, dir, template.Custom{}, first).Deploy(t.Context(), template.Stack{Name: "S", Template: tmpl})
	if err != nil {
		t.Fatal(err)
	}
	second := &recorder{types: first.types}
	after, err := deployer(t, dir, template.Custom{}, second).Deploy(t.Context(), template.Stack{Name: "S", Template: tmpl})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	if first.got[0].PhysicalID != "" || second.got[0].PhysicalID != "made-T" || second.got[0].StackID != first.got[0].StackID {
		t.Errorf("physical ids %q and %q", first.got[0].PhysicalID, second.got[0].PhysicalID)
	}
}

// function plays the function behind a custom resource.
type function struct {
	t      *testing.T
	events []map[string]any
	hash   string
	answer func(event map[string]any) map[string]any // nil answer: none is put
	fails  error
	mail   chan []byte
}

func (f *function) custom() template.Custom {
	return template.Custom{
		Wait:     5 * time.Second,
		CodeHash: func(string) (string, error) { return f.hash, nil },
		Mailbox: func(context.Context, string) (string, func(context.Context) ([]byte, bool, error), error) {
			f.mail = make(chan []byte, 1)
			return "http://answer.invalid/", func(context.Context) ([]byte, bool, error) {
				select {
				case raw := <-f.mail:
					return raw, true, nil
				default:
					return nil, false, nil
				}
			}, nil
		},
		Invoke: func(_ context.Context, _ string, payload []byte) error {
			var event map[string]any
			if err := json.Unmarshal(payload, &event); err != nil {
				f.t.Error(err)
			}
			f.events = append(f.events, event)
			if answer := f.answer(event); answer != nil {
				raw, err := json.Marshal(answer)
				if err != nil {
					f.t.Error(err)
				}
				f.mail <- raw
			}
			return f.fails
		},
	}
}

func reply(event map[string]any, more map[string]any) map[string]any {
	out := map[string]any{"Status": "SUCCESS", "PhysicalResourceId": "phys", "StackId": event["StackId"], "RequestId": event["RequestId"], "LogicalResourceId": event["LogicalResourceId"], "Data": map[string]any{"Pin": "abc"}}
	maps.Copy(out, more)
	return out
}

const withCustom = `{"Parameters": {"V": {"Type": "String", "Default": "1"}}, "Resources": {"C": {"Type": "Custom::Trust", "Properties": {"ServiceToken": "arn:f", "Version": {"Ref": "V"}, "On": true, "N": 3}}}, "Outputs": {"Pin": {"Value": {"Fn::GetAtt": ["C", "Pin"]}}, "Id": {"Value": {"Ref": "C"}}}}`

func TestCustomResourceIsCreatedUpdatedAndDeleted(t *testing.T) {
	dir := t.TempDir()
	f := &function{t: t, hash: "h1", answer: func(e map[string]any) map[string]any { return reply(e, nil) }}
	deploy := func(text string, params map[string]string) map[string]string {
		t.Helper()
		out, err := deployer(t, dir, f.custom()).Deploy(t.Context(), template.Stack{Name: "S", Template: parse(t, text), Parameters: params})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := deploy(withCustom, nil); out["Pin"] != "abc" || out["Id"] != "phys" {
		t.Errorf("outputs %v", out)
	}
	deploy(withCustom, nil) // nothing changed
	deploy(withCustom, map[string]string{"V": "2"})
	f.hash = "h2" // a new build
	deploy(withCustom, map[string]string{"V": "2"})
	deploy(`{"Resources": {"V": {"Type": "AWS::EC2::VPC"}}}`, nil)
	var kinds []string
	for _, e := range f.events {
		kinds = append(kinds, e["RequestType"].(string))
	}
	if diff := cmp.Diff([]string{"Create", "Update", "Update", "Delete"}, kinds); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(map[string]any{"ServiceToken": "arn:f", "Version": "2", "On": "true", "N": "3"}, f.events[1]["ResourceProperties"]); diff != "" {
		t.Error(diff)
	}
	if old := f.events[1]["OldResourceProperties"].(map[string]any); old["Version"] != "1" || f.events[1]["PhysicalResourceId"] != "phys" {
		t.Errorf("update sent %v", f.events[1])
	}
	if f.events[0]["PhysicalResourceId"] != nil || f.events[0]["ResponseURL"] != "http://answer.invalid/" || f.events[0]["ResourceType"] != "Custom::Trust" {
		t.Errorf("create sent %v", f.events[0])
	}
}

func TestCustomResourceFailures(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(e map[string]any) map[string]any
		fails  error
		want   string
	}{
		"FAILED with a reason": {func(e map[string]any) map[string]any {
			return reply(e, map[string]any{"Status": "FAILED", "Reason": "no key"})
		}, nil, "FAILED on Create: no key"},
		"an answer to another request": {func(e map[string]any) map[string]any { return reply(e, map[string]any{"RequestId": "x"}) }, nil, "another request"},
		"no physical id":               {func(e map[string]any) map[string]any { return reply(e, map[string]any{"PhysicalResourceId": ""}) }, nil, "without PhysicalResourceId"},
		"a function that crashes":      {func(map[string]any) map[string]any { return nil }, errors.New("exit status 2"), "failed on Create without an answer: exit status 2"},
		"an unknown status":            {func(e map[string]any) map[string]any { return reply(e, map[string]any{"Status": "MAYBE"}) }, nil, "neither SUCCESS nor FAILED"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &function{t: t, hash: "h", answer: c.answer, fails: c.fails}
			_, err := deployer(t, t.TempDir(), f.custom()).Deploy(t.Context(), template.Stack{Name: "S", Template: parse(t, withCustom)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestCustomResourceWithoutAnswerTimesOut(t *testing.T) {
	f := &function{t: t, hash: "h", answer: func(map[string]any) map[string]any { return nil }}
	custom := f.custom()
	custom.Wait = 200 * time.Millisecond
	_, err := deployer(t, t.TempDir(), custom).Deploy(t.Context(), template.Stack{Name: "S", Template: parse(t, withCustom)})
	if err == nil || !strings.Contains(err.Error(), "gave no answer for Create") {
		t.Errorf("error %v", err)
	}
}

func TestTheTableIsSortedAndEachTypeStandsOnce(t *testing.T) {
	var types []string
	for _, row := range template.Table() {
		types = append(types, row.Type)
		if row.Note == "" {
			t.Errorf("%s has no note", row.Type)
		}
	}
	if !slices.IsSorted(types) || len(slices.Compact(slices.Clone(types))) != len(types) {
		t.Error("a type appears twice")
	}
}

// On AWS the key of a program names its bytes, so that another one is another property.
func TestACustomResourceIsGivenItsProgramAndRunsAgainForAnother(t *testing.T) {
	const text = `{"Resources": {"C": {"Type": "Custom::Image", "Metadata": {"stile:binary": "proxy"},
		"Properties": {"ServiceToken": "arn:f", "Bucket": "assets", "Key": "k", "Architecture": "s390x", "Sha256": "BUILD-proxy"}}}}`
	dir, build := t.TempDir(), "one"
	var uploads []string
	f := &function{t: t, hash: "h", answer: func(e map[string]any) map[string]any { return reply(e, nil) }}
	custom := f.custom()
	custom.Program = func(name string) (string, func(context.Context, string, string) error, error) {
		return build, func(_ context.Context, bucket, key string) error {
			uploads = append(uploads, name+" to "+bucket+"/"+key)
			return nil
		}, nil
	}
	for _, build = range []string{"one", "one", "two"} {
		if _, err := deployer(t, dir, custom).Deploy(t.Context(), template.Stack{Name: "S", Template: parse(t, text)}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"proxy to assets/k", "proxy to assets/k"}, uploads); diff != "" {
		t.Errorf("uploads (-want +got):\n%s", diff)
	}
	if len(f.events) != 2 || f.events[0]["RequestType"] != "Create" || f.events[1]["RequestType"] != "Update" {
		t.Fatalf("events %v", f.events)
	}
	if got := f.events[0]["ResourceProperties"].(map[string]any)["Architecture"]; got != runtime.GOARCH {
		t.Errorf("it is told %v, and the program is built for this machine", got)
	}
	for i, want := range []string{"one", "two"} {
		if got := f.events[i]["ResourceProperties"].(map[string]any)["Sha256"]; got != want {
			t.Errorf("the SHA-256 of program %s is said to be %v", want, got)
		}
	}
}

// A template that says which program it wants isn't made to want the one that is there.
func TestADigestThatATemplateNamesIsLeftAsItIs(t *testing.T) {
	const text = `{"Resources": {"C": {"Type": "Custom::Image", "Metadata": {"stile:binary": "proxy"},
		"Properties": {"ServiceToken": "arn:f", "Bucket": "assets", "Key": "k", "Sha256": "another"}}}}`
	f := &function{t: t, hash: "h", answer: func(e map[string]any) map[string]any { return reply(e, nil) }}
	custom := f.custom()
	custom.Program = func(string) (string, func(context.Context, string, string) error, error) {
		return "one", func(context.Context, string, string) error { return nil }, nil
	}
	if _, err := deployer(t, t.TempDir(), custom).Deploy(t.Context(), template.Stack{Name: "S", Template: parse(t, text)}); err != nil {
		t.Fatal(err)
	}
	if got := f.events[0]["ResourceProperties"].(map[string]any)["Sha256"]; got != "another" {
		t.Errorf("the function was told %v", got)
	}
}
