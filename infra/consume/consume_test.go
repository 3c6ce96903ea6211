package consume_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/infra/consume"
)

// producer, middle and consumer depend one way, as the product's stacks do.
const (
	producer = `{
 "Parameters": {"P": {"Type": "String", "Default": "one"}, "Q": {"Type": "String", "Default": "unused"}},
 "Conditions": {"C": {"Fn::Equals": [{"Ref": "P"}, "one"]}},
 "Resources": {
  "Key": {"Type": "K", "Properties": {"Name": {"Fn::Sub": "${P}-${AWS::Region}"}, "Role": {"Fn::GetAtt": ["Role", "Arn"]}}},
  "Role": {"Type": "R", "DependsOn": "Log", "Properties": {"On": {"Fn::If": ["C", {"Ref": "Log"}, "x"]}}},
  "Log": {"Type": "L", "Properties": {"Key": {"Fn::GetAtt": "Key.Arn"}}},
  "Other": {"Type": "O"}
 },
 "Outputs": {"OutKey": {"Value": {"Fn::GetAtt": ["Key", "Arn"]}}, "OutOther": {"Value": {"Fn::Sub": ["${Other.Arn}/${x}", {"x": "y"}]}}}}`
	middle = `{
 "Resources": {"Fn": {"Type": "F", "Properties": {"Key": {"Fn::GetStackOutput": {"StackName": "P", "OutputName": "OutKey"}}}}, "Alone": {"Type": "A"}},
 "Outputs": {"OutFn": {"Value": {"Ref": "Fn"}}, "OutAlone": {"Value": "fixed"}}}`
	consumer = `{"Resources": {
  "Task": {"Type": "T", "Properties": {"Env": [{"Value": {"Fn::Join": ["", ["a", {"Fn::GetStackOutput": {"StackName": "M", "OutputName": "OutFn"}}]]}}]}},
  "Fixed": {"Type": "T", "Properties": {"V": {"Fn::GetStackOutput": {"StackName": "M", "OutputName": "OutAlone"}}}},
  "Far": {"Type": "T", "Metadata": {"m": {"Fn::GetStackOutput": {"StackName": "P", "OutputName": "OutOther"}}}},
  "None": {"Type": "T"}
 }}`
)

// digests are those of the three stacks after each change, old and new, of one of them.
func digests(t *testing.T, changes ...string) map[string]string {
	t.Helper()
	texts := map[string][]byte{"P": []byte(producer), "M": []byte(middle), "C": []byte(consumer)}
	for i := 0; i < len(changes); i += 2 {
		found := false
		for name, raw := range texts {
			if strings.Contains(string(raw), changes[i]) {
				texts[name], found = []byte(strings.ReplaceAll(string(raw), changes[i], changes[i+1])), true
			}
		}
		if !found {
			t.Fatalf("%s is in no template", changes[i])
		}
	}
	all, err := consume.Digests(texts)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for stack, ids := range all {
		for id, digest := range ids {
			out[stack+"."+id] = digest
		}
	}
	return out
}

func TestWhoRefersToAnotherStackHasADigest(t *testing.T) {
	first := digests(t)
	if diff := cmp.Diff([]string{"C.Far", "C.Fixed", "C.Task", "M.Fn"}, slices.Sorted(maps.Keys(first))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(first, digests(t)); diff != "" {
		t.Errorf("the same templates have other digests: %s", diff)
	}
}

func TestADigestChangesWithWhatIsBehindTheOutputAndWithNothingElse(t *testing.T) {
	first := digests(t)
	for name, c := range map[string]struct {
		change []string
		want   []string
	}{
		"another resource in its place":     {[]string{`"Key":`, `"Key2":`, `["Key", "Arn"]`, `["Key2", "Arn"]`, `"Key.Arn"`, `"Key2.Arn"`}, []string{"C.Task", "M.Fn"}},
		"a property of the resource":        {[]string{`"Type": "K"`, `"Type": "K2"`}, []string{"C.Task", "M.Fn"}},
		"a resource behind it":              {[]string{`"Type": "R"`, `"Type": "R2"`}, []string{"C.Task", "M.Fn"}},
		"a resource behind a condition":     {[]string{`"Type": "L"`, `"Type": "L2"`}, []string{"C.Task", "M.Fn"}},
		"a parameter's default, by Sub":     {[]string{`"Default": "one"`, `"Default": "two"`}, []string{"C.Task", "M.Fn"}},
		"a condition":                       {[]string{`[{"Ref": "P"}, "one"]`, `[{"Ref": "P"}, "two"]`}, []string{"C.Task", "M.Fn"}},
		"the output's expression":           {[]string{`"OutKey": {"Value": {"Fn::GetAtt": ["Key", "Arn"]}}`, `"OutKey": {"Value": "fixed"}`}, []string{"C.Task", "M.Fn"}},
		"what only the second stack has":    {[]string{`"Type": "F"`, `"Type": "F2"`}, []string{"C.Task"}},
		"a resource in Sub with variables":  {[]string{`"Type": "O"`, `"Type": "O2"`}, []string{"C.Far"}},
		"a text":                            {[]string{`"Value": "fixed"`, `"Value": "other"`}, []string{"C.Fixed"}},
		"a parameter that nobody refers to": {[]string{`"Default": "unused"`, `"Default": "other"`}, nil},
		"a resource that nobody refers to":  {[]string{`"Type": "A"`, `"Type": "A2"`}, nil},
		"the consumer itself":               {[]string{`"None": {"Type": "T"}`, `"None": {"Type": "T2"}`}, nil},
	} {
		var got []string
		second := digests(t, c.change...)
		for _, id := range slices.Sorted(maps.Keys(first)) {
			if first[id] != second[id] {
				got = append(got, id)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWhatCannotBeFollowedIsRefused(t *testing.T) {
	for name, argument := range map[string]string{
		"a stack that is not there":  `{"StackName": "X", "OutputName": "OutFn"}`,
		"an output that isn't there": `{"StackName": "P", "OutputName": "OutFn"}`,
		"another Region":             `{"StackName": "P", "OutputName": "OutKey", "Region": "eu-west-1"}`,
		"a computed name":            `{"StackName": {"Ref": "S"}, "OutputName": "OutKey"}`,
		"a text":                     `"P.OutKey"`,
	} {
		_, err := consume.Digests(map[string][]byte{
			"P": []byte(producer),
			"C": []byte(`{"Resources": {"Task": {"Properties": {"V": {"Fn::GetStackOutput": ` + argument + `}}}}}`),
		})
		if err == nil || !strings.Contains(err.Error(), "Task of C") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := consume.Digests(map[string][]byte{"P": []byte("[")}); err == nil {
		t.Error("a text that is no template has digests")
	}
}
