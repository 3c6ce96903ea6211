package api_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/certs/certstest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/signature"
	"github.com/stile-dev/stile/pkg/wire"
)

const agentID = "agt_01hv0000000000000000000000"

// The operations of tag api that a user and a host may call.
const (
	userStatus = "/v1/status"
	userList   = "/v1/targets/node"
	hostStatus = "/v1/host/status"
)

// site serves the operations of tag api, and keeps the calls that got through.
type site struct {
	*clustertest.Cluster
	t      *testing.T
	server *api.Server
	calls  []api.Call
	log    bytes.Buffer
	from   string // the address that calls come from
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{Cluster: clustertest.New(t), t: t, from: "192.0.2.7"}
	keep := func(_ context.Context, c api.Call) (any, error) {
		s.calls = append(s.calls, c)
		return struct{}{}, nil
	}
	var err error
	s.server, err = api.New(api.Config{
		Function: "api", Handlers: map[string]api.Handler{"status": keep, "hostStatus": keep, "agentBinaries": keep, "listTargets": keep, "sessionEvents": keep, "decisionEvents": keep, "listEvents": keep},
		Documents: s.Cluster, Log: slog.New(slog.NewJSONHandler(&s.log, nil)), Now: s.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// credential is a key and a certificate over it.
type credential struct {
	key *ecdsa.PrivateKey
	der []byte
}

func (s *site) host(kind, id string) credential {
	h := identity.Host{Kind: kind, ID: id, Token: "nodes"}
	if kind == identity.KindAgent {
		h.Targets = []identity.Target{{Kind: "node", Name: "node-1"}}
	}
	key, der := s.Host(h, s.Now.Add(time.Hour))
	return credential{key, der}
}

func (s *site) user(name string) credential {
	key, der := s.User(name, "access")
	return credential{key, der}
}

// pinned is the credential of a user that is good from some addresses alone.
func (s *site) pinned(to string) credential {
	s.t.Helper()
	view, err := s.Fresh(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	key := clustertest.Key(s.t)
	template, err := certs.UserTemplate(certs.UserRequest{
		Identity: identity.User{
			Cluster: s.ID, Certificate: identity.NewID("crt", rand.Reader, s.Now), Name: "ada", UID: "usr_a", Roles: []string{"access"}, SourceAddress: to,
			Versions: view.Head.Versions(), IssuedAt: s.Now,
		},
		TLSKey: &key.PublicKey, From: s.Now, Until: s.Now.Add(time.Hour), Entropy: rand.Reader,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := certstest.SignX509(template.X509, template.TLSKey, s.Keys[names.KeyUserX509])
	if err != nil {
		s.t.Fatal(err)
	}
	return credential{key, der}
}

// edge returns an unsigned event of API Gateway: the path that is routed, and the one that the client asked for.
func edge(path, asked string) events.APIGatewayProxyRequest {
	return events.APIGatewayProxyRequest{
		HTTPMethod: http.MethodGet, Resource: path, Path: path, MultiValueHeaders: map[string][]string{"Host": {"api.example.com"}},
		RequestContext: events.APIGatewayProxyRequestContext{DomainName: "api.example.com", Path: asked, Stage: "prod", RequestID: "req-1"},
	}
}

// get signs a call and gives its status and problem.
func (s *site) get(c credential, path string) (int, wire.Problem) {
	s.t.Helper()
	return s.send(c, path, "/prod"+path)
}

// send is get with what the client asked for and signed told apart from what API Gateway says is to be routed.
func (s *site) send(c credential, path, asked string) (int, wire.Problem) {
	s.t.Helper()
	return s.serve(s.sign(c, edge(path, asked)))
}

// sign adds what makes an event a signed call.
func (s *site) sign(c credential, e events.APIGatewayProxyRequest) events.APIGatewayProxyRequest {
	s.t.Helper()
	e.RequestContext.Identity.SourceIP = s.from
	if c.key != nil {
		query, err := signature.Query(e.MultiValueQueryStringParameters)
		if err != nil {
			s.t.Fatal(err)
		}
		e.MultiValueHeaders[names.HeaderCertificate] = []string{base64.StdEncoding.EncodeToString(c.der)}
		headers, err := signature.Sign(signature.Message{
			Method: http.MethodGet, Authority: "api.example.com", Path: e.RequestContext.Path, Query: query,
			Header: func(name string) []string { return e.MultiValueHeaders[http.CanonicalHeaderKey(name)] },
		}, c.key, signature.Params{Created: s.Now, Nonce: rand.Text(), KeyID: signature.KeyID(&c.key.PublicKey)})
		if err != nil {
			s.t.Fatal(err)
		}
		for k, v := range headers {
			e.MultiValueHeaders[k] = []string{v}
		}
	}
	return e
}

// serve returns the status of a call and, if it failed, its problem document.
func (s *site) serve(e events.APIGatewayProxyRequest) (int, wire.Problem) {
	s.t.Helper()
	resp, err := s.server.Serve(s.t.Context(), e)
	if err != nil {
		s.t.Fatal(err)
	}
	var p wire.Problem
	if resp.StatusCode != http.StatusOK {
		if err := json.Unmarshal([]byte(resp.Body), &p); err != nil {
			s.t.Fatal(err)
		}
	}
	return resp.StatusCode, p
}

// passes wants a call to get through, and gives it.
func (s *site) passes(c credential, path string) api.Call {
	s.t.Helper()
	before := len(s.calls)
	if status, p := s.get(c, path); status != http.StatusOK || len(s.calls) != before+1 {
		s.t.Fatalf("%s: %d %+v", path, status, p)
	}
	return s.calls[before]
}

// refused wants a call to reach no handler, and nobody to be established: not even in the log.
func (s *site) refused(c credential, path string, code fault.Code) wire.Problem {
	s.t.Helper()
	s.log.Reset()
	before := len(s.calls)
	status, p := s.get(c, path)
	if status != code.HTTP() || p.Code != string(code) || p.Hint == "" || len(s.calls) != before {
		s.t.Errorf("%s: %d %+v after %d calls, want %s", path, status, p, len(s.calls)-before, code)
	}
	for _, who := range []string{`"user":`, `"agent":`, `"proxy":`, `"certificate_id":`} {
		if strings.Contains(s.log.String(), who) {
			s.t.Errorf("%s: the log says who called though nobody is established: %s", path, &s.log)
		}
	}
	return p
}

func TestAHostCallsWhatIsForHosts(t *testing.T) {
	for kind, id := range map[string]string{identity.KindAgent: agentID, identity.KindProxy: "prx_01hv0000000000000000000000"} {
		t.Run("a "+kind, func(t *testing.T) {
			s := newSite(t)
			c := s.passes(s.host(kind, id), hostStatus)
			if c.Host.Kind != kind || c.Host.ID != id || !cmp.Equal(c.User, identity.User{}) {
				t.Errorf("called by %+v and %+v", c.Host, c.User)
			}
			if !c.Expires.Equal(s.Now.Add(time.Hour)) || !strings.Contains(c.Nonce, "#") || c.View.State.Trust.Cluster != s.ID || c.SourceIP != s.from {
				t.Errorf("%+v", c)
			}
			if !strings.Contains(s.log.String(), `"`+kind+`":"`+id+`"`) {
				t.Errorf("the log says %s", &s.log)
			}
		})
	}
}

func TestAUserCallsWhatIsForUsers(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{userStatus, userList} {
		c := s.passes(s.user("ada"), path)
		if c.User.Name != "ada" || !cmp.Equal(c.Host, identity.Host{}) || !c.Expires.Equal(s.Now.Add(time.Hour)) {
			t.Errorf("called by %+v and %+v", c.User, c.Host)
		}
	}
}

// API Gateway passes the path twice, and each differs with the name that the API was called by. What was signed is
// routed, whatever stands in front of it and whatever the other one says.
func TestThePathThatWasSignedIsRoutedUnderEveryName(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada")
	for name, c := range map[string]struct{ path, asked string }{
		"API Gateway's own name":          {userStatus, "/prod" + userStatus},
		"a domain name":                   {userStatus, userStatus},
		"a domain name and a base path":   {"/access" + userStatus, "/access" + userStatus},
		"a base path of several segments": {"/a/b" + userStatus, "/a/b" + userStatus},
		"a mapping without a stage":       {"/access/prod" + userStatus, "/access/prod" + userStatus},
		"a path that was decoded":         {"/v1/nodes/ö", "/prod" + userStatus},
		"another path":                    {userList, "/prod" + userStatus},
	} {
		e := edge(c.path, c.asked)
		e.Resource = userStatus
		before := len(s.calls)
		if status, p := s.serve(s.sign(ada, e)); status != http.StatusOK || len(s.calls) != before+1 || s.calls[before].Route.Pattern != userStatus {
			t.Errorf("%s: %d %+v", name, status, p)
		}
	}
	for name, c := range map[string]struct{ resource, asked string }{
		"no resource":                  {"", "/prod" + userStatus},
		"a resource of any length":     {"/v1/{proxy+}", "/prod" + userStatus},
		"a longer resource":            {"/v1/targets/{kind}/{name}", userStatus},
		"no path":                      {userStatus, ""},
		"no slash in front":            {userStatus, "prod" + userStatus},
		"a way back in the base path":  {userStatus, "/a/.." + userStatus},
		"a query in the base path":     {userStatus, "/a?b=" + userStatus},
		"two slashes before the route": {userStatus, "/prod/" + userStatus},
	} {
		e := edge(userStatus, c.asked)
		e.Resource = c.resource
		before := len(s.calls)
		if c.asked != "" {
			e = s.sign(ada, e)
		}
		if status, p := s.serve(e); status != http.StatusNotFound || p.Hint == "" || len(s.calls) != before {
			t.Errorf("%s: %d %+v", name, status, p)
		}
	}
}

func TestOnlyWhatIsDocumentedIsRouted(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada")
	for name, c := range map[string]struct{ method, path string }{
		"nothing":                    {http.MethodGet, ""},
		"the root":                   {http.MethodGet, "/"},
		"another version":            {http.MethodGet, "/v2/status"},
		"a slash behind":             {http.MethodGet, "/v1/status/"},
		"two slashes":                {http.MethodGet, "/v1//status"},
		"a dot segment":              {http.MethodGet, "/v1/./status"},
		"a way back":                 {http.MethodGet, "/v1/targets/../status"},
		"an empty parameter":         {http.MethodGet, "/v1/targets/"},
		"an encoded slash":           {http.MethodGet, "/v1/targets/a%2Fb"},
		"encoded dots":               {http.MethodGet, "/v1/targets/%2e%2e"},
		"a query in the path":        {http.MethodGet, "/v1/status?limit=1"},
		"a fragment in the path":     {http.MethodGet, "/v1/status#a"},
		"a broken escape":            {http.MethodGet, "/v1/targets/%zz"},
		"a control character":        {http.MethodGet, "/v1/targets/a\nb"},
		"no slash in front":          {http.MethodGet, "v1/status"},
		"another host in the path":   {http.MethodGet, "//evil.example.com/v1/status"},
		"another function's":         {http.MethodGet, "/v1/admin/resources/role"},
		"another case":               {http.MethodGet, "/v1/Status"},
		"HEAD, which the mux allows": {http.MethodHead, "/v1/status"},
		"a method of small letters":  {"get", "/v1/status"},
		"no method":                  {"", "/v1/status"},
		"a method that is none":      {"GET /v1/status", "/v1/status"},
		"another method":             {http.MethodPost, "/v1/status"},
	} {
		e := edge(c.path, "/prod"+c.path)
		e.HTTPMethod = c.method
		if !strings.Contains(c.path, "\n") { // which nobody can sign
			e = s.sign(ada, e)
		}
		before := len(s.calls)
		if status, p := s.serve(e); status != http.StatusNotFound || p.Code != "not_found" || p.Hint == "" || len(s.calls) != before {
			t.Errorf("%s: %d %+v", name, status, p)
		}
	}
	e := edge(userStatus, "/prod"+userStatus)
	e.HTTPMethod = http.MethodDelete
	if _, p := s.serve(e); p.Detail != `there is no "DELETE" on this path` {
		t.Errorf("%+v", p)
	}
	if c := s.passes(ada, "/v1/targets/n%C3%B6de"); c.Params["kind"] != "nöde" {
		t.Errorf("%v", c.Params)
	}
}

// The adapter can pass an event on in headers: nobody may send those, and nothing of them is believed.
func TestHeadersOfTheAdapterAreRefused(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"X-GoLambdaProxy-ApiGw-Context", "x-golambdaproxy-apigw-stagevars", "X-GOLAMBDAPROXY-ANYTHING"} {
		e := edge(userStatus, "/prod"+userStatus)
		e.MultiValueHeaders[name] = []string{`{"identity":{"sourceIp":"10.0.0.1"}}`}
		if status, p := s.serve(s.sign(s.user("ada"), e)); status != http.StatusBadRequest || !strings.Contains(p.Detail, name) || len(s.calls) != 0 {
			t.Errorf("%s: %d %+v", name, status, p)
		}
	}
}

func TestARequestWithoutAnEventIsRefused(t *testing.T) {
	s := newSite(t)
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, userStatus, nil))
	if w.Code != http.StatusInternalServerError || len(s.calls) != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAQueryIsSignedAndWhatIsNotDocumentedRefused(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada")
	with := func(path string, query map[string][]string) events.APIGatewayProxyRequest {
		e := edge(path, "/prod"+path)
		e.MultiValueQueryStringParameters = query
		return e
	}
	if status, p := s.serve(s.sign(ada, with(userList, map[string][]string{"limit": {"7"}, "cursor": {"YQ"}}))); status != http.StatusOK {
		t.Fatalf("%d %+v", status, p)
	}
	if page, err := s.calls[0].Page(); err != nil || page != (api.Page{After: "a", Limit: 7}) || len(s.calls[0].Query) != 2 {
		t.Errorf("%+v, %v", page, err)
	}
	for name, c := range map[string]struct {
		path     string
		sent, by map[string][]string // what is signed, and what arrives
		status   int
	}{
		"another value":            {userList, map[string][]string{"limit": {"7"}}, map[string][]string{"limit": {"8"}}, http.StatusUnauthorized},
		"one more":                 {userList, map[string][]string{"limit": {"7"}}, map[string][]string{"limit": {"7"}, "cursor": {"YQ"}}, http.StatusUnauthorized},
		"one less":                 {userList, map[string][]string{"limit": {"7"}, "cursor": {"YQ"}}, map[string][]string{"limit": {"7"}}, http.StatusUnauthorized},
		"one twice":                {userList, map[string][]string{"limit": {"7"}}, map[string][]string{"limit": {"7", "7"}}, http.StatusBadRequest},
		"one that is unknown":      {userList, map[string][]string{"all": {"1"}}, map[string][]string{"all": {"1"}}, http.StatusBadRequest},
		"one of another operation": {userStatus, map[string][]string{"limit": {"7"}}, map[string][]string{"limit": {"7"}}, http.StatusBadRequest},
		"the same in capitals":     {userList, map[string][]string{"LIMIT": {"7"}}, map[string][]string{"LIMIT": {"7"}}, http.StatusBadRequest},
		"a name that is empty":     {userList, nil, map[string][]string{"": {"7"}}, http.StatusBadRequest},
	} {
		e := s.sign(ada, with(c.path, c.sent))
		e.MultiValueQueryStringParameters = c.by
		before := len(s.calls)
		if status, p := s.serve(e); status != c.status || p.Hint == "" || len(s.calls) != before {
			t.Errorf("%s: %d %+v", name, status, p)
		}
	}
}

func TestPagesOfNoSizeAndForeignCursorsAreRefused(t *testing.T) {
	for _, query := range []map[string]string{
		{"limit": "0"},
		{"limit": "+5"},
		{"limit": "007"},
		{"limit": "-1"},
		{"limit": "1001"},
		{"limit": "x"},
		{"limit": ""},
		{"cursor": "YQ"},
		{"limit": "1", "cursor": ""},
		{"limit": "1", "cursor": "!"},
		{"limit": "1", "cursor": "YR"},
		{"limit": "1", "cursor": strings.Repeat("YWFh", 86)},
	} {
		if page, err := (api.Call{Query: query}).Page(); !fault.Is(err, fault.BadInput) || fault.From(err).Hint == "" {
			t.Errorf("%v: %+v, %v", query, page, err)
		}
	}
	for _, name := range []string{"a", "ada@example.com", strings.Repeat("n", 64)} {
		if page, err := (api.Call{Query: map[string]string{"limit": "1000", "cursor": api.Cursor(name)}}).Page(); err != nil || page.After != name {
			t.Errorf("%+v, %v", page, err)
		}
	}
	if page, err := (api.Call{}).Page(); err != nil || page != (api.Page{}) || api.Cursor("") != "" {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestAHostIsNoUserAndAUserNoHost(t *testing.T) {
	s := newSite(t)
	s.refused(s.user("ada"), hostStatus, fault.Unauthenticated)
	for _, path := range []string{userStatus, userList} {
		s.refused(s.host(identity.KindAgent, agentID), path, fault.Unauthenticated)
		s.refused(s.host(identity.KindProxy, "prx_01hv0000000000000000000000"), path, fault.Unauthenticated)
	}
	for _, path := range []string{userStatus, userList, hostStatus} {
		s.refused(credential{}, path, fault.Unauthenticated)
		s.refused(credential{clustertest.Key(t), s.user("ada").der}, path, fault.Unauthenticated)
		s.refused(credential{clustertest.Key(t), s.host(identity.KindAgent, agentID).der}, path, fault.Unauthenticated)
	}
	// One authority's key in the place of the other's: what the certificate says of itself doesn't count.
	s.Keys[names.KeyUserX509], s.Keys[names.KeyHostX509] = s.Keys[names.KeyHostX509], s.Keys[names.KeyUserX509]
	s.refused(s.user("ada"), userStatus, fault.Unauthenticated)
	s.refused(s.user("ada"), hostStatus, fault.Unauthenticated)
	s.refused(s.host(identity.KindAgent, agentID), hostStatus, fault.Unauthenticated)
	s.refused(s.host(identity.KindAgent, agentID), userStatus, fault.Unauthenticated)
}

func TestAPinnedCertificateIsGoodFromItsAddressAlone(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		to, from string
		passes   bool
	}{
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "::ffff:192.0.2.7", true},
		{"192.0.2.7,2001:db8::/64", "2001:db8::1", true},
		{"192.0.2.7", "192.0.2.8", false},
		{"192.0.2.7", "192.0.2.70", false},
		{"192.0.2.7", "2001:db8::1", false},
		{"192.0.2.7", "", false},
		{"0.0.0.0/0", "", false},
		{"192.0.2.7", "192.0.2.7:443", false},
		{"::/0", "not an address", false},
		{"", "198.51.100.1", true},
		{"", "", true},
	} {
		s.from = c.from
		who := s.pinned(c.to)
		if c.passes {
			if got := s.passes(who, userStatus).User.SourceAddress; got != c.to {
				t.Errorf("pinned to %q", got)
			}
			continue
		}
		if p := s.refused(who, userStatus, fault.Denied); !strings.Contains(p.Detail, "pinned to another address") {
			t.Errorf("pinned to %q, from %q: %+v", c.to, c.from, p)
		}
	}
}

func TestTheRevokedAndTheLockedAreToldApartWhoeverTheyAre(t *testing.T) {
	ada, agent := "ada", agentID
	for name, c := range map[string]struct {
		r          document.Revocations
		bar        []identity.Ref
		user, host fault.Code // "" for who passes
		hint       string
	}{
		"a user is revoked":  {document.Revocations{}, []identity.Ref{{Target: "user", Value: ada}}, fault.Unauthenticated, "", "stile login"},
		"an agent is":        {document.Revocations{}, []identity.Ref{{Target: "agent", Value: agent}}, "", fault.Unauthenticated, "empty the agent's state directory"},
		"a user is locked":   {document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "user", Value: ada}}}, nil, fault.Denied, "", "lck_1"},
		"an agent is locked": {document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "agent", Value: agent}}}, nil, "", fault.Denied, "lck_1"},
		"a token is locked":  {document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "token", Value: "nodes"}}}, nil, "", fault.Denied, "lck_1"},
		"a role is locked":   {document.Revocations{Locks: []document.Lock{{ID: "lck_1", Target: "role", Value: "access"}}}, nil, fault.Denied, "", "lck_1"},
		"nobody is":          {document.Revocations{}, nil, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			user, host := s.user(ada), s.host(identity.KindAgent, agent)
			s.passes(user, userStatus)
			s.passes(host, hostStatus)
			if s.Cluster.Revoke(c.r); c.bar != nil {
				s.Bar(c.bar...)
			}
			for _, who := range []struct {
				credential credential
				path       string
				code       fault.Code
			}{{user, userStatus, c.user}, {user, userList, c.user}, {host, hostStatus, c.host}} {
				if who.code == "" {
					s.passes(who.credential, who.path)
					continue
				}
				if p := s.refused(who.credential, who.path, who.code); !strings.Contains(p.Hint, c.hint) {
					t.Errorf("hint %q", p.Hint)
				}
			}
		})
	}
}

