package policy_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// The alphabet is small, so that roles, nodes and logins meet.
var (
	someLogins = []string{"root", "ubuntu", "alice", "svc-web"}
	someTexts  = append([]string{"{{internal.logins}}", "{{external.more}}", "svc-{{internal.team}}"}, someLogins...)
	someKeys   = []string{"env", "team"}
	someValues = []string{"dev", "prod", "web"}
	someScopes = []string{"/", "/", "/", "/a", "/a/b", "/ab"}
	someRoles  = []string{"r0", "r1", "r2", "r3", "r4", "r9"}
	someKinds  = []string{"node", "db", "app", "kube"}
)

// TestMain draws more than rapid's hundred, which a small alphabet makes cheap.
func TestMain(m *testing.M) {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["rapid.checks"] {
		if err := flag.Set("rapid.checks", "6000"); err != nil {
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

// side is one block of a role about one kind of target, for drawing and for the reference: not what the evaluator reads.
type side struct {
	labels *resource.Labels
	names  []*[]string // of each use, in the order of useNames
}

// useNames are what a session says about how it uses a target.
var useNames = map[string][]string{"node": {"login"}, "db": {"database", "user"}, "app": {}, "kube": {"group"}}

func sideOf(b *resource.RoleBlock, kind string) side {
	switch kind {
	case "node":
		return side{&b.NodeLabels, []*[]string{&b.Logins}}
	case "db":
		return side{&b.DBLabels, []*[]string{&b.DBNames, &b.DBUsers}}
	case "app":
		return side{&b.AppLabels, nil}
	}
	return side{&b.KubernetesLabels, []*[]string{&b.KubernetesGroups}}
}

func drawRole(t *rapid.T, name string) resource.Role {
	r := resource.Role{Metadata: resource.Metadata{Name: name, Scope: rapid.SampledFrom(someScopes).Draw(t, "scope of "+name)}}
	denies := rapid.IntRange(0, 4).Draw(t, name+" denies") == 0
	for _, kind := range someKinds {
		what := " of " + kind + "s of " + name
		allow, deny := sideOf(&r.Spec.Allow, kind), sideOf(&r.Spec.Deny, kind)
		*allow.labels = drawSelector(t, "allowed labels"+what)
		for i, list := range allow.names {
			texts, most := someTexts, 3
			if kind != "node" {
				texts, most = append([]string{"root", "ubuntu"}, texts...), 5
			}
			if useNames[kind][i] == "database" {
				texts = append([]string{"*", "*"}, texts...)
			}
			*list = rapid.SliceOfN(rapid.SampledFrom(texts), 0, most).Draw(t, "allowed "+useNames[kind][i]+what)
		}
		if !denies {
			continue
		}
		*deny.labels = drawSelector(t, "denied labels"+what)
		for i, list := range deny.names {
			*list = rapid.SliceOfN(rapid.SampledFrom(append([]string{"*"}, someTexts...)), 0, 2).Draw(t, "denied "+useNames[kind][i]+what)
		}
	}
	if o := rapid.IntRange(0, 5).Draw(t, "outlives of "+name); o > 1 {
		ends := o == 2
		r.Spec.Options.DisconnectExpiredCert = &ends
	}
	r.Spec.Options.Fresh = rapid.IntRange(0, 3).Draw(t, name+" is fresh") == 0
	if rapid.IntRange(0, 24).Draw(t, name+" can't be kept") == 0 {
		r.Spec.Options.RequireSessionMFA = true
	}
	return r
}

func drawGrants(t *rapid.T, target policy.Target) (all []identity.Grant) {
	for i := range rapid.IntRange(0, 3).Draw(t, "grants") {
		what := fmt.Sprintf(" of grant %d", i)
		all = append(all, identity.Grant{
			Request: fmt.Sprintf("req_%d", i), Roles: rapid.SliceOfN(rapid.SampledFrom(someRoles), 1, 2).Draw(t, "roles"+what),
			Resources: rapid.SliceOfN(rapid.SampledFrom([]identity.Target{
				{Kind: target.Kind, Name: target.Name}, {Kind: "node", Name: target.Name}, {Kind: "db", Name: target.Name}, {Kind: target.Kind, Name: "other"},
			}), 0, 2).Draw(t, "resources"+what),
			Until: now.Add(rapid.SampledFrom([]time.Duration{-time.Hour, 0, 1, time.Second, time.Minute, time.Hour}).Draw(t, "life"+what)),
		})
	}
	return all
}

type world struct {
	roles  []resource.Role
	sub    policy.Subject
	target policy.Target
	use    policy.Use
}

func drawWorld(t *rapid.T) world {
	var w world
	for i := range rapid.IntRange(1, 5).Draw(t, "roles") {
		w.roles = append(w.roles, drawRole(t, fmt.Sprintf("r%d", i)))
	}
	w.target = policy.Target{
		Kind: rapid.SampledFrom(append([]string{"node", "node", "db", "db", "db", "kube"}, someKinds...)).Draw(t, "the target's kind"),
		Name: "n", Scope: rapid.SampledFrom(someScopes).Draw(t, "the target's scope"),
		Labels: rapid.MapOfN(rapid.SampledFrom(someKeys), rapid.SampledFrom(someValues), 0, 2).Draw(t, "the target's labels"),
	}
	w.sub.Roles = rapid.SliceOfN(rapid.SampledFrom(append([]string{"r0", "r1"}, someRoles...)), 0, 8).Draw(t, "the subject's roles")
	w.sub.Traits = rapid.MapOfN(rapid.SampledFrom([]string{"logins", "more", "team"}), rapid.SliceOfN(rapid.SampledFrom(append([]string{"web", "a,b", "a b", "*", ""}, someLogins...)), 0, 2), 0, 3).Draw(t, "traits")
	w.sub.Grants, w.sub.Now = drawGrants(t, w.target), now
	w.use = policy.Use{}
	for _, name := range useNames[w.target.Kind] {
		w.use[name] = rapid.SampledFrom(append([]string{"a,b", "a b", "*", "", "root", "root", "ubuntu", "ubuntu"}, someLogins...)).Draw(t, name)
	}
	if rapid.IntRange(0, 30).Draw(t, "a use too many") == 0 {
		w.use["more"] = "x"
	}
	return w
}

func compile(_ *rapid.T, roles []resource.Role) *policy.Set { return policy.Compile(roles) }

// verdict is what the reference says.
type verdict struct {
	allowed, outlives bool
	grants            []string // that it rests on, in their order
	until             time.Time
}

// reference decides as the design says it, in the plainest way, without sharing a line with the evaluator.
func reference(w world) verdict {
	var v verdict
	if len(w.use) != len(useNames[w.target.Kind]) {
		return v
	}
	for _, name := range useNames[w.target.Kind] {
		if w.use[name] == "" || w.use[name] == "*" {
			return v
		}
	}
	denied, permanently, outlives := false, false, true
	for _, name := range w.sub.Roles {
		allows, denies, stays := refRole(w, name)
		v.allowed, permanently, denied = v.allowed || allows, permanently || allows, denied || denies
		outlives = outlives && (!allows || stays)
	}
	for _, g := range w.sub.Grants {
		covers := len(g.Resources) == 0
		for _, r := range g.Resources {
			covers = covers || r.Kind == w.target.Kind && r.Name == w.target.Name
		}
		if !covers || g.Until.Sub(w.sub.Now) <= 0 {
			continue
		}
		if v.until.IsZero() || g.Until.Sub(v.until) < 0 {
			v.until = g.Until
		}
		gives := false
		for _, name := range g.Roles {
			allows, denies, stays := refRole(w, name)
			v.allowed, gives, denied = v.allowed || allows, gives || allows, denied || denies
			outlives = outlives && (!allows || stays)
		}
		if gives {
			v.grants = append(v.grants, g.Request)
		}
	}
	if v.allowed = v.allowed && !denied; !v.allowed || permanently {
		v.grants = nil
	}
	v.outlives = v.allowed && outlives
	return v
}

// refRole is what one role says to whoever holds it.
func refRole(w world, name string) (allows, denies, outlives bool) {
	for _, r := range w.roles {
		if r.Metadata.Name != name {
			continue
		}
		if r.Spec.Options.RequireSessionMFA {
			return false, true, false // recording is not supported: the role denies its holders everything
		}
		if r.Metadata.Scope != "/" && !strings.HasPrefix(w.target.Scope+"/", r.Metadata.Scope+"/") {
			return false, false, false
		}
		allow, deny := sideOf(&r.Spec.Allow, w.target.Kind), sideOf(&r.Spec.Deny, w.target.Kind)
		allows = refLabels(*allow.labels, w.target.Labels)
		for i, list := range allow.names {
			illegal := strings.Contains(w.use[useNames[w.target.Kind][i]], " ") // '*' means what could stand in a list
			allows = allows && refNames(*list, i, w) && !illegal
		}
		// Of what the deny block speaks of, all must match; if it speaks of nothing, it denies nothing.
		speaks, all := len(*deny.labels) > 0, len(*deny.labels) == 0 || refLabels(*deny.labels, w.target.Labels)
		for i, list := range deny.names {
			if len(*list) > 0 {
				speaks, all = true, all && refNames(*list, i, w)
			}
		}
		ends := r.Spec.Options.DisconnectExpiredCert
		return allows, speaks && all, ends != nil && !*ends
	}
	return false, false, false
}

// refNames reports whether a list names the n-th use.
func refNames(texts []string, n int, w world) bool {
	value := w.use[useNames[w.target.Kind][n]]
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
		banned := " *"
		if w.target.Kind == "node" {
			banned = ", *"
		}
		for _, s := range stands {
			if s == value && s != "" && !strings.ContainsAny(s, banned) {
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

// refReaches tries every use that could be: all literals, all that traits make of templates, and one that nobody names.
func refReaches(w world) bool {
	values := append([]string{"nobody-names-it"}, someLogins...)
	for _, list := range w.sub.Traits {
		for _, v := range list {
			values = append(values, v, "svc-"+v)
		}
	}
	uses := []policy.Use{{}}
	for _, name := range useNames[w.target.Kind] {
		var more []policy.Use
		for _, u := range uses {
			for _, v := range values {
				one := maps.Clone(u)
				one[name] = v
				more = append(more, one)
			}
		}
		uses = more
	}
	for _, u := range uses {
		w.use = u
		if reference(w).allowed {
			return true
		}
	}
	return false
}

func TestPropertyTheEvaluatorAgreesWithTheReference(t *testing.T) {
	allowed, byGrants, denied, outlives := map[string]int{}, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		set := compile(t, w.roles)
		want := reference(w)
		d := set.Decide(w.sub, w.target, w.use)
		if d.Allowed != want.allowed {
			t.Fatalf("Decide gives %t, the reference %t: %s", d.Allowed, want.allowed, d.Reason)
		}
		if d.Options.OutliveCertificate != want.outlives || !slices.Equal(d.Grants, want.grants) || !d.Until.Equal(want.until) {
			t.Fatalf("Decide gives %+v, the reference %+v", d, want)
		}
		if got := set.AllowsUse(&w.sub, &w.target, w.use); got != want.allowed {
			t.Fatalf("AllowsUse gives %t, the reference %t", got, want.allowed)
		}
		if got, want := set.Reaches(w.sub, w.target), refReaches(w); got != want {
			t.Fatalf("Reaches gives %t, the reference %t", got, want)
		}
		lists(t, set, w, want.allowed)
		if want.allowed {
			allowed[w.target.Kind]++
		}
		if len(want.grants) > 0 {
			byGrants++
		}
		if !want.until.IsZero() && !want.allowed {
			denied++
		}
		if want.outlives {
			outlives++
		}
	})
	// Some thirty or more of each are drawn as a rule.
	for _, kind := range someKinds {
		if allowed[kind] < 5 {
			t.Errorf("only %d drawn worlds allowed anything on a %s: the property says little", allowed[kind], kind)
		}
	}
	if byGrants < 5 || denied < 5 || outlives < 5 {
		t.Errorf("%d drawn worlds allow by grants alone, %d deny beside a grant, %d outlive: the property says little", byGrants, denied, outlives)
	}
}

// lists holds the lists of logins against a decision on a node.
func lists(t *rapid.T, set *policy.Set, w world, allowed bool) {
	logins := set.Logins(w.sub, w.target)
	if w.target.Kind != "node" {
		if len(logins) > 0 {
			t.Fatalf("a %s has logins %v", w.target.Kind, logins)
		}
		return
	}
	if len(w.use) == 1 && slices.Contains(logins, w.use["login"]) != allowed {
		t.Fatalf("Logins gives %v, the reference %t", logins, allowed)
	}
	if set.Reaches(w.sub, w.target) != (len(logins) > 0) {
		t.Fatalf("Reaches disagrees with Logins %v", logins)
	}
	for _, l := range logins {
		if !slices.Contains(set.Principals(w.sub), l) {
			t.Fatalf("login %s is allowed and no principal", l)
		}
	}
}

// What is over, or is for something else, is as if it were not there.
func TestPropertyAGrantThatDoesNotCountChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		set := compile(t, w.roles)
		before := set.Decide(w.sub, w.target, w.use)
		role := rapid.SampledFrom(someRoles).Draw(t, "role")
		over := identity.Grant{Request: "req_over", Roles: []string{role}, Until: now.Add(-rapid.SampledFrom([]time.Duration{0, 1, time.Hour}).Draw(t, "over for"))}
		elsewhere := identity.Grant{Request: "req_elsewhere", Roles: []string{role}, Resources: []identity.Target{{Kind: w.target.Kind, Name: "other"}}, Until: now.Add(time.Second)}
		w.sub.Grants = rapid.Permutation(append([]identity.Grant{over, elsewhere}, w.sub.Grants...)).Draw(t, "grants in another order")
		after := set.Decide(w.sub, w.target, w.use)
		if after.Allowed != before.Allowed || after.Options != before.Options || !after.Until.Equal(before.Until) || len(after.Grants) != len(before.Grants) || len(after.Trace) != len(before.Trace) {
			t.Fatalf("%+v and %+v", before, after)
		}
		if set.AllowsUse(&w.sub, &w.target, w.use) != before.Allowed {
			t.Fatal("the boolean path disagrees")
		}
	})
}

// Nothing changes by itself before the time that a decision names, and at that time what the reference says.
func TestPropertyADecisionHoldsUntilItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		set := compile(t, w.roles)
		d := set.Decide(w.sub, w.target, w.use)
		if w.sub.Now = now.Add(1000 * time.Hour); !d.Until.IsZero() {
			w.sub.Now = d.Until.Add(-1)
		}
		if later := set.Decide(w.sub, w.target, w.use); later.Allowed != d.Allowed || later.Options != d.Options {
			t.Fatalf("%+v before its time %+v", later, d)
		}
		if w.sub.Now = w.sub.Now.Add(1); set.Decide(w.sub, w.target, w.use).Allowed != reference(w).allowed {
			t.Fatal("at its time it is not what the reference says")
		}
	})
}

func TestPropertyDenyAlwaysWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		deny := resource.Role{Metadata: resource.Metadata{Name: "deny", Scope: "/"}}
		*sideOf(&deny.Spec.Deny, w.target.Kind).labels = resource.Labels{"*": {"*"}}
		w.roles = append(w.roles, deny)
		w.sub = holding(t, w.sub, "deny")
		set := compile(t, w.roles)
		if set.Decide(w.sub, w.target, w.use).Allowed || set.AllowsUse(&w.sub, &w.target, w.use) || set.Reaches(w.sub, w.target) {
			t.Fatal("allowed in spite of a deny of everything")
		}
	})
}

// holding gives the subject one more role, permanently or by a grant.
func holding(t *rapid.T, sub policy.Subject, role string) policy.Subject {
	if rapid.Bool().Draw(t, role+" by a grant") {
		sub.Grants = append(slices.Clone(sub.Grants), identity.Grant{Request: "req_more", Roles: []string{role}, Until: now.Add(1)})
		return sub
	}
	sub.Roles = append(slices.Clone(sub.Roles), role)
	return sub
}

func TestPropertyAddingADenyNeverAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		before := compile(t, w.roles).AllowsUse(&w.sub, &w.target, w.use)
		more := drawRole(t, "more")
		more.Spec.Allow = resource.RoleBlock{}
		for i, list := range sideOf(&more.Spec.Deny, w.target.Kind).names {
			*list = rapid.SliceOfN(rapid.SampledFrom(someTexts), 0, 2).Draw(t, "denied "+useNames[w.target.Kind][i])
		}
		w.roles = append(w.roles, more)
		w.sub = holding(t, w.sub, "more")
		if after := compile(t, w.roles).AllowsUse(&w.sub, &w.target, w.use); after && !before {
			t.Fatal("a role that only denies allowed something")
		}
	})
}

func TestPropertyOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		first := compile(t, w.roles).Decide(w.sub, w.target, w.use)
		w.roles = rapid.Permutation(w.roles).Draw(t, "roles in another order")
		w.sub.Roles = rapid.Permutation(w.sub.Roles).Draw(t, "the subject's roles in another order")
		second := compile(t, w.roles).Decide(w.sub, w.target, w.use)
		if first.Allowed != second.Allowed || first.Reason != second.Reason || first.Options != second.Options || !slices.Equal(first.Grants, second.Grants) || !first.Until.Equal(second.Until) || !slices.Equal(first.Trace, second.Trace) {
			t.Fatalf("%+v and %+v", first, second)
		}
		w.sub.Grants = rapid.Permutation(w.sub.Grants).Draw(t, "the subject's grants in another order")
		third := compile(t, w.roles).Decide(w.sub, w.target, w.use)
		slices.Sort(first.Grants)
		slices.Sort(third.Grants)
		if first.Allowed != third.Allowed || first.Options != third.Options || !slices.Equal(first.Grants, third.Grants) || !first.Until.Equal(third.Until) {
			t.Fatalf("%+v and %+v", first, third)
		}
	})
}

// Nobody is given what no role of theirs gives: with fewer roles that only allow, never more; with traits of
// their own making, never a login that no role writes.
func TestSec_S45_NoRightsBeyondTheRoles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		set := compile(t, w.roles)
		if !set.AllowsUse(&w.sub, &w.target, w.use) {
			return
		}
		alone := false
		for _, name := range w.sub.Roles {
			one := w.sub
			one.Roles, one.Grants = []string{name}, nil
			alone = alone || set.AllowsUse(&one, &w.target, w.use)
		}
		for _, g := range w.sub.Grants {
			for _, name := range g.Roles {
				one, only := w.sub, g
				only.Roles = []string{name}
				one.Roles, one.Grants = nil, []identity.Grant{only}
				alone = alone || set.AllowsUse(&one, &w.target, w.use)
			}
		}
		if !alone {
			t.Fatal("roles give together what none of them gives")
		}
		nobody := w.sub
		nobody.Roles, nobody.Grants = nil, nil
		if set.AllowsUse(&nobody, &w.target, w.use) {
			t.Fatal("traits alone give something")
		}
		// A role that was taken away from the user, or from the set, gives nothing more (stale grants).
		if d := compile(t, nil).Decide(w.sub, w.target, w.use); d.Allowed {
			t.Fatal("roles that are gone still give something")
		}
		w.sub.Roles, w.sub.Now = nil, now.Add(1000*time.Hour)
		if set.AllowsUse(&w.sub, &w.target, w.use) {
			t.Fatal("grants that are over still give something")
		}
	})
}

// Stale traits: what a trait gave is gone with the trait.
func TestSec_S45_TraitsCountAsTheyAreNow(t *testing.T) {
	set := roles(t, map[string]string{"own": `{allow: {logins: '{{internal.logins}}', node_labels: {'*': '*'}}}`})
	sub := policy.Subject{Roles: []string{"own"}, Traits: map[string][]string{"logins": {"alice", "root"}}}
	n := node("")
	if !set.AllowsUse(&sub, &n, policy.Login("root")) {
		t.Fatal("the trait gives nothing")
	}
	sub.Traits = map[string][]string{"logins": {"alice"}}
	if set.AllowsUse(&sub, &n, policy.Login("root")) || slices.Contains(set.Principals(sub), "root") {
		t.Error("the trait is gone, and what it gave isn't")
	}
}
