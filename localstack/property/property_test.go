package property_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/localstack/property"
)

type spec struct {
	Name    property.Text
	Size    property.Int
	Enabled property.Bool
	Nested  struct{ Deep property.Int }
}

func TestDecodeTakesBothSpellings(t *testing.T) {
	for _, properties := range []map[string]any{
		{"Name": "5", "Size": "30", "Enabled": "true", "Nested": map[string]any{"Deep": "7"}},
		{"Name": json.Number("5"), "Size": json.Number("30"), "Enabled": true, "Nested": map[string]any{"Deep": json.Number("7")}},
	} {
		var got spec
		if err := property.Decode(properties, &got); err != nil {
			t.Fatal(err)
		}
		want := spec{Name: "5", Size: 30, Enabled: true}
		want.Nested.Deep = 7
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		properties map[string]any
		want       string
	}{
		"unknown property":        {map[string]any{"Colour": "red"}, `"Colour"`},
		"unknown nested property": {map[string]any{"Nested": map[string]any{"Shallow": 1}}, `"Shallow"`},
		"number that is none":     {map[string]any{"Size": "big"}, `"big" is not a whole number`},
		"object for a scalar":     {map[string]any{"Name": map[string]any{"Ref": "x"}}, "not a scalar"},
	} {
		t.Run(name, func(t *testing.T) {
			err := property.Decode(c.properties, new(spec))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
