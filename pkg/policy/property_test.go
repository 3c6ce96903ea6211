package policy_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/policy"
)

// The alphabet is small, so that roles, nodes and logins meet.
var (
	someLogins = []string{"root", "ubuntu", "alice", "svc-web"}
	someTexts  = append([]string{"{{internal.logins}}", "{{external.more}}", "svc-{{internal.team}}"}, someLogins...)
	someKeys   = []string{"env", "team"}
	someValues = []string{"dev", "prod", "web"}
	someScopes = []string{"/", "/", "/", "/a", "/a/b", "/ab"}
)

// TestMain draws more than rapid's hundred, which a small alphabet makes cheap.
func TestMain(m *testing.M) {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["rapid.checks"] {
		if err := flag.Set("rapid.checks", "3000"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func drawSelector(t *rapid.T, what string) map[string][]string {
	switch rapid.IntRange(0, 7).Draw(t, what+" form") {
	case 0:
		return nil
	case 1, 2, 3:
		return map[string][]string{"*": {"*"}}
	}
	return rapid.MapOfN(rapid.SampledFrom(someKeys), rapid.SliceOfN(rapid.SampledFrom(append([]string{"*"}, someValues...)), 1, 2), 0, 2).Draw(t, what)
}

func drawRole(t *rapid.T, name string) access.Role {
	r := access.Role{Metadata: access.Metadata{Name: name, Scope: rapid.SampledFrom(someScopes).Draw(t, "scope of "+name)}}
	r.Spec.Allow.Logins = rapid.SliceOfN(rapid.SampledFrom(someTexts), 0, 3).Draw(t, "allowed logins of "+name)
	r.Spec.Allow.NodeLabels = drawSelector(t, "allowed labels of "+name)
	if rapid.IntRange(0, 4).Draw(t, name+" denies") == 0 {
		r.Spec.Deny.Logins = rapid.SliceOfN(rapid.SampledFrom(append([]string{"*"}, someTexts...)), 0, 2).Draw(t, "denied logins of "+name)
		r.Spec.Deny.NodeLabels = drawSelector(t, "denied labels of "+name)
	}
	return r
}

type world struct {
	roles []access.Role
	sub   policy.Subject
	node  policy.Node
	login string
}

func drawWorld(t *rapid.T) world {
	var w world
	for i := range rapid.IntRange(1, 5).Draw(t, "roles") {
		w.roles = append(w.roles, drawRole(t, fmt.Sprintf("r%d", i)))
	}
	w.sub.Roles = rapid.SliceOfN(rapid.SampledFrom([]string{"r0", "r0", "r1", "r1", "r2", "r3", "r4", "r9"}), 0, 8).Draw(t, "the subject's roles")
	w.sub.Traits = rapid.MapOfN(rapid.SampledFrom([]string{"logins", "more", "team"}), rapid.SliceOfN(rapid.SampledFrom(append([]string{"web", "a,b", "*", ""}, someLogins...)), 0, 2), 0, 3).Draw(t, "traits")
	w.node = policy.Node{
		Name: "n", Scope: rapid.SampledFrom(someScopes).Draw(t, "the node's scope"),
		Labels: rapid.MapOfN(rapid.SampledFrom(someKeys), rapid.SampledFrom(someValues), 0, 2).Draw(t, "the node's labels"),
	}
	w.login = rapid.SampledFrom(append([]string{"a,b", "*", "", "root", "ubuntu"}, someLogins...)).Draw(t, "login")
	return w
}

func compile(t *rapid.T, roles []access.Role) *policy.Set {
	set, err := policy.Compile(roles)
	if err != nil {
		t.Fatalf("compiling: %v", err)
	}
	return set
}

// reference decides as the design says it, in the plainest way, without sharing a line with the evaluator.
func reference(w world) bool {
	allowed, denied := false, false
	for _, r := range w.roles {
		holds := false
		for _, name := range w.sub.Roles {
			holds = holds || name == r.Metadata.Name
		}
		atOrBelow := r.Metadata.Scope == "/" || strings.HasPrefix(w.node.Scope+"/", r.Metadata.Scope+"/")
		if !holds || !atOrBelow {
			continue
		}
		allow, deny := r.Spec.Allow, r.Spec.Deny
		if refLogin(allow.Logins, w) && refLabels(allow.NodeLabels, w.node.Labels) {
			allowed = true
		}
		speaksOfLogins, speaksOfLabels := len(deny.Logins) > 0, len(deny.NodeLabels) > 0
		loginHit, labelHit := refLogin(deny.Logins, w), refLabels(deny.NodeLabels, w.node.Labels)
		switch {
		case speaksOfLogins && speaksOfLabels:
			denied = denied || loginHit && labelHit
		case speaksOfLogins:
			denied = denied || loginHit
		case speaksOfLabels:
			denied = denied || labelHit
		}
	}
	return allowed && !denied
}

func refLogin(texts []string, w world) bool {
	for _, text := range texts {
		var stands []string
		switch text {
		case "*":
			return true
		case "{{internal.logins}}":
			stands = w.sub.Traits["logins"]
		case "{{external.more}}":
			stands = w.sub.Traits["more"]
		case "svc-{{internal.team}}":
			for _, v := range w.sub.Traits["team"] {
				stands = append(stands, "svc-"+v)
			}
		default:
			stands = []string{text}
		}
		for _, s := range stands {
			if s == w.login && s != "" && !strings.ContainsAny(s, ",*") {
				return true
			}
		}
	}
	return false
}

func refLabels(selector map[string][]string, labels map[string]string) bool {
	if len(selector) == 0 {
		return false
	}
	for key, values := range selector {
		if key == "*" {
			continue
		}
		have, ok := labels[key]
		hit := false
		for _, v := range values {
			hit = hit || ok && (v == "*" || v == have)
		}
		if !hit {
			return false
		}
	}
	return true
}

func TestPropertyTheEvaluatorAgreesWithTheReference(t *testing.T) {
	allowed := 0
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		set := compile(t, w.roles)
		want := reference(w)
		if d := set.Login(w.sub, w.node, w.login); d.Allowed != want {
			t.Fatalf("Login gives %t, the reference %t: %s", d.Allowed, want, d.Reason)
		}
		if got := set.AllowsLogin(w.sub, w.node, w.login); got != want {
			t.Fatalf("AllowsLogin gives %t, the reference %t", got, want)
		}
		logins := set.Logins(w.sub, w.node)
		if slices.Contains(logins, w.login) != want {
			t.Fatalf("Logins gives %v, the reference %t", logins, want)
		}
		if set.Reaches(w.sub, w.node) != (len(logins) > 0) {
			t.Fatalf("Reaches disagrees with Logins %v", logins)
		}
		for _, l := range logins {
			if !slices.Contains(set.Principals(w.sub), l) {
				t.Fatalf("login %s is allowed and no principal", l)
			}
		}
		if want {
			allowed++
		}
	})
	if allowed < 20 {
		t.Errorf("only %d drawn worlds allowed anything: the property says little", allowed)
	}
}

func TestPropertyDenyAlwaysWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		deny := access.Role{Metadata: access.Metadata{Name: "deny", Scope: "/"}, Spec: access.RoleSpec{Deny: access.RoleBlock{NodeLabels: map[string][]string{"*": {"*"}}}}}
		w.roles, w.sub.Roles = append(w.roles, deny), append(w.sub.Roles, "deny")
		set := compile(t, w.roles)
		if set.Login(w.sub, w.node, w.login).Allowed || set.AllowsLogin(w.sub, w.node, w.login) || set.Reaches(w.sub, w.node) {
			t.Fatal("allowed in spite of a deny of everything")
		}
	})
}

func TestPropertyAddingADenyNeverAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		before := compile(t, w.roles).AllowsLogin(w.sub, w.node, w.login)
		more := drawRole(t, "more")
		more.Spec.Allow = access.RoleBlock{}
		more.Spec.Deny.Logins = rapid.SliceOfN(rapid.SampledFrom(someTexts), 0, 2).Draw(t, "denied logins")
		w.roles, w.sub.Roles = append(w.roles, more), append(w.sub.Roles, "more")
		if after := compile(t, w.roles).AllowsLogin(w.sub, w.node, w.login); after && !before {
			t.Fatal("a role that only denies allowed something")
		}
	})
}

func TestPropertyOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		first := compile(t, w.roles).Login(w.sub, w.node, w.login)
		w.roles = rapid.Permutation(w.roles).Draw(t, "roles in another order")
		w.sub.Roles = rapid.Permutation(w.sub.Roles).Draw(t, "the subject's roles in another order")
		second := compile(t, w.roles).Login(w.sub, w.node, w.login)
		if first.Allowed != second.Allowed || first.Reason != second.Reason || !slices.Equal(first.Trace, second.Trace) {
			t.Fatalf("%+v and %+v", first, second)
		}
	})
}

// Nobody is given what no role of theirs gives: with fewer roles that only allow, never more; with traits of
// their own making, never a login that no role writes.
func TestSec_S45_NoRightsBeyondTheRoles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		set := compile(t, w.roles)
		if !set.AllowsLogin(w.sub, w.node, w.login) {
			return
		}
		alone := false
		for _, name := range w.sub.Roles {
			one := w.sub
			one.Roles = []string{name}
			alone = alone || set.AllowsLogin(one, w.node, w.login)
		}
		if !alone {
			t.Fatal("roles give together what none of them gives")
		}
		nobody := w.sub
		nobody.Roles = nil
		if set.AllowsLogin(nobody, w.node, w.login) {
			t.Fatal("traits alone give something")
		}
		// A role that was taken away from the user, or from the set, gives nothing more (stale grants).
		if d := compile(t, nil).Login(w.sub, w.node, w.login); d.Allowed {
			t.Fatal("roles that are gone still give something")
		}
	})
}

// Stale traits: what a trait gave is gone with the trait.
func TestSec_S45_TraitsCountAsTheyAreNow(t *testing.T) {
	set := roles(t, map[string]string{"own": `{allow: {logins: '{{internal.logins}}', node_labels: {'*': '*'}}}`})
	sub := policy.Subject{Roles: []string{"own"}, Traits: map[string][]string{"logins": {"alice", "root"}}}
	if !set.AllowsLogin(sub, node(""), "root") {
		t.Fatal("the trait gives nothing")
	}
	sub.Traits = map[string][]string{"logins": {"alice"}}
	if set.AllowsLogin(sub, node(""), "root") || slices.Contains(set.Principals(sub), "root") {
		t.Error("the trait is gone, and what it gave isn't")
	}
}
