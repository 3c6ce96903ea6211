package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const good = `
paths:
  /v1/b:
    parameters: []
    get: {operationId: b, tags: [api], x-stile-caller: user, parameters: [{name: since, in: query}, {$ref: '#/components/parameters/limit'}, {name: kind, in: path}]}
  /v1/a:
    post: {operationId: a, tags: [login], x-stile-caller: anonymous}
components:
  parameters:
    limit: {name: limit, in: query}
`

func TestRoutesAreSortedAndComplete(t *testing.T) {
	got, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	want := []Route{
		{"a", "POST", "/v1/a", "login", "anonymous", nil},
		{"b", "GET", "/v1/b", "api", "user", []string{"limit", "since"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSec_S47_AnOperationThatDoesNotSayWhoMayCallItDoesNotGenerate(t *testing.T) {
	for name, change := range map[string][2]string{
		"no caller":        {", x-stile-caller: user", ""},
		"unknown caller":   {"x-stile-caller: user", "x-stile-caller: everyone"},
		"no tag":           {", tags: [api]", ""},
		"two tags":         {"[api]", "[api, admin]"},
		"no id":            {"operationId: b, ", ""},
		"same id twice":    {"operationId: b", "operationId: a"},
		"a lost parameter": {"parameters/limit", "parameters/limits"},
		"no method":        {"    get:", "    fetch:"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, change[0], change[1], 1)
			if bad == good {
				t.Fatal("the change changes nothing")
			}
			if routes, err := Parse([]byte(bad)); err == nil {
				t.Errorf("generated %v", routes)
			}
		})
	}
}

func TestTheTableIsThatOfTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	routes, err := Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Write(routes)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../pkg/wire/routes.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("run go generate ./pkg/wire:\n%s", d)
	}
}
