package install

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/goccy/go-yaml"

	"github.com/stile-dev/stile/pkg/fault"
)

// Setting is a key of the configuration: a string, a list of strings, or a map of strings.
type Setting struct {
	Key   string
	Value any
}

// Write writes a configuration that says exactly this, in this order.
func Write(settings []Setting) (string, error) {
	var list yaml.MapSlice
	want := map[string]any{}
	for _, s := range settings {
		list = append(list, yaml.MapItem{Key: s.Key, Value: s.Value})
		want[s.Key] = s.Value
	}
	b, err := yaml.Marshal(list)
	if err != nil {
		return "", fmt.Errorf("writing the configuration: %w", err)
	}
	// A value that YAML reads otherwise must not become another one.
	var have map[string]any
	if err := yaml.Unmarshal(b, &have); err != nil || !same(have, want) {
		return "", fault.New(fault.BadInput, "a value can't be written into the configuration", "use letters, digits and plain punctuation").Because(err)
	}
	return string(b), nil
}

func same(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}
