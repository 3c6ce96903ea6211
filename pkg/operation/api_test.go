package operation_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

const roleDev = `{"kind":"role","metadata":{"name":"dev"},"spec":{"allow":{"logins":["ubuntu"],"node_labels":{"env":["demo"]}}}}`

// body returns a well-formed body of a route, "" where it takes none.
func body(r wire.Route) string {
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodDelete:
		return ""
	case r.Caller == wire.CallerAdmin:
		return roleDev
	case r.Operation == "startQuery":
		return `{"sql":"SELECT 1"}`
	}
	return "{}"
}

// agent is the credential of an agent that serves node-1.
func (s *site) agent() credential {
	k, d := s.Host(identity.Host{Kind: identity.KindAgent, ID: agentOnline, Token: "nodes", Targets: []identity.Target{{Kind: "node", Name: "node-1"}, {Kind: "db", Name: "orders"}}}, s.Now.Add(time.Hour))
	return credential{k, d}
}

// Every route that the API has, tried by every kind of caller there is. What is not listed as allowed is denied.
func TestSec_S08_EveryRouteDeniesEveryCallerThatItIsNotFor(t *testing.T) {
	other := clustertest.New(t)
	foreign := clustertest.New(t)
	foreign.ID = "ffffffff-6f6a-4c0e-9a53-0d6f3c1f7a11"
	callers := map[string]struct {
		make func(*site) credential
		want map[string]int // by the route's caller
	}{
		"nobody":   {func(*site) credential { return credential{} }, map[string]int{wire.CallerUser: 401, wire.CallerAdmin: 401, wire.CallerHost: 401}},
		"an agent": {func(s *site) credential { return s.agent() }, map[string]int{wire.CallerUser: 401, wire.CallerAdmin: 401, wire.CallerHost: 200}},
		"a proxy": {func(s *site) credential {
			k, d := s.Host(identity.Host{Kind: identity.KindProxy, ID: "prx_01hv0000000000000000000000"}, s.Now.Add(time.Hour))
			return credential{k, d}
		}, map[string]int{wire.CallerUser: 401, wire.CallerAdmin: 401, wire.CallerHost: 200}},
		"an agent whose certificate has expired": {func(s *site) credential {
			k, d := s.Host(identity.Host{Kind: identity.KindAgent, ID: agentOnline}, s.Now.Add(-time.Second))
			return credential{k, d}
		}, map[string]int{wire.CallerUser: 401, wire.CallerAdmin: 401, wire.CallerHost: 401}},
		"an agent by another authority": {func(s *site) credential {
			k, d := other.Host(identity.Host{Kind: identity.KindAgent, ID: agentOnline}, s.Now.Add(time.Hour))
			return credential{k, d}
		}, map[string]int{wire.CallerUser: 401, wire.CallerAdmin: 401, wire.CallerHost: 401}},
		"an agent with somebody else's key": {func(s *site) credential {
			return credential{clustertest.Key(t), s.agent().der}
		}, map[string]int{wire.CallerUser: 401, wire.CallerAdmin: 401, wire.CallerHost: 401}},
		"an agent whose certificate the users' authority signed": {func(s *site) credential {
			foreign.Keys = map[string]*ecdsa.PrivateKey{names.KeyHostX509: s.Keys[names.KeyUserX509]}
			foreign.ID = s.ID
			k, d := foreign.Host(identity.Host{Kind: identity.KindAgent, ID: agentOnline}, s.Now.Add(time.Hour))
			foreign.ID = "ffffffff-6f6a-4c0e-9a53-0d6f3c1f7a11"
			return credential{k, d}
		}, map[string]int{wire.CallerUser: 401, wire.CallerAdmin: 401, wire.CallerHost: 401}},
		"somebody whose certificate has expired": {func(s *site) credential {
			k, d := s.UserUntil("ada", s.Now.Add(-time.Second), "editor")
			return credential{k, d}
		}, map[string]int{wire.CallerUser: 401, wire.CallerAdmin: 401, wire.CallerHost: 401}},
		"an editor by another authority": {func(*site) credential {
			k, d := other.User("ada", "editor")
			return credential{k, d}
		}, map[string]int{wire.CallerUser: 401, wire.CallerAdmin: 401, wire.CallerHost: 401}},
		"an editor of another cluster with our keys": {func(s *site) credential {
			foreign.Keys = s.Keys
			k, d := foreign.User("ada", "editor")
			return credential{k, d}
		}, map[string]int{wire.CallerUser: 401, wire.CallerAdmin: 401, wire.CallerHost: 401}},
		"an editor with somebody else's key": {func(s *site) credential {
			_, d := s.User("ada", "editor")
			return credential{clustertest.Key(t), d}
		}, map[string]int{wire.CallerUser: 401, wire.CallerAdmin: 401, wire.CallerHost: 401}},
		"a user without a role":  {func(s *site) credential { return s.user("bob") }, map[string]int{wire.CallerUser: 200, wire.CallerAdmin: 403, wire.CallerHost: 401, "listRecordings": 403, "startQuery": 403}},
		"a user with access":     {func(s *site) credential { return s.user("bob", "access") }, map[string]int{wire.CallerUser: 200, wire.CallerAdmin: 403, wire.CallerHost: 401, "startQuery": 403}},
		"an auditor":             {func(s *site) credential { return s.user("carol", "auditor") }, map[string]int{wire.CallerUser: 200, wire.CallerAdmin: 403, wire.CallerHost: 401}},
		"a role that is unknown": {func(s *site) credential { return s.user("dave", "ghost") }, map[string]int{wire.CallerUser: 200, wire.CallerAdmin: 403, wire.CallerHost: 401, "listRecordings": 403, "startQuery": 403}},
		"an administrator":       {func(s *site) credential { return s.user("ada", "editor") }, map[string]int{wire.CallerUser: 200, wire.CallerAdmin: 200, wire.CallerHost: 401}},
	}
	for name, c := range callers {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			cred := c.make(s)
			for _, r := range wire.Routes {
				if r.Caller == wire.CallerAnonymous {
					continue
				}
				s.store.resources["role/dev"] = resource.Resource{Kind: "role", Metadata: resource.Metadata{Name: "dev", Scope: "/", Revision: 1}, Spec: &resource.RoleSpec{}}
				if r.Operation == "createResource" {
					delete(s.store.resources, "role/dev")
				}
				before := s.store.snapshot()
				status, p, _ := s.call(cred, r.Method, concrete(r), body(r))
				if want := c.want[r.Caller]; strings.Contains(r.Pattern, "{session}") && want == http.StatusOK {
					if status == http.StatusUnauthorized || status == http.StatusForbidden && r.Caller != wire.CallerHost || status == http.StatusInternalServerError {
						t.Errorf("%s: %d (%s)", r.Operation, status, p.Detail)
					}
					continue // whose recordings somebody reaches is a test of its own
				}
				if (strings.Contains(r.Pattern, "{query}") || r.Operation == "auditBody") && c.want[r.Caller] == http.StatusOK {
					want := http.StatusNotFound // it is nobody's
					if c.want["startQuery"] == http.StatusForbidden {
						want = http.StatusForbidden
					}
					if status != want {
						t.Errorf("%s: %d (%s), want %d", r.Operation, status, p.Detail, want)
					}
					continue
				}
				want, special := c.want[r.Operation]
				if !special {
					want = c.want[r.Caller]
				}
				if status != want {
					t.Errorf("%s: %d (%s), want %d", r.Operation, status, p.Detail, want)
				}
				if status != http.StatusOK && (!cmp.Equal(before, s.store.snapshot()) || p.Hint == "") {
					t.Errorf("%s: refused, but something changed, or no hint: %+v", r.Operation, p)
				}
			}
		})
	}
}

