package template

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The functions and pseudo parameters are those of the templates that are deployed here; ../breadth_test.go has the
// same for types and properties.
func TestTheLanguageIsThatOfTheTemplates(t *testing.T) {
	used := map[string]bool{}
	for _, path := range []string{
		"../../infra/templates/StileData.json", "../../infra/templates/StileControl.json",
		"../../infra/templates/StileFleet.json", "../conformance/testdata/store.json",
		"../conformance/testdata/world.json", "../conformance/testdata/custom.json", "../conformance/testdata/trust.json",
	} {
		raw, err := os.ReadFile(filepath.FromSlash(path))
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		collect(doc, used)
	}
	known := slices.Collect(maps.Keys(functions))
	known = append(known, "Fn::Equals", "Fn::Not") // of conditions
	known = slices.AppendSeq(known, maps.Keys(new(Deployer).pseudo("")))
	slices.Sort(known)
	for _, name := range known {
		if !used[name] {
			t.Errorf("no template of infra or the conformance suite uses %s: delete it in localstack/template, with its tests", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !slices.Contains(known, name) {
			t.Errorf("a template of infra or the conformance suite uses %s, which is not known here: "+
				"write it in localstack/template as CloudFormation documents it", name)
		}
	}
}

var pseudoParameter = regexp.MustCompile(`\$\{(AWS::[A-Za-z]+)\}`)

// collect notes the functions that v calls, and the pseudo parameters that it refers to.
func collect(v any, used map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if name, argument, ok := call(v); ok {
			used[name] = true
			if text, ok := argument.(string); ok && strings.HasPrefix(text, "AWS::") {
				used[text] = true
			}
		}
		for _, inner := range v {
			collect(inner, used)
		}
	case []any:
		for _, inner := range v {
			collect(inner, used)
		}
	case string:
		for _, match := range pseudoParameter.FindAllStringSubmatch(v, -1) {
			used[match[1]] = true
		}
	}
}
