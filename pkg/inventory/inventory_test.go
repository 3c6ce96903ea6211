package inventory_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/inventory"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/wire"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// site is what is stored and who is there.
type site struct {
	held []resource.Resource
	fail error // of both
}

func (s site) Page(_ context.Context, kind, after string, limit int) ([]resource.Resource, bool, error) {
	var all []resource.Resource
	for _, r := range s.held {
		if r.Kind == kind && r.Metadata.Name > after {
			all = append(all, r)
		}
	}
	more := limit > 0 && len(all) > limit
	if more {
		all = all[:limit]
	}
	return all, more, s.fail
}

func (s site) Presence(_ context.Context, at time.Time) (inventory.Presence, error) {
	if !at.Equal(now) {
		return inventory.Presence{}, errors.New("of another time")
	}
	return inventory.Presence{Proxies: []string{"proxy-1:443", "proxy-2:443"}, Agents: map[string][]string{"agt_1": {"proxy-2:443"}}}, s.fail
}

func target(kind, name, scope, agent string, labels map[string]string) resource.Resource {
	return resource.Resource{Kind: kind, Metadata: resource.Metadata{Name: name, Scope: scope}, Spec: &resource.TargetSpec{Agent: agent, Labels: labels}}
}

// query is alice's, who may log in as deploy on what is labelled dev at or below /shop.
func query(kind string) inventory.Query {
	role := resource.Role{Metadata: resource.Metadata{Name: "developer", Scope: "/shop"}, Spec: resource.RoleSpec{
		Allow: resource.RoleBlock{Logins: []string{"deploy"}, NodeLabels: resource.Labels{"env": {"dev"}}},
		Deny:  resource.RoleBlock{Logins: []string{"*"}, NodeLabels: resource.Labels{"team": {"payments"}}},
	}}
	return inventory.Query{
		Kind: kind, User: identity.User{Name: "alice", UID: "usr_1", Roles: []string{"developer"}}, Now: now,
		State: document.State{Policy: document.Policy{Roles: []resource.Role{role}}},
	}
}

var held = []resource.Resource{
	target("node", "api-1", "/shop", "agt_2", map[string]string{"env": "dev"}),
	target("node", "api-2", "/shop", "agt_3", map[string]string{"env": "prod"}),
	target("node", "api-3", "/other", "agt_4", map[string]string{"env": "dev"}),
	target("node", "pay-1", "/shop", "agt_5", map[string]string{"env": "dev", "team": "payments"}),
	target("node", "web-1", "/shop/eu", "agt_1", map[string]string{"env": "dev"}),
	target("node", "web-2", "/shop", "agt_6", nil),
	target("db", "orders", "/shop", "agt_1", map[string]string{"env": "dev"}),
}

func TestAUserSeesWhatTheRolesReachAndWhoHoldsItsTunnel(t *testing.T) {
	got, next, err := inventory.New(inventory.Config{Targets: site{held: held}, Watch: site{}}).List(t.Context(), query("node"))
	if err != nil {
		t.Fatal(err)
	}
	want := wire.TargetList{Proxies: []string{"proxy-1:443", "proxy-2:443"}, Targets: []wire.Target{
		{Kind: "node", Name: "api-1", Labels: map[string]string{"env": "dev"}, Agent: "agt_2", Logins: []string{"deploy"}},
		{Kind: "node", Name: "web-1", Labels: map[string]string{"env": "dev"}, Agent: "agt_1", Logins: []string{"deploy"}, Online: true, Proxies: []string{"proxy-2:443"}},
	}}
	if d := cmp.Diff(want, got); d != "" || next != "" {
		t.Errorf("next %q %s", next, d)
	}
	for _, kind := range []string{"db", "app", "kube"} { // nothing that the user reaches is a list without targets
		got, _, err := inventory.New(inventory.Config{Targets: site{held: held}, Watch: site{}}).List(t.Context(), query(kind))
		if err != nil || got.Targets == nil || len(got.Targets) != 0 {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
	}
}

func TestPagesGoOnBehindWhatWasLookedAt(t *testing.T) {
	i := inventory.New(inventory.Config{Targets: site{held: held}, Watch: site{}})
	var pages [][]string
	q := query("node")
	for q.Limit = 2; ; {
		list, next, err := i.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, target := range list.Targets {
			names = append(names, target.Name)
		}
		pages = append(pages, names)
		if q.After = next; next == "" {
			break
		}
	}
	if !slices.EqualFunc(pages, [][]string{{"api-1"}, {"web-1"}}, slices.Equal) {
		t.Errorf("%v", pages)
	}
}

func TestWhatCanNotBeToldIsNotListed(t *testing.T) {
	away := errors.New("the table is away")
	odd := []resource.Resource{{Kind: "node", Metadata: resource.Metadata{Name: "a"}, Spec: &resource.UserSpec{}}}
	for name, k := range map[string]struct {
		config inventory.Config
		kind   string
		code   fault.Code
	}{
		"a kind that there is not": {inventory.Config{Targets: site{}, Watch: site{}}, "user", fault.NotFound},
		"no presence":              {inventory.Config{Targets: site{held: held}, Watch: site{fail: away}}, "node", fault.Internal},
		"no targets":               {inventory.Config{Targets: site{held: held, fail: away}, Watch: site{}}, "node", fault.Internal},
		"what is no target":        {inventory.Config{Targets: site{held: odd}, Watch: site{}}, "node", fault.Internal},
	} {
		list, next, err := inventory.New(k.config).List(t.Context(), query(k.kind))
		if err == nil || fault.From(err).Code != k.code || !cmp.Equal(list, wire.TargetList{}) || next != "" {
			t.Errorf("%s: %+v, next %q, %v", name, list, next, err)
		}
	}
}
