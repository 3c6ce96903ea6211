package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
)

// everything are roles that let in everywhere, and roles that keep out.
func everything(t *testing.T) *policy.Set {
	t.Helper()
	return roles(t, map[string]string{
		"own":    `{allow: {logins: ubuntu, node_labels: {'*': '*'}}}`,
		"root":   `{allow: {logins: root, node_labels: {'*': '*'}, db_labels: {'*': '*'}, db_names: '*', db_users: root, rules: [{resources: '*', verbs: '*'}]}}`,
		"again":  `{allow: {logins: root, node_labels: {'*': '*'}}}`,
		"noroot": `{deny: {logins: root}}`,
		"short":  `{options: {max_session_ttl: 1h, fresh: true, pin_source_ip: true}}`,
	})
}

func TestAGrantsResourcesConfineThatGrantAlone(t *testing.T) {
	set := everything(t)
	one, two := target("node", "node-1", "/"), target("node", "node-2", "/")
	db := target("db", "node-1", "/")
	asRoot, dbRoot := policy.Login("root"), policy.Use{"database": "app", "user": "root"}
	for _, c := range []struct {
		sentence string
		grants   []identity.Grant
		target   policy.Target
		use      policy.Use
		allowed  bool
	}{
		{"a grant without resources counts everywhere", []identity.Grant{grant("req_1", "root", time.Hour)}, two, asRoot, true},
		{"a grant counts for its resource", []identity.Grant{grant("req_1", "root", time.Hour, "node/node-1")}, one, asRoot, true},
		{"a grant counts for each of its resources", []identity.Grant{grant("req_1", "root", time.Hour, "node/node-2", "node/node-1")}, one, asRoot, true},
		{"a grant counts for nothing beside its resources", []identity.Grant{grant("req_1", "root", time.Hour, "node/node-1")}, two, asRoot, false},
		{"a grant of a node is none of the database of its name", []identity.Grant{grant("req_1", "root", time.Hour, "node/node-1")}, db, dbRoot, false},
		{"a grant of a database counts for it", []identity.Grant{grant("req_1", "root", time.Hour, "db/node-1")}, db, dbRoot, true},
		{"one grant's resources are not another's", []identity.Grant{grant("req_1", "short", time.Hour, "node/node-2"), grant("req_2", "root", time.Hour, "node/node-1")}, two, asRoot, false},
		{"one grant that is confined doesn't confine another", []identity.Grant{grant("req_1", "short", time.Hour, "node/node-1"), grant("req_2", "root", time.Hour)}, two, asRoot, true},
		{"a denial that is confined denies there", []identity.Grant{grant("req_1", "noroot", time.Hour, "node/node-1"), grant("req_2", "root", time.Hour)}, one, asRoot, false},
		{"a denial that is confined denies nowhere else", []identity.Grant{grant("req_1", "noroot", time.Hour, "node/node-1"), grant("req_2", "root", time.Hour)}, two, asRoot, true},
		{"a grant without resources doesn't count for a kind that its role says nothing of", []identity.Grant{grant("req_1", "again", time.Hour)}, db, dbRoot, false},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			sub := policy.Subject{Roles: []string{"own"}, Grants: c.grants, Now: now}
			if d := decide(t, set, sub, c.target, c.use); d.Allowed != c.allowed {
				t.Errorf("%+v", d)
			}
			if got := slices.Contains(set.Logins(sub, c.target), "root"); c.target.Kind == "node" && got != c.allowed {
				t.Errorf("the list of logins disagrees: %v", set.Logins(sub, c.target))
			}
			// The permanent roles are confined by nothing.
			if c.target.Kind == "node" && !decide(t, set, sub, c.target, policy.Login("ubuntu")).Allowed {
				t.Error("a permanent role doesn't count any more")
			}
		})
	}
}

func TestAGrantThatIsConfinedToTargetsGivesNoRuleAboutResources(t *testing.T) {
	set := everything(t)
	sub := policy.Subject{Grants: []identity.Grant{grant("req_1", "root", time.Hour, "node/node-1", "db/node-1")}, Now: now}
	if d := set.May(sub, "role", "create", "/"); d.Allowed {
		t.Errorf("%+v", d)
	}
	sub.Grants = append(sub.Grants, grant("req_2", "root", time.Minute))
	d := set.May(sub, "role", "create", "/")
	if d := cmp.Diff([]string{"req_2"}, d.Grants); !set.May(sub, "role", "create", "/").Allowed || d != "" {
		t.Error(d)
	}
	if !d.Until.Equal(now.Add(time.Minute)) {
		t.Errorf("until %s", d.Until)
	}
	sub.Now = now.Add(time.Minute)
	if d := set.May(sub, "role", "create", "/"); d.Allowed {
		t.Errorf("after its end: %+v", d)
	}
}

