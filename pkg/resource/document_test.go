package resource_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/resource"
)

// What the documentation shows can be created, and it shows every field that there is.
func TestWhatIsDocumentedOfResourcesIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/resources.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1) {
		all, err := resource.DecodeAll(m[1])
		if err != nil {
			t.Errorf("%v in\n%s", err, m[1])
		}
		for _, r := range all {
			shown[r.Kind] = true
		}
	}
	for _, k := range resource.Kinds {
		if k.Writable != shown[k.Name] {
			t.Errorf("kind %s is shown: %v", k.Name, shown[k.Name])
		}
	}
	for _, v := range []any{
		resource.Metadata{}, resource.RoleSpec{}, resource.RoleOptions{}, resource.RoleBlock{}, resource.Rule{}, resource.UserSpec{}, resource.MappingSpec{}, resource.IAMMatch{}, resource.TokenSpec{},
	} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "" && !strings.Contains(string(text), "`"+name+"`") && !regexp.MustCompile(`(?m)\b`+name+`: `).Match(text) && !strings.Contains(string(text), name+":\n") {
				t.Errorf("%T: %s is not documented", v, name)
			}
		}
	}
	for _, p := range resource.Presets() {
		if !strings.Contains(string(text), "`"+p.Metadata.Name+"`") {
			t.Errorf("the built-in role %s is not documented", p.Metadata.Name)
		}
	}
}
