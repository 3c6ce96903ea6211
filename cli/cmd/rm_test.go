package cmd_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/wire"
)

// shelf is an API with resources, by KIND/NAME. A role is given by the user of the same name.
type shelf struct {
	t       *testing.T
	has     map[string]wire.Resource
	refused map[string]*fault.Fault // to change
	hidden  map[string]*fault.Fault // to do anything with
	secret  string                  // of what is created
	asked   []string                // METHOD KIND/NAME
	agents  []wire.AgentBinary      // that the deployment has; nil for one that doesn't know of any
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/v1/agent/binaries") && s.agents != nil {
		if err := json.NewEncoder(w).Encode(wire.AgentBinaries{Items: s.agents}); err != nil {
			s.t.Error(err)
		}
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	kind := parts[len(parts)-1]
	name := ""
	if r.Method != http.MethodPost {
		kind, name = parts[len(parts)-2], parts[len(parts)-1]
	}
	var body wire.Resource
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			s.t.Error(err)
		}
		kind, name = body.Kind, body.Metadata.Name
	}
	id := kind + "/" + name
	s.asked = append(s.asked, r.Method+" "+id)
	have, found := s.has[id]
	f := s.refused[id]
	if _, held := s.has["user/"+name]; held && kind == "role" && r.Method == http.MethodDelete {
		f = fault.New(fault.Conflict, "role "+name+" is given by user/"+name, "remove the role from them first")
	}
	if !found && r.Method != http.MethodPost {
		f = fault.New(fault.NotFound, "there is no "+id, "list what there is")
	}
	if r.Method == http.MethodGet && found {
		f = nil
	}
	if h := s.hidden[id]; h != nil {
		f = h
	}
	if f != nil {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(f.Code.HTTP())
		_ = json.NewEncoder(w).Encode(wire.Problem{Code: string(f.Code), Detail: f.Message, Hint: f.Hint})
		return
	}
	var answer any = wire.Created{Resource: have}
	switch r.Method {
	case http.MethodGet:
		answer = have
	case http.MethodDelete:
		delete(s.has, id)
	default:
		s.has[id] = body
		answer = wire.Created{Resource: body, Secret: s.secret}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.t.Error(err)
	}
}

func shelfWith(t *testing.T, ids ...string) *shelf {
	s := &shelf{t: t, has: map[string]wire.Resource{}, refused: map[string]*fault.Fault{}}
	for _, id := range ids {
		kind, name, _ := strings.Cut(id, "/")
		s.has[id] = wire.Resource{Kind: kind, Metadata: wire.Metadata{Name: name, Scope: "/"}, Spec: map[string]any{}}
	}
	return s
}

// The first that couldn't be deleted ended the command, and nothing said what was left.
func TestEachThatIsToBeDeletedIsTried(t *testing.T) {
	denied := fault.New(fault.Denied, "you may not", "ask")
	for name, c := range map[string]struct {
		has, args, left []string
		refused         map[string]*fault.Fault
		code            fault.Code
		says            []string
		calls           int
	}{
		"all":             {has: []string{"role/a", "role/b"}, args: []string{"role/a", "role/b"}, calls: 2},
		"one of its own":  {args: []string{"role/a"}, code: fault.NotFound, says: []string{"there is no role/a"}, calls: 1},
		"one is absent":   {has: []string{"role/b"}, args: []string{"role/a", "role/b"}, code: fault.NotFound, says: []string{"role/a: there is no role/a"}, calls: 2},
		"role, then user": {has: []string{"role/k", "user/k"}, args: []string{"role/k", "user/k"}, calls: 3},
		"only the role":   {has: []string{"role/k", "user/k"}, args: []string{"role/k"}, left: []string{"role/k", "user/k"}, code: fault.Conflict, says: []string{"role k is given by user/k"}, calls: 1},
		"held by another": {has: []string{"role/k", "user/k", "user/z"}, args: []string{"role/k", "user/z"}, left: []string{"role/k", "user/k"}, code: fault.Conflict, says: []string{"role/k: role k is given by user/k"}, calls: 3},
		"the first of two failures": {
			has: []string{"role/a", "role/c"}, args: []string{"role/a", "role/b", "role/c"}, left: []string{"role/a"}, refused: map[string]*fault.Fault{"role/a": denied},
			code: fault.Denied, says: []string{"role/a: you may not", "role/b: there is no role/b"}, calls: 3,
		},
		"a login that ends": {
			has: []string{"role/a", "role/b", "role/c"}, args: []string{"role/a", "role/b", "role/c"}, left: []string{"role/b", "role/c"},
			refused: map[string]*fault.Fault{"role/b": fault.New(fault.Expired, "your login is over", "log in")},
			code:    fault.Expired, says: []string{"role/b: your login is over (not tried: role/c)"}, calls: 2,
		},
	} {
		s := shelfWith(t, c.has...)
		if c.refused != nil {
			s.refused = c.refused
		}
		api := httptest.NewTLSServer(s)
		var out, said strings.Builder
		err := lookupAt(t, api).Remove(t.Context(), &out, &said, c.args...)
		api.Close()
		var left []string
		for id := range s.has {
			left = append(left, id)
		}
		slices.Sort(left)
		if c.code == "" && err != nil || c.code != "" && !fault.Is(err, c.code) || !slices.Equal(left, c.left) || len(s.asked) != c.calls {
			t.Errorf("%s: %v, left %q, asked %q", name, err, left, s.asked)
		}
		for _, want := range c.says {
			if strings.Count(said.String(), "stile: error: "+want+"\n") != 1 {
				t.Errorf("%s: %q isn't said in %s", name, want, said.String())
			}
		}
		if n := strings.Count(said.String(), "stile: error"); n != len(c.says) {
			t.Errorf("%s: %d errors in %s", name, n, said.String())
		}
	}
}
