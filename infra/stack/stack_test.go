package stack_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/infra/stack"
)

// refusal is the error that a document gets, or "".
func refusal(t *testing.T, doc string) (message string) {
	t.Helper()
	_, err := stack.Routes([]byte(doc))
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestEveryOperationMustNameItsFunctionAndItsCaller(t *testing.T) {
	const good = "info: {title: T}\npaths: {/v1/x: {get: {operationId: x, tags: [api], x-stile-caller: user}}}"
	if got := refusal(t, good); got != "" {
		t.Fatalf("a good document is refused: %s", got)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"no caller":      {", x-stile-caller: user", "", "x-stile-caller"},
		"unknown caller": {"caller: user", "caller: everybody", "x-stile-caller"},
		"no tag":         {"tags: [api]", "tags: []", "exactly one tag"},
		"two tags":       {"tags: [api]", "tags: [api, admin]", "exactly one tag"},
		"a signer's tag": {"tags: [api]", "tags: [sign-user]", "front"},
		"unknown tag":    {"tags: [api]", "tags: [nobody]", "front"},
		"no id":          {"operationId: x, ", "", "operationId"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, c.old, c.new, 1)
			if bad == good {
				t.Fatal("the case changes nothing")
			}
			if got := refusal(t, bad); !strings.Contains(got, c.want) || !strings.Contains(got, "/v1/x") {
				t.Errorf("refused with %q, want the path and %q", got, c.want)
			}
		})
	}
}

func TestEveryRouteOfTheAPIHasAFront(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	fronts, err := stack.Routes(doc)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"admin", "api", "join", "login", "query", "recording"}; !slices.Equal(fronts, want) {
		t.Errorf("the API's functions are %q, want %q", fronts, want)
	}
}
