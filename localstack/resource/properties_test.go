package resource_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/resource"
)

func TestReaderTakesTextAsCloudFormationDoes(t *testing.T) {
	in := resource.ReadObject("Queue", map[string]any{
		"Name": "n", "Count": "3", "Limit": json.Number("4"), "On": "true", "Off": false,
		"Tags": []any{map[string]any{"Key": "k", "Value": "v"}}, "Gone": nil,
	})
	got := []any{
		in.Required("Name"), in.String("Count"), in.String("Limit"), in.Bool("On"), in.Bool("Off"), in.Tags("Tags"),
		in.Has("Gone"), in.String("Absent"),
	}
	want := []any{"n", "3", "4", true, false, map[string]string{"k": "v"}, false, ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := in.Done(); err != nil {
		t.Error(err)
	}
}

func TestReaderTellsEveryFaultWithItsPlace(t *testing.T) {
	in := resource.Read(resource.Resource{LogicalID: "Q", Type: "AWS::SQS::Queue", Properties: map[string]any{
		"Colour": "red", "Age": 1, "Name": map[string]any{}, "On": "perhaps", "Object": "text", "Objects": []any{"text"},
	}})
	in.Required("Needed")
	in.String("Name")
	in.Bool("On")
	in.Object("Object")
	in.Objects("Objects")
	err := in.Done()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"Q (AWS::SQS::Queue).Needed: is missing", ".Name: must be a string", `.On: "perhaps" is neither`,
		".Object: must be an object", ".Objects: must be a list", ".Age: the local AWS doesn't know this property", ".Colour: the local AWS doesn't know this property",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %s", err, want)
		}
	}
}

func TestNamesAreStableAndFit(t *testing.T) {
	r := resource.Resource{Stack: "StileData", StackID: "arn:x", LogicalID: strings.Repeat("Recordings", 10)}
	name := r.Name(63)
	if again := r.Name(63); name != again || len(name) > 63 || !strings.HasPrefix(name, "StileData-Recordings") {
		t.Errorf("%s, then %s", name, again)
	}
	other := r
	other.StackID = "arn:y"
	if other.Name(63) == name {
		t.Error("another stack has the same name")
	}
	r.PhysicalID = "as-before"
	if got := r.Name(63); got != "as-before" {
		t.Errorf("a resource that has a name got %s", got)
	}
}