// older returns documents from before a certificate was issued.
type older struct{ view document.View }

func (o older) Fresh(context.Context) (document.View, error) { return o.view, nil }

func TestDocumentsThatAreOlderThanTheCertificateJudgeNobody(t *testing.T) {
	s := newSite(t)
	view, err := s.Fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	never := func(context.Context, api.Call) (any, error) { t.Error("a call got through"); return struct{}{}, nil }
	s.server, err = api.New(api.Config{
		Function: "api", Handlers: map[string]api.Handler{"status": never, "hostStatus": never, "agentBinaries": never, "listTargets": never, "sessionEvents": never, "decisionEvents": never, "listEvents": never},
		Documents: older{view}, Log: slog.New(slog.NewJSONHandler(&s.log, nil)), Now: s.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Publish()
	s.refused(s.user("ada"), userStatus, fault.Unavailable)
	if status, p := s.get(s.pinned(""), userStatus); status != http.StatusServiceUnavailable || p.RetryAfter == 0 {
		t.Errorf("%d %+v", status, p)
	}
}

// TestSec_S84_AFunctionThatCannotDecideSaysWhy: no handler is reached, and the answer is the fault instead of a dead function.
func TestSec_S84_AFunctionThatCannotDecideSaysWhy(t *testing.T) {
	s := newSite(t)
	never := func(context.Context, api.Call) (any, error) { t.Error("a call got through"); return struct{}{}, nil }
	handlers := map[string]api.Handler{"status": never, "hostStatus": never, "agentBinaries": never, "listTargets": never, "sessionEvents": never, "decisionEvents": never, "listEvents": never}
	var err error
	s.server, err = api.New(api.Config{
		Function: "api", Handlers: api.Refusing(handlers, fault.New(fault.Internal, "the deployment is wrong", "deploy again")),
		Documents: s.Cluster, Log: slog.New(slog.NewJSONHandler(&s.log, nil)), Now: s.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	if status, p := s.get(s.user("ada"), userStatus); status != http.StatusInternalServerError || p.Detail != "the deployment is wrong" || p.Hint != "deploy again" {
		t.Errorf("%d %+v", status, p)
	}
}

// TestSec_S67_ASignatureIsForThisAPIsHost: what was signed for another host is not taken, whatever the Host header says;
// nor is anything when API Gateway names no domain.
func TestSec_S67_ASignatureIsForThisAPIsHost(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada")
	for domain, want := range map[string]int{"api.example.com": 200, "API.example.com": 200, "other.example.com": 401, "": 401} {
		e := edge(userStatus, "/prod"+userStatus)
		e.RequestContext.DomainName = domain
		if status, p := s.serve(s.sign(ada, e)); status != want {
			t.Errorf("signed for api.example.com, at %q: %d, %+v", domain, status, p)
		}
	}
	e := s.sign(ada, edge(userStatus, "/prod"+userStatus))
	e.RequestContext.DomainName, e.MultiValueHeaders["Host"] = "other.example.com", []string{"other.example.com"}
	if status, _ := s.serve(e); status != 401 {
		t.Errorf("passed on to another host: %d", status)
	}
	e = s.sign(ada, edge(userStatus, "/prod"+userStatus))
	e.MultiValueHeaders["Host"] = []string{"other.example.com"}
	if status, _ := s.serve(e); status != 401 {
		t.Errorf("with another Host header: %d", status)
	}
}