func TestSec_S47_AnonymousRoutesReachNoSignerWithoutEvidence(t *testing.T) {
	s := newSite(t)
	for _, r := range wire.Routes {
		if r.Caller != wire.CallerAnonymous {
			continue
		}
		for _, cred := range []credential{{}, s.user("ada", "editor")} {
			if status, p, _ := s.call(cred, r.Method, concrete(r), "{}"); status != http.StatusBadRequest {
				t.Errorf("%s: %d %+v", r.Operation, status, p)
			}
		}
	}
	if s.signed != 0 {
		t.Errorf("the signer was reached %d times", s.signed)
	}
}

func TestSec_S47_ThereIsNoOtherWayToAResource(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada", "editor")
	for _, path := range []string{
		"/v1/admin/resources/role/", "/v1/admin/resources//dev", "/v1/admin/resources/role/..", "/v1/admin/resources/role/%2e%2e", "/v1/admin/resources/role/a%2Fb",
		"/v1/admin/resources/roles/dev", "/v1/admin/resources/Role/dev", "/V1/admin/resources/role/dev", "/v1/admin/resources/secret/dev", "//v1/status", "/v1/status/", "/",
		"/v1/targets", "/v1/targets/", "/v1/targets/role", "/v1/targets/Node", "/v1/targets/nodes", "/v1/targets/..", "/v1/nodes", "/v1/host", "/v1/host/status/",
	} {
		if status, p, _ := s.call(ada, http.MethodGet, path, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, p.Detail)
		}
	}
	if status, _, _ := s.call(ada, http.MethodPatch, "/v1/status", ""); status != http.StatusNotFound {
		t.Errorf("PATCH: %d", status)
	}
	e := s.request(ada, http.MethodGet, "/v1/status", "")
	e.Resource, e.Path, e.RequestContext.Path = "/v1/targets/{kind}", "/v1/targets/node", "/prod/v1/targets/node"
	if status, p, _ := s.serve(e); status != http.StatusUnauthorized {
		t.Errorf("another path than the signed one: %d %+v", status, p)
	}
}

