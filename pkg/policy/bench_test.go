package policy_test

import (
	"fmt"
	"testing"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/policy"
)

// fifty is a subject with fifty roles of which only the last lets it in, and four deny something else.
func fifty(tb testing.TB) (*policy.Set, policy.Subject, policy.Node) {
	tb.Helper()
	var all []access.Role
	sub := policy.Subject{Traits: map[string][]string{"logins": {"alice", "ubuntu"}}}
	for i := range 50 {
		r := access.Role{Metadata: access.Metadata{Name: fmt.Sprintf("r%02d", i), Scope: "/"}}
		r.Spec.Allow.Logins = []string{"ubuntu", "{{internal.logins}}"}
		r.Spec.Allow.NodeLabels = map[string][]string{"env": {"dev", "staging"}, "team": {fmt.Sprintf("t%02d", i)}}
		if i%12 == 0 {
			r.Spec.Deny = access.RoleBlock{Logins: []string{"root"}, NodeLabels: map[string][]string{"env": {"prod"}}}
		}
		all = append(all, r)
		sub.Roles = append(sub.Roles, r.Metadata.Name)
	}
	set, err := policy.Compile(all)
	if err != nil {
		tb.Fatal(err)
	}
	return set, sub, policy.Node{Name: "n", Scope: "/", Labels: map[string]string{"env": "dev", "team": "t49"}}
}

// The budget is 2 µs a decision.
func BenchmarkLogin50Roles(b *testing.B) {
	set, sub, n := fifty(b)
	b.ReportAllocs()
	for b.Loop() {
		if !set.AllowsLogin(sub, n, "alice") {
			b.Fatal("denied")
		}
	}
}

func BenchmarkLogin50RolesTraced(b *testing.B) {
	set, sub, n := fifty(b)
	b.ReportAllocs()
	for b.Loop() {
		if !set.Login(sub, n, "alice").Allowed {
			b.Fatal("denied")
		}
	}
}

func TestTheBooleanPathAllocatesNothing(t *testing.T) {
	set, sub, n := fifty(t)
	if got := testing.AllocsPerRun(100, func() { set.AllowsLogin(sub, n, "alice") }); got > 0 {
		t.Errorf("%v allocations", got)
	}
}
