package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A first administrator who is nobody fails the deployment, the first one and every later one, and says why. Once the value is
// right the same stack deploys.
func TestAWrongFirstAdministratorFailsTheDeployment(t *testing.T) {
	s, err := newSystem(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.down(); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(s.Root, "infra/templates/StileControl.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	deploy := func(administrator string) error {
		t.Helper()
		if err := s.ChangeTemplate("StileControl", func(doc map[string]any) error {
			given(doc["Resources"], administrator)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		_, err := s.up()
		if back := os.WriteFile(path, whole, 0o644); back != nil {
			t.Fatal(back)
		}
		return err
	}
	refused := func(when string, err error) {
		t.Helper()
		for _, want := range []string{"Publication", `account: "1234" is not an account id`, "deploy StileControl again"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want one with %q", when, err, want)
			}
		}
	}
	const wrong = `{"account":"1234","role":"PlatformAdmin"}`
	refused("the first deployment", deploy(wrong))
	if _, err := s.up(); err != nil {
		t.Fatal(err)
	}
	s.person(t, admin).login(t)
	refused("an update", deploy(wrong))
	if _, err := s.up(); err != nil {
		t.Fatalf("with the value put right: %v", err)
	}
	s.person(t, admin).login(t)
}

// given replaces the parameter by a value wherever a template refers to it.
func given(v any, value string) any {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 1 && v["Ref"] == "BootstrapAdmin" {
			return value
		}
		for key, item := range v {
			v[key] = given(item, value)
		}
	case []any:
		for i, item := range v {
			v[i] = given(item, value)
		}
	}
	return v
}