func TestSec_S35_ASignatureIsForOneRequest(t *testing.T) {
	for name, spoil := range map[string]func(*site, *events.APIGatewayProxyRequest){
		"another method": func(_ *site, e *events.APIGatewayProxyRequest) { e.HTTPMethod = http.MethodPost },
		"another resource": func(_ *site, e *events.APIGatewayProxyRequest) {
			e.Path, e.RequestContext.Path = "/v1/admin/resources/role/other", "/prod/v1/admin/resources/role/other"
		},
		"another stage": func(_ *site, e *events.APIGatewayProxyRequest) {
			e.RequestContext.Path, e.RequestContext.Stage = "/test"+e.Path, "test"
		},
		"another body": func(_ *site, e *events.APIGatewayProxyRequest) { e.Body = strings.Replace(e.Body, "ubuntu", "root", 1) },
		"another host": func(_ *site, e *events.APIGatewayProxyRequest) {
			e.MultiValueHeaders["Host"] = []string{"other.example.com"}
		},
		"no host": func(_ *site, e *events.APIGatewayProxyRequest) { delete(e.MultiValueHeaders, "Host") },
		"two hosts": func(_ *site, e *events.APIGatewayProxyRequest) {
			e.MultiValueHeaders["Host"] = append(e.MultiValueHeaders["Host"], "b")
		},
		"two certificates": func(_ *site, e *events.APIGatewayProxyRequest) {
			e.MultiValueHeaders[names.HeaderCertificate] = append(e.MultiValueHeaders[names.HeaderCertificate], e.MultiValueHeaders[names.HeaderCertificate][0])
		},
		"two signatures": func(_ *site, e *events.APIGatewayProxyRequest) {
			e.MultiValueHeaders["signature"] = e.MultiValueHeaders["Signature"]
		},
		"no signature": func(_ *site, e *events.APIGatewayProxyRequest) { delete(e.MultiValueHeaders, "Signature") },
		"another algorithm": func(_ *site, e *events.APIGatewayProxyRequest) {
			e.MultiValueHeaders["Signature-Input"][0] = strings.Replace(e.MultiValueHeaders["Signature-Input"][0], "ecdsa-p256-sha256", "none", 1)
		},
		"another nonce": func(_ *site, e *events.APIGatewayProxyRequest) {
			e.MultiValueHeaders["Signature-Input"][0] = strings.Replace(e.MultiValueHeaders["Signature-Input"][0], `nonce="`, `nonce="x`, 1)
		},
		"after two minutes": func(s *site, _ *events.APIGatewayProxyRequest) { s.Now = s.Now.Add(2 * time.Minute) },
		"somebody else's certificate": func(s *site, e *events.APIGatewayProxyRequest) {
			e.MultiValueHeaders[names.HeaderCertificate] = s.request(s.user("eve", "editor"), "GET", "/v1/status", "").MultiValueHeaders[names.HeaderCertificate]
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			e := s.request(s.user("ada", "editor"), http.MethodPut, "/v1/admin/resources/role/dev", roleDev)
			spoil(s, &e)
			status, p, _ := s.serve(e)
			if status != http.StatusUnauthorized || len(s.store.resources) != 0 {
				t.Errorf("%d %+v, %d resources", status, p, len(s.store.resources))
			}
		})
	}
	t.Run("replayed", func(t *testing.T) {
		s := newSite(t)
		e := s.request(s.user("ada", "editor"), http.MethodPost, "/v1/admin/resources/role/dev", roleDev)
		if status, p, _ := s.serve(e); status != http.StatusOK {
			t.Fatalf("%d %+v", status, p)
		}
		delete(s.store.resources, "role/dev")
		if status, p, _ := s.serve(e); status != http.StatusConflict || len(s.store.resources) != 0 {
			t.Errorf("%d %+v", status, p)
		}
	})
	t.Run("with a query", func(t *testing.T) {
		s := newSite(t)
		e := s.request(s.user("ada", "editor"), http.MethodGet, "/v1/status", "")
		e.MultiValueQueryStringParameters = map[string][]string{"a": {"b"}}
		if status, _, _ := s.serve(e); status != http.StatusBadRequest {
			t.Errorf("%d", status)
		}
	})
}