func TestAGrantCountsUntilItsEnd(t *testing.T) {
	set := everything(t)
	n := node("/")
	for _, c := range []struct {
		after   time.Duration
		allowed bool
	}{{0, true}, {time.Minute - 1, true}, {time.Minute, false}, {time.Hour, false}} {
		sub := policy.Subject{Roles: []string{"own"}, Grants: []identity.Grant{grant("req_1", "root,short", time.Minute)}, Now: now.Add(c.after)}
		d := decide(t, set, sub, n, policy.Login("root"))
		if d.Allowed != c.allowed || d.Until.IsZero() == c.allowed {
			t.Errorf("after %s: %t until %s", c.after, d.Allowed, d.Until)
		}
		if got := slices.Contains(set.Logins(sub, n), "root"); got != c.allowed {
			t.Errorf("after %s: logins %v", c.after, set.Logins(sub, n))
		}
		if got := slices.Contains(set.Principals(sub), "root"); got != c.allowed {
			t.Errorf("after %s: principals %v", c.after, set.Principals(sub))
		}
		sub.Roles = nil
		if set.Reaches(sub, n) != c.allowed {
			t.Errorf("after %s: reaches %t", c.after, !c.allowed)
		}
		// What a grant's role demands ends with it too.
		if set.Fresh(sub) != c.allowed || set.PinSourceIP(sub) != c.allowed || (set.TTL(sub, 0) == time.Hour) != c.allowed {
			t.Errorf("after %s: fresh %t, pinned %t, ttl %s", c.after, set.Fresh(sub), set.PinSourceIP(sub), set.TTL(sub, 0))
		}
		if next := sub.Next(); next.IsZero() == c.allowed || c.allowed && !next.Equal(now.Add(time.Minute)) {
			t.Errorf("after %s: next %s", c.after, next)
		}
	}
}

// Of two grants the longer carries on where the shorter ends, and nobody asks before the shorter has.
func TestGrantsThatOverlapHoldTogetherUntilTheLastEnds(t *testing.T) {
	set := everything(t)
	a, b := grant("req_a", "root", 10*time.Second), grant("req_b", "again", time.Minute)
	for _, grants := range [][]identity.Grant{{a, b}, {b, a}} {
		for _, c := range []struct {
			after   time.Duration
			allowed bool
			rests   []string
			until   time.Duration // 0: never
		}{
			{0, true, []string{"req_a", "req_b"}, 10 * time.Second},
			{10 * time.Second, true, []string{"req_b"}, time.Minute},
			{12 * time.Second, true, []string{"req_b"}, time.Minute},
			{60 * time.Second, false, nil, 0},
			{62 * time.Second, false, nil, 0},
		} {
			d := decide(t, set, policy.Subject{Grants: grants, Now: now.Add(c.after)}, node("/"), policy.Login("root"))
			slices.Sort(d.Grants)
			if diff := cmp.Diff(c.rests, d.Grants); d.Allowed != c.allowed || diff != "" {
				t.Errorf("after %s: %t %s", c.after, d.Allowed, diff)
			}
			if want := now.Add(c.until); (c.until == 0) != d.Until.IsZero() || c.until != 0 && !d.Until.Equal(want) {
				t.Errorf("after %s: until %s", c.after, d.Until)
			}
		}
	}
}

