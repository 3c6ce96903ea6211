package operation_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/front"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/inventory"
	"github.com/stile-dev/stile/pkg/names"
	adminoperation "github.com/stile-dev/stile/pkg/operation/admin"
	"github.com/stile-dev/stile/pkg/operation/join"
	"github.com/stile-dev/stile/pkg/operation/login"
	queryoperation "github.com/stile-dev/stile/pkg/operation/query"
	recordingoperation "github.com/stile-dev/stile/pkg/operation/recording"
	"github.com/stile-dev/stile/pkg/operation/roster"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/query"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/signature"
	"github.com/stile-dev/stile/pkg/wire"
)

// site is all functions with an API on one cluster in memory.
type site struct {
	*clustertest.Cluster
	t       *testing.T
	store   *shelf
	tapes   *tapes
	servers map[string]*api.Server
	log     *bytes.Buffer
	signed  int // calls that reached a signer
}

func newSite(t *testing.T, roles ...resource.Role) *site {
	s := &site{Cluster: clustertest.New(t, roles...), t: t, store: newShelf(), tapes: newTapes(), servers: map[string]*api.Server{}, log: &bytes.Buffer{}}
	logins := front.NewLogins(front.Config[proof.UserRequest, wire.UserCredential]{
		Cluster: s.ID, MAC: s.Cluster, Proxies: proxies{}, Rate: proxies{}, Sign: signer[proof.UserRequest, wire.UserCredential](&s.signed),
	})
	joins := front.NewJoins(front.Config[proof.HostRequest, wire.HostCredential]{
		Cluster: s.ID, MAC: s.Cluster, Proxies: proxies{}, Rate: proxies{}, Sign: signer[proof.HostRequest, wire.HostCredential](&s.signed),
	})
	targets := inventory.New(inventory.Config{Targets: s.store, Watch: s.store})
	s.store.roles = func() []resource.Role {
		view, err := s.Fresh(t.Context())
		if err != nil {
			t.Error(err)
		}
		return slices.Clone(view.State.Policy.Roles)
	}
	desk := admin.New(admin.Config{Cluster: s.ID, Store: s.store, Publisher: s.store, Pace: s.store, Bodies: s.store})
	for function, handlers := range map[string]map[string]api.Handler{
		"login": login.Operations(logins), "join": join.Operations(joins), "api": roster.Operations(targets, s.store, s.store), "admin": adminoperation.Operations(desk),
		"query":     queryoperation.Operations(query.New(query.Config{Lake: &pool{}, Recent: &pool{}, Bodies: &pool{}, Compared: &pool{}, Ledger: s.tapes, Pace: &pool{}, Cluster: s.ID, Entropy: rand.Reader})),
		"recording": recordingoperation.Operations(archive.New(archive.Config{Store: s.tapes, Objects: reel{s.tapes}, Claims: s.tapes, Puts: s.tapes, Denials: s.tapes, Ledger: s.tapes, Cluster: s.ID, Entropy: rand.Reader})),
	} {
		server, err := api.New(api.Config{
			Function: function, Handlers: handlers, Documents: s.Cluster, Log: slog.New(slog.NewJSONHandler(s.log, nil)), Now: s.Clock,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.servers[function] = server
	}
	return s
}

type proxies struct{}

func (proxies) Arrive(context.Context, string, string, time.Time) error { return nil }

func (proxies) Key(context.Context, string, time.Time) ([]byte, error) { return nil, nil }

func (proxies) Addrs(context.Context, time.Time) ([]string, error) { return []string{"proxy:443"}, nil }

// signer returns a signer that counts its calls and refuses.
func signer[Request, Credential any](calls *int) func(context.Context, Request) (Credential, error) {
	return func(context.Context, Request) (out Credential, err error) {
		*calls++
		return out, errors.New("the signer was reached")
	}
}

// shelf is a store of resources in memory.
type shelf struct {
	mu        sync.Mutex
	resources map[string]resource.Resource
	nonces    map[string]bool
	hashes    map[string]string // token → secret's hash
	events    []audit.Event
	revoked   []revoked.Order // by each change that revokes
	forgotten []string        // agents
	input     int64
	span      roster.Span // of events, that was read last
	published int64
	broken    error // of publishing
	behind    int64 // by how much publishing misses the newest change
	fail      error // of the next commit
	persisted bool  // which is written all the same
	roles     func() []resource.Role
}

func (s *shelf) Orders(context.Context, int64, int64) (revoked.Run, error) { return revoked.Run{}, nil }

// Held returns the roles as they are published.
func (s *shelf) Held(_ context.Context, roles []string) ([]resource.Role, error) {
	return slices.DeleteFunc(s.roles(), func(r resource.Role) bool { return !slices.Contains(roles, r.Metadata.Name) }), nil
}

func (s *shelf) Count(context.Context, string, time.Time) error { return nil }

// Keep keeps what events have no room for, which nobody here reads.
func (s *shelf) Keep(context.Context, string) error { return nil }

func newShelf() *shelf {
	return &shelf{resources: map[string]resource.Resource{}, nonces: map[string]bool{}, hashes: map[string]string{}}
}

// Binaries is what a deployment has of the agent.
func (s *shelf) Binaries(context.Context, time.Time) (wire.AgentBinaries, error) {
	return wire.AgentBinaries{Items: []wire.AgentBinary{{Arch: "arm64", URL: "https://s3.example/agent"}}}, nil
}

func (s *shelf) Get(_ context.Context, kind, name string) (resource.Resource, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, found := s.resources[kind+"/"+name]
	return r, found, nil
}

func (s *shelf) List(_ context.Context, kind string) (all []resource.Resource, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.resources {
		if r.Kind == kind {
			all = append(all, r)
		}
	}
	return all, nil
}

func (s *shelf) Roles(ctx context.Context) ([]resource.Role, error) {
	all, err := s.List(ctx, "role")
	return clustertest.Roles(all), err
}

func (s *shelf) Mappings(ctx context.Context) ([]resource.Mapping, error) {
	all, err := s.List(ctx, "iam_mapping")
	return clustertest.Mappings(all), err
}

func (s *shelf) Page(ctx context.Context, kind, after string, limit int) (page []resource.Resource, more bool, _ error) {
	all, _ := s.List(ctx, kind)
	slices.SortFunc(all, func(a, b resource.Resource) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	for _, r := range all {
		if r.Metadata.Name <= after {
			continue
		}
		if limit > 0 && len(page) == limit {
			return page, true, nil
		}
		page = append(page, r)
	}
	return page, false, nil
}

func (s *shelf) Counters(context.Context) (document.Counters, error) {
	return document.Counters{Input: s.input}, nil
}

func (s *shelf) Secret(_ context.Context, token string) (string, error) { return s.hashes[token], nil }

func (s *shelf) Record(_ context.Context, e audit.Event) error {
	s.events = append(s.events, e)
	return e.Validate()
}

func (s *shelf) Commit(_ context.Context, c admin.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fail; err != nil {
		s.fail = nil
		if !s.persisted {
			return err
		}
		_ = s.commit(c)
		return err
	}
	return s.commit(c)
}

func (s *shelf) commit(c admin.Change) error {
	key := c.Resource.Kind + "/" + c.Resource.Metadata.Name
	switch {
	case s.nonces[c.Nonce]:
		return admin.ErrReplayed
	case s.resources[key].Metadata.Revision != c.Was:
		return admin.ErrMoved
	}
	if err := c.Event.Validate(); err != nil {
		return err
	}
	s.nonces[c.Nonce] = true
	s.input++
	s.events = append(s.events, c.Event)
	if c.Secret != nil {
		s.hashes[c.Resource.Metadata.Name] = c.Secret.SHA256
	}
	if c.Revoke != nil {
		s.revoked = append(s.revoked, *c.Revoke)
	}
	s.resources[key] = c.Resource
	if c.Delete {
		delete(s.resources, key)
	}
	for _, t := range c.ForgetTargets {
		delete(s.resources, t.String())
	}
	if c.ForgetAgent != "" {
		s.forgotten = append(s.forgotten, c.ForgetAgent)
	}
	return nil
}

func (s *shelf) Publish(context.Context) (int64, error) {
	if s.broken != nil {
		return 0, s.broken
	}
	s.published = s.input - s.behind
	return s.published, nil
}

func (s *shelf) Targets(_ context.Context, agent string) (all []identity.Target, _ error) {
	for _, key := range slices.Sorted(maps.Keys(s.resources)) {
		r := s.resources[key]
		if spec, ok := r.Spec.(*resource.TargetSpec); ok && spec.Agent == agent {
			all = append(all, identity.Target{Kind: r.Kind, Name: r.Metadata.Name})
		}
	}
	return all, nil
}

// hold puts a target there that an agent holds.
func (s *shelf) hold(target, agent string, labels map[string]string) {
	kind, name, _ := strings.Cut(target, "/")
	s.resources[target] = resource.Resource{Kind: kind, Metadata: resource.Metadata{Name: name, Scope: "/"}, Spec: &resource.TargetSpec{Agent: agent, Labels: labels}}
}

func (s *shelf) Presence(context.Context, time.Time) (inventory.Presence, error) {
	return inventory.Presence{Proxies: []string{"proxy:443"}, Agents: map[string][]string{agentOnline: {"proxy:443"}}}, nil
}

func (s *shelf) snapshot() map[string]resource.Resource { return maps.Clone(s.resources) }

const agentOnline = "agt_01hv0000000000000000000000"

// credential is what a caller signs with; the zero value signs nothing.
type credential struct {
	key *ecdsa.PrivateKey
	der []byte
}

func (s *site) user(name string, roles ...string) credential {
	key, der := s.User(name, roles...)
	return credential{key, der}
}

// request makes a signed event for a path; change may spoil it after it was signed.
func (s *site) request(c credential, method, path, body string) events.APIGatewayProxyRequest {
	s.t.Helper()
	e := events.APIGatewayProxyRequest{
		HTTPMethod: method, Resource: path, Path: path, Body: body,
		MultiValueHeaders: map[string][]string{"Host": {"api.example.com"}},
		RequestContext:    events.APIGatewayProxyRequestContext{DomainName: "api.example.com", Path: "/prod" + path, Stage: "prod", RequestID: "req-1", Identity: events.APIGatewayRequestIdentity{SourceIP: "192.0.2.7"}},
	}
	if body != "" {
		e.MultiValueHeaders["Content-Type"] = []string{"application/json"}
	}
	if c.key == nil {
		return e
	}
	return s.sign(c, e)
}

// sign makes an event a signed call; what is signed already is signed again.
func (s *site) sign(c credential, e events.APIGatewayProxyRequest) events.APIGatewayProxyRequest {
	s.t.Helper()
	query, err := signature.Query(e.MultiValueQueryStringParameters)
	if err != nil {
		s.t.Fatal(err)
	}
	e.MultiValueHeaders[names.HeaderCertificate] = []string{base64.StdEncoding.EncodeToString(c.der)}
	headers, err := signature.Sign(signature.Message{
		Method: e.HTTPMethod, Authority: "api.example.com", Path: e.RequestContext.Path, Query: query, Body: []byte(e.Body),
		Header: func(name string) []string { return e.MultiValueHeaders[http.CanonicalHeaderKey(name)] },
	}, c.key, signature.Params{Created: s.Now, Nonce: rand.Text(), KeyID: signature.KeyID(&c.key.PublicKey)})
	if err != nil {
		s.t.Fatal(err)
	}
	for k, v := range headers {
		e.MultiValueHeaders[k] = []string{v}
	}
	return e
}

// serve answers as the function of the route would.
func (s *site) serve(e events.APIGatewayProxyRequest) (int, wire.Problem, string) {
	s.t.Helper()
	// As the template's integrations lead there: the longest pattern's beginning that the path has.
	function := "api"
	for _, r := range wire.Routes {
		if begin, _, _ := strings.Cut(r.Pattern, "{"); strings.HasPrefix(e.Path, begin) {
			function = r.Function
		}
	}
	resp, err := s.servers[function].Serve(s.t.Context(), e)
	if err != nil {
		s.t.Fatal(err)
	}
	var p wire.Problem
	if resp.StatusCode != http.StatusOK {
		if err := json.Unmarshal([]byte(resp.Body), &p); err != nil {
			s.t.Fatalf("%d without a problem document: %q", resp.StatusCode, resp.Body)
		}
		if http.Header(resp.MultiValueHeaders).Get("Content-Type") != "application/problem+json" || p.Status != resp.StatusCode || p.Detail == "" || p.RequestID != "req-1" {
			s.t.Errorf("problem %+v", p)
		}
	}
	return resp.StatusCode, p, resp.Body
}

// call signs and serves.
func (s *site) call(c credential, method, path, body string) (int, wire.Problem, string) {
	s.t.Helper()
	return s.serve(s.request(c, method, path, body))
}

// concrete returns a path of a route.
func concrete(r wire.Route) string {
	kind := "role"
	if r.Operation == "listTargets" {
		kind = "node"
	}
	return strings.NewReplacer("{kind}", kind, "{name}", "dev", "{session}", "ses_01hv0000000000000000000000", "{decision}", decided, "{query}", "0f0e0d0c-0b0a-4908-8706-050403020100").Replace(r.Pattern)
}
