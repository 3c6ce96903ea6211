package cmd_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

// What stile get printed can be given to stile create --replace: what is built in stays as it is, and nobody changes it so.
func TestBuiltInResourcesPassUnchanged(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, role := range resource.Presets() {
			if !strings.HasSuffix(r.URL.Path, "/role/"+role.Metadata.Name) {
				continue
			}
			out := wire.Resource{Kind: "role", Metadata: wire.Metadata{Name: role.Metadata.Name, Scope: role.Metadata.Scope}}
			spec, err := json.Marshal(role.Spec)
			if err == nil {
				err = json.Unmarshal(spec, &out.Spec)
			}
			if err == nil {
				err = json.NewEncoder(w).Encode(out)
			}
			if err != nil {
				t.Error(err)
			}
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(wire.Problem{Code: string(fault.NotFound), Detail: "there is none", Hint: "look"})
	}))
	t.Cleanup(s.Close)
	l := lookupAt(t, s)
	const access = "kind: role\nmetadata: {name: access}\nspec: {allow: {logins: ['{{internal.logins}}'], node_labels: {'*': '*'}, rules: [{resources: [recording, event], verbs: [list, read], where: own}]}}\n"
	const own = "---\nkind: role\nmetadata: {name: dev}\nspec: {}\n"
	for name, c := range map[string]struct{ file, says string }{
		"as it is":                 {access + own, ""},
		"without any":              {own, ""},
		"with another login":       {strings.Replace(access, "internal", "external", 1) + own, "can't be changed"},
		"without one":              {strings.Replace(access, "logins: ['{{internal.logins}}'], ", "", 1), "can't be changed"},
		"in another scope":         {strings.Replace(access, "access}", "access, scope: /a}", 1), "can't be changed"},
		"one that the API has not": {"kind: iam_mapping\nmetadata: {name: bootstrap}\nspec: {match: {account: '111122223333', role: R}, user: u}\n", "can't be changed"},
		"twice":                    {access + "---\n" + access, "appears twice"},
	} {
		err := l.Unaltered(t.Context(), c.file)
		if (c.says == "") != (err == nil) || err != nil && !strings.Contains(fault.From(err).Message, c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
