package cmd_test

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// What stile get tokens printed was refused at a token that has a secret, though nothing of it was changed.
func TestATokenWithASecretPassesUnchanged(t *testing.T) {
	const token = "kind: token\nmetadata: {name: lab, revision: 1}\nspec: {method: token, resources: [node], names: [lab-1], uses: 2, expires: '2026-11-27T12:00:00Z'}\n"
	const role = "---\nkind: role\nmetadata: {name: dev}\nspec: {}\n"
	for name, c := range map[string]struct{ file, format, says, out string }{
		"as it is":                     {file: token + role, out: "token/lab unchanged, it has a secret\nrole/dev created\n"},
		"as JSON":                      {file: token, format: "json", out: "[]\n"},
		"without its revision":         {file: strings.Replace(token, ", revision: 1", "", 1), out: "token/lab unchanged, it has a secret\n"},
		"of another revision":          {file: strings.Replace(token, "revision: 1", "revision: 2", 1) + role, says: "can't be changed"},
		"with another use":             {file: strings.Replace(token, "uses: 2", "uses: 3", 1) + role, says: "can't be changed"},
		"in another scope":             {file: strings.Replace(token, "lab,", "lab, scope: /a,", 1), says: "can't be changed"},
		"one that isn't there":         {file: strings.Replace(token, "lab, revision: 1", "new", 1), out: "token/new created\n"},
		"one that may not be read":     {file: strings.Replace(token, "lab,", "hidden,", 1), says: "for others"},
		"one of a role, with no token": {file: role, out: "role/dev created\n"},
	} {
		s := shelfWith(t)
		spec := map[string]any{}
		if err := json.Unmarshal([]byte(`{"method":"token","resources":["node"],"names":["lab-1"],"uses":2,"expires":"2026-11-27T12:00:00Z"}`), &spec); err != nil {
			t.Fatal(err)
		}
		s.has["token/lab"] = wire.Resource{Kind: "token", Metadata: wire.Metadata{Name: "lab", Scope: "/", Revision: 1}, Spec: spec}
		s.hidden = map[string]*fault.Fault{"token/hidden": fault.New(fault.Denied, "it is for others", "ask")}
		api := httptest.NewTLSServer(s)
		var out strings.Builder
		format := c.format
		if format == "" {
			format = "table"
		}
		err := lookupAt(t, api).Replace(t.Context(), c.file, format, &out)
		api.Close()
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(fault.From(err).Message, c.says)) || out.String() != c.out {
			t.Errorf("%s: %v, %q", name, err, out.String())
		}
		if slices.Contains(s.asked, "PUT token/lab") || c.says != "" && slices.Contains(s.asked, "PUT role/dev") {
			t.Errorf("%s: asked %q", name, s.asked)
		}
	}
}

// Secrets of tokens that were created before the one that failed were shown to nobody with --format json.
func TestAFileThatIsRefusedInTheMiddleSaysWhatWasWrittenAndWhatNot(t *testing.T) {
	var file string
	for _, name := range []string{"a", "b", "c", "d"} {
		file += "---\nkind: role\nmetadata: {name: " + name + "}\nspec: {}\n"
	}
	alone := "kind: role\nmetadata: {name: a}\nspec: {}\n"
	for name, c := range map[string]struct{ file, refused, format, says, out string }{
		"the first":   {file, "a", "table", "role/a: you may not (nothing was written before it; not tried: role/b, role/c, role/d)", ""},
		"the second":  {file, "b", "table", "role/b: you may not (one was written before it; not tried: role/c, role/d)", "role/a created\n"},
		"the last":    {file, "d", "table", "role/d: you may not (3 were written before it)", "role/a created\nrole/b created\nrole/c created\n"},
		"alone":       {alone, "a", "table", "you may not", ""},
		"as JSON":     {file, "b", "json", "role/b: you may not (one was written before it; not tried: role/c, role/d)", `"stj_once"`},
		"JSON, alone": {alone, "a", "json", "you may not", ""},
	} {
		s := shelfWith(t)
		s.secret = "stj_once"
		s.refused["role/"+c.refused] = fault.New(fault.Denied, "you may not", "ask")
		api := httptest.NewTLSServer(s)
		var out strings.Builder
		err := lookupAt(t, api).Replace(t.Context(), c.file, c.format, &out)
		api.Close()
		if !fault.Is(err, fault.Denied) || fault.From(err).Message != c.says {
			t.Errorf("%s: %v", name, err)
		}
		got := strings.Join(slices.DeleteFunc(strings.SplitAfter(out.String(), "\n"), func(line string) bool { return strings.HasPrefix(line, "secret of ") }), "")
		if c.format == "table" && got != c.out || (c.out == "") != (got == "") || !strings.Contains(got, c.out) {
			t.Errorf("%s: printed %q", name, out.String())
		}
	}
}
