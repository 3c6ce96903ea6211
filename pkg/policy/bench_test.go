package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// fifty is a subject with fifty roles of which only the last lets it in, and four deny something else.
func fifty(tb testing.TB) (*policy.Set, policy.Subject, policy.Target) {
	tb.Helper()
	var all []resource.Role
	sub := policy.Subject{Traits: map[string][]string{"logins": {"alice", "ubuntu"}}}
	for i := range 50 {
		r := resource.Role{Metadata: resource.Metadata{Name: fmt.Sprintf("r%02d", i), Scope: "/"}}
		r.Spec.Allow.Logins = []string{"ubuntu", "{{internal.logins}}"}
		r.Spec.Allow.NodeLabels = map[string][]string{"env": {"dev", "staging"}, "team": {fmt.Sprintf("t%02d", i)}}
		if i%12 == 0 {
			r.Spec.Deny = resource.RoleBlock{Logins: []string{"root"}, NodeLabels: map[string][]string{"env": {"prod"}}}
		}
		all = append(all, r)
		sub.Roles = append(sub.Roles, r.Metadata.Name)
	}
	set := policy.Compile(all)
	if role, why := set.Barred(sub); why != "" {
		tb.Fatalf("%s: %s", role, why)
	}
	return set, sub, policy.Target{Kind: "node", Name: "n", Scope: "/", Labels: map[string]string{"env": "dev", "team": "t49"}}
}

// The budget is 2 µs a decision.
func BenchmarkLogin50Roles(b *testing.B) {
	set, sub, n := fifty(b)
	use := policy.Login("alice")
	b.ReportAllocs()
	for b.Loop() {
		if !set.AllowsUse(&sub, &n, use) {
			b.Fatal("denied")
		}
	}
}

func BenchmarkLogin50RolesTraced(b *testing.B) {
	set, sub, n := fifty(b)
	b.ReportAllocs()
	for b.Loop() {
		if !set.Decide(sub, n, policy.Login("alice")).Allowed {
			b.Fatal("denied")
		}
	}
}

func TestTheBooleanPathAllocatesNothing(t *testing.T) {
	set, sub, n := fifty(t)
	use := policy.Login("alice")
	if got := testing.AllocsPerRun(100, func() { set.AllowsUse(&sub, &n, use) }); got > 0 {
		t.Errorf("%v allocations", got)
	}
	sub.Grants = []identity.Grant{
		{Request: "req_1", Roles: sub.Roles, Resources: []identity.Target{{Kind: "node", Name: "other"}, {Kind: "node", Name: "n"}}, Until: time.Unix(1, 0)},
	}
	sub.Roles = nil
	if got := testing.AllocsPerRun(100, func() { set.AllowsUse(&sub, &n, use) }); got > 0 || !set.AllowsUse(&sub, &n, use) {
		t.Errorf("%v allocations by a grant", got)
	}
}
