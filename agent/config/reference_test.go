package config_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stile-dev/stile/agent/config"
)

// Error hints send people to docs/agent.md for the keys: it must hold each, and no other.
func TestTheReferenceListsEveryKey(t *testing.T) {
	b, err := os.ReadFile("../../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if key, ok := strings.CutPrefix(line, "| `"); ok {
			key, _, _ = strings.Cut(key, "`")
			listed[key] = true
		}
	}
	for field := range reflect.TypeFor[config.Config]().Fields() {
		key := field.Tag.Get("yaml")
		if !listed[key] {
			t.Errorf("docs/agent.md doesn't list %s", key)
		}
		delete(listed, key)
	}
	for key := range listed {
		t.Errorf("docs/agent.md lists %s, which is no key", key)
	}
}
