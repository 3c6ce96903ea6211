package template_test

import (
	"strings"
	"testing"

	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/template"
)

// named is a provider whose resources are what their property says.
type named struct {
	property string
	types    []string
	got      map[string]resource.Resource
}

func (n *named) Types() []string { return n.types }

func (n *named) Provision(r resource.Resource) (resource.Outcome, error) {
	n.got[r.LogicalID] = r
	name, _ := r.Properties[n.property].(string)
	return resource.Outcome{Ref: name, Attributes: map[string]any{"Arn": "arn:" + name}}, nil
}

func (*named) Remove(resource.Resource) error { return nil }

// producing is a stack with one output; consuming reads it, with a digest in the metadata.
func producing(value string) string {
	return `{"Parameters": {"P": {"Type": "String", "Default": "first"}},
		"Resources": {"V": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "` + value + `"}}},
		"Outputs": {"Out": {"Value": {"Ref": "V"}}, "OutP": {"Value": {"Ref": "P"}}}}`
}

func consuming(digest string) string {
	return `{"Resources": {"F": {"Type": "AWS::Lambda::Function", "Metadata": {"stile:consumes": "` + digest + `"},
		"Properties": {"FunctionName": {"Fn::GetStackOutput": {"StackName": "Producer", "OutputName": "Out"}}}},
		"G": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": {"Ref": "F"}}}}}`
}

func TestAnOutputIsReadAgainOnlyByWhoseTextChanged(t *testing.T) {
	dir := t.TempDir()
	n := &named{property: "FunctionName", types: []string{"AWS::Lambda::Function"}, got: map[string]resource.Resource{}}
	d := deployer(t, dir, template.Custom{}, n)
	deploy := func(stack, text string) {
		t.Helper()
		if _, err := d.Deploy(t.Context(), template.Stack{Name: stack, Template: parse(t, text)}); err != nil {
			t.Fatal(err)
		}
	}
	sees := func(want string) {
		t.Helper()
		for _, id := range []string{"F", "G"} {
			if got := n.got[id].Properties["FunctionName"]; got != want {
				t.Errorf("%s has %v, want %s", id, got, want)
			}
		}
	}
	deploy("Producer", producing("one"))
	deploy("Consumer", consuming("a"))
	sees("one")
	deploy("Producer", producing("two"))
	deploy("Consumer", consuming("a"))
	sees("one")
	d = deployer(t, dir, template.Custom{}, n) // the next process knows it from the state
	deploy("Consumer", consuming("a"))
	sees("one")
	deploy("Consumer", consuming("b"))
	sees("two")
}

func TestAnOutputThatIsNotThereFailsTheDeployment(t *testing.T) {
	d := deployer(t, t.TempDir(), template.Custom{}, &recorder{types: []string{"AWS::Lambda::Function"}})
	refuse := func(argument, want string) {
		t.Helper()
		text := `{"Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": {"Fn::GetStackOutput": ` + argument + `}}}}}`
		_, err := d.Deploy(t.Context(), template.Stack{Name: "Consumer", Template: parse(t, text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", argument, err, want)
		}
	}
	refuse(`{"StackName": "Producer", "OutputName": "Out"}`, "deploy it first")
	if _, err := d.Deploy(t.Context(), template.Stack{Name: "Producer", Template: parse(t, producing("one"))}); err != nil {
		t.Fatal(err)
	}
	refuse(`{"StackName": "Producer", "OutputName": "Other"}`, "no output Other")
	refuse(`{"StackName": "Producer", "OutputName": "Out", "Region": "eu-west-1"}`, "takes StackName and OutputName")
	refuse(`{"StackName": "Producer"}`, "takes StackName and OutputName")
	refuse(`"Producer.Out"`, "takes StackName and OutputName")
}

func TestAParameterKeepsItsValueUntilAnotherIsGiven(t *testing.T) {
	dir := t.TempDir()
	deploy := func(text string, given map[string]string) (string, error) {
		t.Helper()
		d := deployer(t, dir, template.Custom{}, &recorder{types: []string{"AWS::Lambda::Function"}})
		outputs, err := d.Deploy(t.Context(), template.Stack{Name: "Producer", Template: parse(t, text), Parameters: given})
		return outputs["OutP"], err
	}
	guarded := func(value string) string {
		return strings.Replace(producing("x"), `"Default": "first"`, `"Default": "`+value+`", "AllowedValues": ["`+value+`"], "ConstraintDescription": "confirm it"`, 1)
	}
	for _, c := range []struct {
		text  string
		given map[string]string
		want  string
	}{
		{guarded("none"), nil, "none"},
		{guarded("none"), nil, "none"},
		{guarded("other"), nil, ""}, // refused: nobody confirmed it
		{guarded("none"), nil, "none"},
		{guarded("other"), map[string]string{"P": "other"}, "other"},
		{guarded("other"), nil, "other"},
		{guarded("none"), nil, ""}, // refused: a setting was forgotten
	} {
		got, err := deploy(c.text, c.given)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("with %v: got %q, %v, want %q", c.given, got, err, c.want)
		}
	}
	gone := `{"Resources": {"V": {"Type": "AWS::Lambda::Function"}}}`
	if _, err := deploy(gone, nil); err != nil {
		t.Errorf("a template without the parameter is refused: %v", err)
	}
}

func TestOnlyWhatIsRetainedAndBelongsToNoStackIsTakenOver(t *testing.T) {
	n := &named{property: "TableName", types: []string{"AWS::DynamoDB::Table"}, got: map[string]resource.Resource{}}
	d := deployer(t, t.TempDir(), template.Custom{}, n)
	table := func(id, name, policy string) string {
		return `{"Resources": {"` + id + `": {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "` + policy + `", "Properties": {"TableName": "` + name + `"}}}}`
	}
	deploy := func(stack, text string, importing bool) error {
		_, err := d.Deploy(t.Context(), template.Stack{Name: stack, Template: parse(t, text), Import: importing})
		return err
	}
	if err := deploy("A", table("T", "first", "Delete"), true); err == nil || !strings.Contains(err.Error(), "DeletionPolicy") {
		t.Errorf("what is deleted with its stack is taken over: %v", err)
	}
	if err := deploy("A", table("T", "first", "Retain"), false); err != nil || n.got["T"].Import {
		t.Errorf("taken over without being asked: %v, %v", n.got["T"].Import, err)
	}
	for stack, id := range map[string]string{"A": "T2", "B": "T"} {
		if err := deploy(stack, table(id, "first", "Retain"), true); err == nil || !strings.Contains(err.Error(), "belongs to stack A") {
			t.Errorf("%s.%s is another resource's: %v", stack, id, err)
		}
	}
	if err := deploy("B", table("T3", "second", "RetainExceptOnCreate"), true); err != nil || !n.got["T3"].Import {
		t.Errorf("not taken over: %v, %v", n.got["T3"].Import, err)
	}
	if err := deploy("B", table("T3", "second", "Retain"), true); err != nil || n.got["T3"].Import {
		t.Errorf("what the stack has already is taken over again: %v, %v", n.got["T3"].Import, err)
	}
}
