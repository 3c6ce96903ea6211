package publication_test

import (
	"context"
	"crypto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/publication"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// named is a site whose deployment calls the cluster so.
func (s *site) named(name string) *publication.Rotator {
	public := map[string]func(context.Context) (crypto.PublicKey, error){}
	for _, purpose := range clustertest.Purposes {
		public[purpose] = func(context.Context) (crypto.PublicKey, error) { return s.Keys[purpose].Public(), nil }
	}
	root := func(context.Context) (publication.Signer, error) { return s.counting(names.KeyRoot), nil }
	return publication.NewRotator(publication.RotatorConfig{Cluster: s.ID, Name: name, Vault: s.place, Ledger: s.place, Root: root, Public: public, Now: s.tick})
}

func TestTheFirstTrustDocumentFixesTheClustersName(t *testing.T) {
	s := newSite(t)
	first, err := s.named("demo").Rotate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	called := func() string {
		t.Helper()
		trust, err := document.OpenTrust(s.chains[s.head.Trust], "")
		if err != nil {
			t.Fatal(err)
		}
		return trust.Name
	}
	if called() != "demo" {
		t.Errorf("called %q", called())
	}
	_, err = s.named("stile").Rotate(t.Context())
	if f := fault.From(err); f == nil || f.Code != fault.Conflict || !strings.Contains(f.Message, `"demo"`) || !strings.Contains(f.Message, `"stile"`) || !strings.Contains(f.Hint, `ClusterName back to "demo"`) {
		t.Errorf("another name: %v", err)
	}
	// Not even with something else to say.
	s.Keys[names.KeyUserSSH] = clustertest.Key(t)
	if _, err = s.named("stile").Rotate(t.Context()); !fault.Is(err, fault.Conflict) || s.head.Trust != first.Trust || len(s.chains) != 1 {
		t.Errorf("another name and key: %v, at %v with %d chains", err, s.head.Trust, len(s.chains))
	}
	again, err := s.named("demo").Rotate(t.Context())
	if err != nil || !first.Trust.Less(again.Trust) || called() != "demo" {
		t.Errorf("the same name and another key: %v at %v, called %q", err, again.Trust, called())
	}
}

func TestAClusterIsNotCalledWhatNoNameMayEndWith(t *testing.T) {
	for _, name := range []string{"", "Stile", "a b", "a_b", "-a", "a.", strings.Repeat("a", 64)} {
		s := newSite(t)
		_, err := s.named(name).Rotate(t.Context())
		if f := fault.From(err); f == nil || f.Code != fault.BadInput || !strings.Contains(f.Hint, "ClusterName") || len(s.chains)+len(s.events) != 0 {
			t.Errorf("%q: %v with %d chains", name, err, len(s.chains))
		}
	}
	for _, name := range []string{"a", "stile", "demo.example.com", strings.Repeat("a", 63)} {
		s := newSite(t)
		if _, err := s.named(name).Rotate(t.Context()); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A role that can't be kept stops nothing: it is published as it is, and denies its holders everything wherever it is read.
func TestOneBadRoleStopsNoPublication(t *testing.T) {
	for name, bad := range map[string]resource.Role{
		"a pattern in a deny":       {Spec: resource.RoleSpec{Deny: resource.RoleBlock{NodeLabels: resource.Labels{"env": {"pro*"}}}}},
		"an option that is refused": {Spec: resource.RoleSpec{Options: resource.RoleOptions{RequireSessionMFA: true}}},
		"a scope that is none":      {Metadata: resource.Metadata{Scope: "nowhere"}},
		"one that can't be read":    resource.Unreadable(resource.Metadata{Scope: "/"}),
	} {
		t.Run(name, func(t *testing.T) {
			bad.Metadata.Name = "bad"
			bad.Spec.Allow = resource.RoleBlock{Logins: []string{"ubuntu"}, NodeLabels: resource.Labels{"*": {"*"}}}
			s := newSite(t)
			s.rotate(t)
			s.change(role("dev"), bad)
			s.publish(t)
			s.revoke("eve")
			h := s.publish(t)
			state := s.accept(t, document.NewHolder(s.ID, ""))
			if len(state.Policy.Roles) != len(resource.Presets())+2 || state.Policy.Version != h.Policy || !barred(state, h.Revocations.Counter-1) {
				t.Errorf("%d roles of %v, %+v", len(state.Policy.Roles), state.Policy.Version, state.Revocations.Users)
			}
			n := policy.Target{Kind: "node", Name: "n", Labels: map[string]string{"env": "dev"}}
			for roles, want := range map[string]bool{"dev": true, "bad": false, "dev,bad": false} {
				d := state.Roles().Decide(policy.Subject{Roles: strings.Split(roles, ",")}, n, policy.Login("ubuntu"))
				if d.Allowed != want || !want && d.Role != "bad" {
					t.Errorf("%s: %+v", roles, d)
				}
			}
			// Nothing is new about it: the next run renews the stamp alone.
			if again := s.publish(t); again.Policy != h.Policy {
				t.Errorf("%v after %v", again.Policy, h.Policy)
			}
		})
	}
}

// What takes away is marked in the document, for agents that are older than what wrote it.
func TestARoleIsPublishedWithItsLimits(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	limited := role("limited")
	limited.Spec.Options.Fresh = true
	limited.Spec.Deny.Logins = []string{"root"}
	s.change(role("plain"), limited)
	s.publish(t)
	critical := map[string][]string{}
	for _, r := range s.accept(t, document.NewHolder(s.ID, "")).Policy.Roles {
		critical[r.Metadata.Name] = r.Critical
	}
	want := map[string][]string{"access": nil, "auditor": nil, "editor": nil, "plain": nil, "limited": {"spec.options.fresh", "spec.deny.logins"}}
	if d := cmp.Diff(want, critical); d != "" {
		t.Error(d)
	}
}