func TestADecisionSaysWhatItRestsOnAndUntilWhen(t *testing.T) {
	set := everything(t)
	for _, c := range []struct {
		sentence string
		roles    string
		grants   []identity.Grant
		allowed  bool
		rests    []string
		until    time.Duration // 0: never
	}{
		{"a permanent role rests on nothing and holds for good", "again", nil, true, nil, 0},
		{"a denial without grants holds for good", "own", nil, false, nil, 0},
		{"a grant that is needed is named", "own", []identity.Grant{grant("req_1", "root", time.Minute)}, true, []string{"req_1"}, time.Minute},
		{"a grant beside a permanent role is not what it rests on", "again", []identity.Grant{grant("req_1", "root", time.Minute)}, true, nil, time.Minute},
		{"a grant that allows something else is not what it rests on", "own", []identity.Grant{grant("req_1", "own", time.Second), grant("req_2", "root", time.Minute)}, true, []string{"req_2"}, time.Second},
		{"a grant is named once, however many of its roles allow", "own", []identity.Grant{grant("req_1", "again,root", time.Minute)}, true, []string{"req_1"}, time.Minute},
		{"the first end of several counts", "own", []identity.Grant{grant("req_1", "root", time.Hour), grant("req_2", "again", time.Minute)}, true, []string{"req_1", "req_2"}, time.Minute},
		{"a grant for something else has no say in the end", "own", []identity.Grant{grant("req_1", "root", time.Hour), grant("req_2", "again", time.Minute, "node/node-2")}, true, []string{"req_1"}, time.Hour},
		{"a grant that is over has no say in the end", "own", []identity.Grant{grant("req_1", "root", time.Hour), grant("req_2", "again", 0)}, true, []string{"req_1"}, time.Hour},
		{"a denial by a grant ends with it", "again", []identity.Grant{grant("req_1", "noroot", time.Minute)}, false, nil, time.Minute},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			sub := policy.Subject{Roles: []string{c.roles}, Grants: c.grants, Now: now}
			d := decide(t, set, sub, node("/"), policy.Login("root"))
			if diff := cmp.Diff(c.rests, d.Grants); d.Allowed != c.allowed || diff != "" {
				t.Errorf("%t %s: %s", d.Allowed, diff, d.Reason)
			}
			if (c.until == 0) != d.Until.IsZero() || c.until != 0 && !d.Until.Equal(now.Add(c.until)) {
				t.Errorf("until %s", d.Until)
			}
			if c.until == 0 {
				return
			}
			// It is what it says: a moment before, nothing has changed.
			sub.Now = d.Until.Add(-1)
			if later := decide(t, set, sub, node("/"), policy.Login("root")); later.Allowed != d.Allowed {
				t.Errorf("just before its end: %+v", later)
			}
		})
	}
}

func TestADenyInAGrantsRoleWinsOverPermanentRoles(t *testing.T) {
	set := everything(t)
	sub := policy.Subject{Roles: []string{"again"}, Grants: []identity.Grant{grant("req_1", "noroot", time.Minute)}, Now: now}
	d := decide(t, set, sub, node("/"), policy.Login("root"))
	if d.Allowed || d.Role != "noroot" || d.Rule != "deny.logins" || !strings.Contains(d.Reason, "role noroot: denies login root") {
		t.Errorf("%+v", d)
	}
	want := []policy.Step{
		{Role: "again", Rule: "allow.logins", Effect: policy.Allows, Reason: "allows login root on node node-1", Value: "root"},
		{Role: "noroot", Grant: "req_1", Rule: "deny.logins", Effect: policy.Denies, Reason: "denies login root", Value: "root"},
	}
	if diff := cmp.Diff(want, d.Trace, ignoreNear); diff != "" {
		t.Error(diff)
	}
	if slices.Contains(set.Logins(sub, node("/")), "root") {
		t.Error("the list of logins disagrees")
	}
	sub.Now = now.Add(time.Minute)
	if !decide(t, set, sub, node("/"), policy.Login("root")).Allowed {
		t.Error("a denial outlives its grant")
	}
}

// A certificate lives longer than a grant that denies: what it may be used for later stands in it.
func TestAGrantThatDeniesTakesNoPrincipalAway(t *testing.T) {
	set := everything(t)
	sub := policy.Subject{Roles: []string{"again"}, Grants: []identity.Grant{grant("req_1", "noroot", time.Minute)}, Now: now}
	if d := cmp.Diff([]string{"root"}, set.Principals(sub)); d != "" {
		t.Error(d)
	}
	sub.Roles = append(sub.Roles, "noroot")
	if got := set.Principals(sub); len(got) > 0 {
		t.Errorf("denied for good, and principals %v", got)
	}
}

func TestAnUnknownRoleOfAGrantGivesNothing(t *testing.T) {
	set := everything(t)
	sub := policy.Subject{Grants: []identity.Grant{grant("req_1", "ghost", time.Hour)}, Now: now}
	d := decide(t, set, sub, node("/"), policy.Login("root"))
	if d.Allowed || len(d.Trace) != 1 || d.Trace[0].Grant != "req_1" || !strings.Contains(d.Reason, "unknown") {
		t.Errorf("%+v", d)
	}
}

func TestTheSubjectOfAUserHasTheGrantsThatItIsGiven(t *testing.T) {
	grants := []identity.Grant{grant("req_1", "root", time.Hour)}
	u := identity.User{Roles: []string{"own"}, Traits: map[string][]string{"logins": {"ubuntu"}}, Grants: []identity.Grant{grant("req_2", "again", time.Hour)}}
	want := policy.Subject{Roles: u.Roles, Traits: u.Traits, Grants: grants, Now: now}
	if d := cmp.Diff(want, policy.Of(u, grants, now)); d != "" {
		t.Error(d)
	}
}