func TestSec_S56_BodiesThatBlowUpAreRefusedBeforeAnythingElse(t *testing.T) {
	s := newSite(t)
	big := `{"keys":"` + strings.Repeat("A", 70<<10) + `"}`
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"too large":         {big, 413},
		"too deep":          {`{"keys":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, 400},
		"very deep":         {strings.Repeat(`{"a":`, 10_000), 400},
		"a key twice":       {`{"keys":"a","keys":"b"}`, 400},
		"in two cases":      {`{"keys":"a","Keys":"b"}`, 400},
		"an unknown key":    {`{"keys":"a","more":1}`, 400},
		"something behind":  {`{"keys":"a"}{}`, 400},
		"no JSON":           {`keys=a`, 400},
		"not an object":     {`["keys"]`, 400},
		"a number for text": {`{"keys":1}`, 400},
		"invalid UTF-8":     {"{\"keys\":\"\xff\"}", 400},
		"nothing":           {``, 400},
		"a huge number":     {`{"keys":` + strings.Repeat("9", 60_000) + `}`, 400},
		"many keys":         {`{"keys":"` + strings.Repeat("k", 43) + `"` + strings.Repeat(`,"x":1`, 5_000) + `}`, 400},
	} {
		t.Run(name, func(t *testing.T) {
			e := s.request(credential{}, http.MethodPost, "/v1/login/challenge", c.body)
			e.MultiValueHeaders["Content-Type"] = []string{"application/json"}
			if status, p, _ := s.serve(e); status != c.want {
				t.Errorf("%d %+v, want %d", status, p, c.want)
			}
		})
	}
	e := s.request(credential{}, http.MethodPost, "/v1/login/challenge", big)
	if n := testing.AllocsPerRun(20, func() { s.serve(e) }); n > 500 {
		t.Errorf("%v allocations to refuse a large body", n)
	}
	for _, kind := range []string{"", "text/plain", "application/json; charset=utf-7", "application/x-www-form-urlencoded"} {
		e := s.request(credential{}, http.MethodPost, "/v1/login/challenge", "{}")
		e.MultiValueHeaders["Content-Type"] = []string{kind}
		if status, _, _ := s.serve(e); status != http.StatusBadRequest {
			t.Errorf("content type %q: %d", kind, status)
		}
	}
}

func TestSec_S50_NoSecretGetsIntoLogsOrEvents(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada", "editor")
	const canary = "CANARYcanary0123456789"
	status, p, out := s.call(ada, http.MethodPost, "/v1/admin/resources/token/door", `{"kind":"token","metadata":{"name":"door"},"spec":{"method":"token","resources":["node"],"names":["web-1"]}}`)
	if status != http.StatusOK {
		t.Fatalf("%d %+v", status, p)
	}
	var created wire.Created
	if err := json.Unmarshal([]byte(out), &created); err != nil || !strings.HasPrefix(created.Secret, "stj_") {
		t.Fatalf("%q: %v", out, err)
	}
	for _, r := range wire.Routes {
		for _, b := range []string{
			`{"challenge":"` + canary + `","ssh_key":"` + canary + `"}`, `{"join":{"token":"x","challenge":"` + canary + `"},"secret":"` + canary + `"}`,
			`{"sts":{"security_token":"` + canary + `","authorization":"` + canary + `"}}`, canary,
		} {
			e := s.request(ada, r.Method, concrete(r), b)
			e.MultiValueHeaders["Cookie"] = []string{canary}
			e.MultiValueHeaders["Authorization"] = []string{canary}
			s.serve(e)
		}
	}
	events, err := json.Marshal(s.store.events)
	if err != nil {
		t.Fatal(err)
	}
	_, _, stored := s.call(ada, http.MethodGet, "/v1/admin/resources/token/door", "")
	for where, text := range map[string]string{"the log": s.log.String(), "events": string(events), "the token as read": stored} {
		for what, secret := range map[string]string{"the canary": canary, "the token's secret": created.Secret, "its random part": created.Secret[4:]} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s", where, what)
			}
		}
	}
	if lines := strings.Count(s.log.String(), "\n"); lines != strings.Count(s.log.String(), "Request answered") || lines == 0 {
		t.Errorf("%d lines of log", lines)
	}
}

func TestLocksAndRevocationsCountAtOnce(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada", "editor")
	if status, _, _ := s.call(ada, http.MethodGet, "/v1/status", ""); status != http.StatusOK {
		t.Fatalf("%d", status)
	}
	s.Revoke(document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "user", Value: "ada"}}})
	if status, p, _ := s.call(ada, http.MethodGet, "/v1/status", ""); status != http.StatusForbidden || !strings.Contains(p.Hint, "lck_1") {
		t.Errorf("locked: %d %+v", status, p)
	}
	s.Bar(identity.Ref{Target: "certificate", Value: certificateID(t, s, ada)})
	if status, p, _ := s.call(ada, http.MethodGet, "/v1/status", ""); status != http.StatusUnauthorized {
		t.Errorf("revoked: %d %+v", status, p)
	}
}

// certificateID reads the id out of a certificate.
func certificateID(t *testing.T, s *site, c credential) string {
	t.Helper()
	view, err := s.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, _, err := certs.VerifyX509User([][]byte{c.der}, view.State.Trust.CA(names.KeyUserX509), s.Now)
	if err != nil {
		t.Fatal(err)
	}
	return u.Certificate
}

func TestChangesAreStoredPublishedAndTold(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada", "editor")
	path := "/v1/admin/resources/role/dev"
	steps := []struct {
		name, method, body string
		want               int
	}{
		{"create", http.MethodPost, roleDev, 200},
		{"create again", http.MethodPost, roleDev, 409},
		{"read", http.MethodGet, "", 200},
		{"update", http.MethodPut, strings.Replace(roleDev, "ubuntu", "debian", 1), 200},
		{"update an older revision", http.MethodPut, strings.Replace(roleDev, `"name":"dev"`, `"name":"dev","revision":1`, 1), 409},
		{"update the right revision", http.MethodPut, strings.Replace(roleDev, `"name":"dev"`, `"name":"dev","revision":2`, 1), 200},
		{"another name in the body", http.MethodPut, strings.Replace(roleDev, `"dev"`, `"other"`, 1), 400},
		{"another kind in the body", http.MethodPut, strings.Replace(roleDev, `"role"`, `"user"`, 1), 400},
		{"delete", http.MethodDelete, "", 200},
		{"delete again", http.MethodDelete, "", 404},
		{"read what is gone", http.MethodGet, "", 404},
		{"update what is gone", http.MethodPut, roleDev, 404},
	}
	for _, step := range steps {
		status, p, _ := s.call(ada, step.method, path, step.body)
		if status != step.want {
			t.Errorf("%s: %d %+v, want %d", step.name, status, p, step.want)
		}
	}
	var types []audit.Type
	for _, e := range s.store.events {
		types = append(types, e.Type)
	}
	if d := cmp.Diff([]audit.Type{audit.ResourceCreated, audit.ResourceUpdated, audit.ResourceUpdated, audit.ResourceDeleted}, types); d != "" {
		t.Error(d)
	}
	if s.store.published != 4 {
		t.Errorf("published up to %d", s.store.published)
	}
}

func TestWhatIsBuiltInIsReadOnly(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada", "editor")
	editor := strings.Replace(roleDev, `"dev"`, `"editor"`, 1)
	for _, c := range []struct{ method, path, body string }{
		{http.MethodPost, "/v1/admin/resources/role/editor", editor},
		{http.MethodPut, "/v1/admin/resources/role/editor", editor},
		{http.MethodDelete, "/v1/admin/resources/role/editor", ""},
		{http.MethodPost, "/v1/admin/resources/iam_mapping/bootstrap", `{"kind":"iam_mapping","metadata":{"name":"bootstrap"},"spec":{"match":{"account":"111122223333","role":"R"},"user":"x"}}`},
		{http.MethodPost, "/v1/admin/resources/token/fleet", `{"kind":"token","metadata":{"name":"fleet"},"spec":{"method":"token","resources":["node"],"names":["x"]}}`},
	} {
		if status, p, _ := s.call(ada, c.method, c.path, c.body); status != http.StatusForbidden || !strings.Contains(p.Detail, "built in") {
			t.Errorf("%s %s: %d %+v", c.method, c.path, status, p)
		}
	}
	for _, kind := range []string{"node", "db", "app", "kube"} {
		path, target := "/v1/admin/resources/"+kind+"/a", `{"kind":"`+kind+`","metadata":{"name":"a"},"spec":{"agent":"`+agentOnline+`"}}`
		for _, method := range []string{http.MethodPost, http.MethodPut} {
			if status, p, _ := s.call(ada, method, path, target); status != http.StatusBadRequest || !strings.Contains(p.Detail, "agents create them by joining") {
				t.Errorf("%s of a %s: %d %+v", method, kind, status, p)
			}
		}
	}
	if len(s.store.resources) != 0 {
		t.Errorf("written: %+v", s.store.resources)
	}
}

func TestAStoredChangeThatIsNotInForceIsAWarning(t *testing.T) {
	for name, hinder := range map[string]func(*shelf){
		"publishing fails":            func(s *shelf) { s.broken = errors.New("publish is down") },
		"publishing took older input": func(s *shelf) { s.behind = 1 },
	} {
		s := newSite(t)
		hinder(s.store)
		for _, r := range []struct{ method, body string }{{http.MethodPost, roleDev}, {http.MethodPut, roleDev}, {http.MethodDelete, ""}} {
			status, _, out := s.call(s.user("ada", "editor"), r.method, "/v1/admin/resources/role/dev", r.body)
			if status != http.StatusOK || !strings.Contains(out, "not in force yet") {
				t.Errorf("%s, %s: %d %s", name, r.method, status, out)
			}
		}
	}
	s := newSite(t)
	if _, _, out := s.call(s.user("ada", "editor"), http.MethodPost, "/v1/admin/resources/role/dev", roleDev); strings.Contains(out, "warning") {
		t.Errorf("a warning without a reason: %s", out)
	}
}

func TestALostAnswerDoesNotMakeAChangeHappenTwice(t *testing.T) {
	s := newSite(t)
	s.store.fail, s.store.persisted = errors.New("the answer was lost"), true
	e := s.request(s.user("ada", "editor"), http.MethodPost, "/v1/admin/resources/role/dev", roleDev)
	if status, p, _ := s.serve(e); status != http.StatusInternalServerError || strings.Contains(p.Detail, "lost") {
		t.Errorf("%d %+v", status, p)
	}
	if status, _, _ := s.serve(e); status != http.StatusConflict || s.store.input != 1 {
		t.Errorf("%d, input %d", status, s.store.input)
	}
}

// targets lists a kind as somebody sees it.
// pages reads a list of an operation page by page and gives the names, a page in brackets.
func (s *site) pages(who credential, path string, limit int) string {
	s.t.Helper()
	var all strings.Builder
	for cursor := ""; ; {
		e := s.request(who, http.MethodGet, path, "")
		e.MultiValueQueryStringParameters = map[string][]string{"limit": {strconv.Itoa(limit)}}
		if cursor != "" {
			e.MultiValueQueryStringParameters["cursor"] = []string{cursor}
		}
		status, p, body := s.serve(s.sign(who, e))
		if status != http.StatusOK {
			s.t.Fatalf("%d %+v", status, p)
		}
		var page struct {
			Resources []wire.Resource `json:"resources"`
			Targets   []wire.Target   `json:"targets"`
			Next      string          `json:"next"`
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			s.t.Fatal(err)
		}
		all.WriteString("[")
		for _, r := range page.Resources {
			all.WriteString(" " + r.Metadata.Name)
		}
		for _, t := range page.Targets {
			all.WriteString(" " + t.Name)
		}
		all.WriteString(" ]")
		if cursor = page.Next; cursor == "" {
			return all.String()
		}
	}
}

func TestListsHavePages(t *testing.T) {
	scoped := resource.Role{Metadata: resource.Metadata{Name: "scoped", Scope: "/b"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"token"}, Verbs: []string{"list"}}}}}}
	demo := resource.Role{Metadata: resource.Metadata{Name: "demo", Scope: "/"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"ubuntu"}, NodeLabels: resource.Labels{"env": {"demo"}}}}}
	s := newSite(t, scoped, demo)
	for i, name := range []string{"t1", "t2", "t3", "t4", "t5", "t6", "t7"} {
		scope := "/a"
		if i == 3 || i == 6 {
			scope = "/b"
		}
		s.store.resources["token/"+name] = resource.Resource{Kind: "token", Metadata: resource.Metadata{Name: name, Scope: scope, Revision: 1}, Spec: &resource.TokenSpec{}}
	}
	const path = "/v1/admin/resources/token"
	for _, c := range []struct {
		role  string
		limit int
		want  string
	}{
		{"editor", 3, "[ t1 t2 t3 ][ t4 t5 t6 ][ t7 ]"},
		{"editor", 7, "[ t1 t2 t3 t4 t5 t6 t7 ]"},
		{"editor", 1000, "[ t1 t2 t3 t4 t5 t6 t7 ]"},
		{"scoped", 2, "[ t4 ][ t7 ]"}, // pages of what may not be listed are passed over
		{"scoped", 1, "[ t4 ][ t7 ]"},
	} {
		if got := s.pages(s.user("ada", c.role), path, c.limit); got != c.want {
			t.Errorf("%s, %d: %s, want %s", c.role, c.limit, got, c.want)
		}
	}
	// Built-in ones come first, whatever the size.
	s.store.resources["role/b"] = resource.Resource{Kind: "role", Metadata: resource.Metadata{Name: "b", Scope: "/", Revision: 1}, Spec: &resource.RoleSpec{}}
	s.store.resources["role/z"] = resource.Resource{Kind: "role", Metadata: resource.Metadata{Name: "z", Scope: "/", Revision: 1}, Spec: &resource.RoleSpec{}}
	if got := s.pages(s.user("ada", "editor"), "/v1/admin/resources/role", 1); got != "[ access auditor editor b ][ z ]" {
		t.Error(got)
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		s.store.hold("node/"+name, agentOnline, map[string]string{"env": "demo"})
	}
	s.store.hold("node/n0", agentOnline, nil)
	s.store.hold("node/n2b", agentOnline, nil)
	if got := s.pages(s.user("ada", "demo"), "/v1/targets/node", 2); got != "[ n1 ][ n2 ][ n3 ]" {
		t.Error(got)
	}
	// Who may list nothing is told so, on however many pages it stands.
	e := s.request(s.user("bob", "access"), http.MethodGet, path, "")
	e.MultiValueQueryStringParameters = map[string][]string{"limit": {"1"}}
	if status, p, _ := s.serve(s.sign(s.user("bob", "access"), e)); status != http.StatusForbidden || p.DecisionID == "" {
		t.Errorf("%d %+v", status, p)
	}
}

func (s *site) targets(who credential, kind string) wire.TargetList {
	s.t.Helper()
	status, p, out := s.call(who, http.MethodGet, "/v1/targets/"+kind, "")
	if status != http.StatusOK {
		s.t.Fatalf("%d %+v", status, p)
	}
	var list wire.TargetList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		s.t.Fatal(err)
	}
	return list
}

func TestTargetsAreShownToWhoMayReachThem(t *testing.T) {
	s := newSite(t, resource.Role{Metadata: resource.Metadata{Name: "demo", Scope: "/"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{
		Logins: []string{"ubuntu"}, NodeLabels: resource.Labels{"env": {"demo"}}, DBLabels: resource.Labels{"env": {"demo"}}, DBNames: []string{"*"}, DBUsers: []string{"app"},
	}}})
	const offline = "agt_01hv0000000000000000000001"
	demo, prod := map[string]string{"env": "demo"}, map[string]string{"env": "prod"}
	s.store.hold("node/node-2", offline, demo)
	s.store.hold("node/node-1", agentOnline, demo)
	s.store.hold("node/prod-1", agentOnline, prod)
	s.store.hold("db/node-1", offline, demo) // another thing of the same name
	s.store.hold("db/prod-1", agentOnline, prod)
	s.store.hold("app/node-1", agentOnline, demo)
	bob := s.user("bob", "demo")
	node := wire.TargetList{Proxies: []string{"proxy:443"}, Targets: []wire.Target{
		{Kind: "node", Name: "node-1", Labels: demo, Agent: agentOnline, Online: true, Logins: []string{"ubuntu"}, Proxies: []string{"proxy:443"}},
		{Kind: "node", Name: "node-2", Labels: demo, Agent: offline, Logins: []string{"ubuntu"}},
	}}
	if d := cmp.Diff(node, s.targets(bob, "node")); d != "" {
		t.Error(d)
	}
	db := wire.TargetList{Proxies: []string{"proxy:443"}, Targets: []wire.Target{{Kind: "db", Name: "node-1", Labels: demo, Agent: offline, Logins: []string{}}}}
	if d := cmp.Diff(db, s.targets(bob, "db")); d != "" {
		t.Error(d)
	}
	for _, kind := range []string{"app", "kube"} {
		if got := s.targets(bob, kind); len(got.Targets) != 0 {
			t.Errorf("%ss: %+v", kind, got.Targets)
		}
	}
	if _, _, out := s.call(s.user("carol"), http.MethodGet, "/v1/targets/node", ""); !strings.Contains(out, `"targets":[]`) {
		t.Errorf("somebody without a role sees %s", out)
	}
	for _, kind := range []string{"role", "nodes", "Node", "desktop"} {
		if status, p, _ := s.call(bob, http.MethodGet, "/v1/targets/"+kind, ""); status != http.StatusNotFound || p.Hint == "" {
			t.Errorf("%s: %d %+v", kind, status, p)
		}
	}
}

func TestALockedGrantShowsNothingMore(t *testing.T) {
	s := newSite(t, resource.Role{Metadata: resource.Metadata{Name: "demo", Scope: "/"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"ubuntu"}, NodeLabels: resource.Labels{"*": {"*"}}}}})
	s.store.hold("node/node-1", agentOnline, nil)
	s.store.hold("node/node-2", agentOnline, nil)
	grant := identity.Grant{Request: "req_01hv0000000000000000000000", Roles: []string{"demo"}, Resources: []identity.Target{{Kind: "node", Name: "node-1"}}, Until: s.Now.Add(time.Minute)}
	bob := s.holding(identity.User{Name: "bob", UID: "usr_b", Grants: []identity.Grant{grant}})
	seen := func() (names []string) {
		for _, target := range s.targets(bob, "node").Targets {
			names = append(names, target.Name)
		}
		return names
	}
	if d := cmp.Diff([]string{"node-1"}, seen()); d != "" {
		t.Error("its resource alone:", d)
	}
	s.Revoke(document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "request", Value: grant.Request}}}, resource.Role{Metadata: resource.Metadata{Name: "demo"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"ubuntu"}, NodeLabels: resource.Labels{"*": {"*"}}}}})
	if got := seen(); len(got) > 0 {
		t.Errorf("locked, and still seen: %v", got)
	}
}

// holding makes the credential of a user as it is told.
func (s *site) holding(u identity.User) credential {
	s.t.Helper()
	view, err := s.Fresh(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	key := clustertest.Key(s.t)
	u.Cluster, u.Certificate, u.Versions, u.IssuedAt = s.ID, identity.NewID("crt", rand.Reader, s.Now), view.Head.Versions(), s.Now
	template, err := certs.UserTemplate(certs.UserRequest{Identity: u, TLSKey: &key.PublicKey, From: s.Now, Until: s.Now.Add(time.Hour), Entropy: rand.Reader})
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := certstest.SignX509(template.X509, template.TLSKey, s.Keys[names.KeyUserX509])
	if err != nil {
		s.t.Fatal(err)
	}
	return credential{key, der}
}

func TestAHostIsToldWhatItIs(t *testing.T) {
	s := newSite(t)
	status, p, out := s.call(s.agent(), http.MethodGet, "/v1/host/status", "")
	if status != http.StatusOK {
		t.Fatalf("%d %+v", status, p)
	}
	var got wire.HostStatus
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	one := wire.Version{Epoch: 1, Counter: 1}
	want := wire.HostStatus{
		Cluster: s.ID, Kind: "agent", ID: agentOnline, Targets: []string{"node/node-1", "db/orders"}, CertificateID: got.CertificateID,
		ExpiresAt: s.Now.Add(time.Hour), Trust: one, Policy: one, Revocations: one, Time: s.Now,
	}
	if d := cmp.Diff(want, got); d != "" || !identity.ValidID("crt", got.CertificateID) {
		t.Error(d)
	}
	if !strings.Contains(s.log.String(), `"agent":"`+agentOnline+`","certificate_id":"`+got.CertificateID+`"`) || strings.Contains(s.log.String(), `"user"`) {
		t.Errorf("the log says %s", s.log)
	}
	s.Revoke(document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "agent", Value: agentOnline}}})
	if status, p, _ := s.call(s.agent(), http.MethodGet, "/v1/host/status", ""); status != http.StatusForbidden || !strings.Contains(p.Hint, "lck_1") {
		t.Errorf("locked: %d %+v", status, p)
	}
}

func TestDeletingATargetFreesAllThatItsAgentHeld(t *testing.T) {
	for _, path := range []string{"node/a", "db/a"} {
		t.Run(path, func(t *testing.T) {
			s := newSite(t)
			const other = "agt_01hv0000000000000000000001"
			for target, agent := range map[string]string{"node/a": agentOnline, "db/a": agentOnline, "node/b": agentOnline, "app/a": other, "node/c": other} {
				s.store.hold(target, agent, nil)
			}
			status, p, out := s.call(s.user("ada", "editor"), http.MethodDelete, "/v1/admin/resources/"+path, "")
			if status != http.StatusOK || !strings.Contains(out, agentOnline) {
				t.Fatalf("%d %+v %s", status, p, out)
			}
			if d := cmp.Diff([]string{"app/a", "node/c"}, slices.Sorted(maps.Keys(s.store.resources))); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff([]string{agentOnline}, s.store.forgotten); d != "" || len(s.store.revoked) != 1 || s.store.revoked[0].Ref.Value != agentOnline {
				t.Errorf("forgotten %v, revoked %+v", s.store.forgotten, s.store.revoked)
			}
			if e := s.store.events[len(s.store.events)-1]; e.TargetKind+"/"+e.Target != path {
				t.Errorf("event %+v", e)
			}
		})
	}
}

func TestWhoMayDeleteNodesMayNotDeleteDatabases(t *testing.T) {
	s := newSite(t, resource.Role{Metadata: resource.Metadata{Name: "nodes", Scope: "/"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"node"}, Verbs: []string{"*"}}}}}})
	s.store.hold("node/a", agentOnline, nil)
	s.store.hold("db/b", "agt_01hv0000000000000000000001", nil)
	bob := s.user("bob", "nodes")
	if status, p, _ := s.call(bob, http.MethodDelete, "/v1/admin/resources/db/b", ""); status != http.StatusForbidden || len(s.store.resources) != 2 {
		t.Errorf("a database: %d %+v", status, p)
	}
	if status, p, _ := s.call(bob, http.MethodDelete, "/v1/admin/resources/node/a", ""); status != http.StatusOK {
		t.Errorf("a node: %d %+v", status, p)
	}
}

func TestAFunctionDoesNotStartWithAHandlerTooFewOrTooMany(t *testing.T) {
	for name, c := range map[string]api.Config{
		"none":         {Function: "api"},
		"of other tag": {Function: "login", Handlers: map[string]api.Handler{"status": nil}},
	} {
		if _, err := api.New(c); err == nil {
			t.Errorf("%s: started", name)
		}
	}
}

// FuzzRequest: whatever somebody without a credential sends to whatever path is answered by a fault that says what to do,
// and neither changes anything nor reaches a signer.
func FuzzRequest(f *testing.F) {
	for _, r := range wire.Routes {
		f.Add(r.Method, concrete(r), body(r), "application/json", "MIIB", `stile=("@method");created=1`, false)
	}
	f.Add(http.MethodPost, "/v1/join/token", "e30=", "application/json; charset=utf-8", "", "", true)
	f.Add(http.MethodGet, "/v1/admin/resources/role/%2e%2e", "", "text/html", "\xff", "\x00", false)
	f.Fuzz(func(t *testing.T, method, path, body, kind, certificate, signature string, encoded bool) {
		s := newSite(t)
		e := s.request(credential{}, method, path, body)
		e.IsBase64Encoded = encoded
		e.MultiValueHeaders["Content-Type"] = []string{kind}
		for name, value := range map[string]string{names.HeaderCertificate: certificate, "Signature-Input": signature, "Signature": signature, "Content-Digest": signature} {
			if value != "" {
				e.MultiValueHeaders[name] = []string{value}
			}
		}
		status, p, answer := s.serve(e)
		if strings.HasSuffix(path, "/challenge") && status == http.StatusOK {
			return // which anyone may have
		}
		if status < 400 || status >= 500 || p.Hint == "" || s.signed != 0 || len(s.store.resources) != 0 {
			t.Errorf("%s %q: %d %s", method, path, status, answer)
		}
	})
}
