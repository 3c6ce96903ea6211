package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// roles reads roles as people write them; each name stands before its spec.
func roles(t testing.TB, specs map[string]string) *policy.Set {
	t.Helper()
	all := resource.Presets()
	for name, spec := range specs {
		scope := "/"
		if at, rest, ok := strings.Cut(spec, "|"); ok {
			scope, spec = at, rest
		}
		read, err := resource.DecodeAll(fmt.Appendf(nil, "kind: role\nmetadata: {name: %s, scope: %s}\nspec: %s\n", name, scope, spec))
		if err != nil {
			t.Fatalf("role %s: %v", name, err)
		}
		role, _ := read[0].Role()
		all = append(all, role)
	}
	return policy.Compile(all)
}

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// ignoreNear leaves out what a step keeps for itself.
var ignoreNear = cmpopts.IgnoreUnexported(policy.Step{})

// grant makes a grant that is given at now for a time; resources are as kind/name.
func grant(request, roles string, life time.Duration, resources ...string) identity.Grant {
	g := identity.Grant{Request: request, Roles: strings.Split(roles, ","), Until: now.Add(life)}
	for _, r := range resources {
		kind, name, _ := strings.Cut(r, "/")
		g.Resources = append(g.Resources, identity.Target{Kind: kind, Name: name})
	}
	return g
}

// decide asks every path for one answer, and holds them against each other.
func decide(t *testing.T, set *policy.Set, sub policy.Subject, target policy.Target, use policy.Use) policy.Decision {
	t.Helper()
	d := set.Decide(sub, target, use)
	if set.AllowsUse(&sub, &target, use) != d.Allowed {
		t.Error("the boolean path disagrees")
	}
	if d.Allowed && !set.Reaches(sub, target) {
		t.Error("reachability disagrees")
	}
	if d.Reason == "" || !d.Allowed && (len(d.Grants) > 0 || d.Options != (policy.Options{})) {
		t.Errorf("a denial with grants or options, or no reason: %+v", d)
	}
	return d
}

func node(scope string, labels ...string) policy.Target {
	return target("node", "node-1", scope, labels...)
}

func target(kind, name, scope string, labels ...string) policy.Target {
	n := policy.Target{Kind: kind, Name: name, Scope: scope, Labels: map[string]string{}}
	for i := 0; i < len(labels); i += 2 {
		n.Labels[labels[i]] = labels[i+1]
	}
	return n
}

func TestLogin(t *testing.T) {
	set := roles(t, map[string]string{
		"dev":          `{allow: {logins: [ubuntu, '{{internal.logins}}'], node_labels: {env: [dev, staging], team: backend}}}`,
		"everywhere":   `{allow: {logins: [ubuntu, root], node_labels: {'*': '*'}}}`,
		"anyenv":       `{allow: {logins: ubuntu, node_labels: {env: '*'}}}`,
		"starandkey":   `{allow: {logins: ubuntu, node_labels: {'*': '*', env: dev}}}`,
		"nologins":     `{allow: {node_labels: {'*': '*'}}}`,
		"nolabels":     `{allow: {logins: root}}`,
		"noroot":       `{deny: {logins: root}}`,
		"noprod":       `{deny: {node_labels: {env: prod}}}`,
		"norootonprod": `{deny: {logins: root, node_labels: {env: prod}}}`,
		"nobody":       `{deny: {logins: '*'}}`,
		"nothing":      `{deny: {node_labels: {'*': '*'}}}`,
		"notmine":      `{deny: {logins: '{{internal.banned}}'}}`,
		"empty":        `{}`,
		"payments":     `/payments|{allow: {logins: ubuntu, node_labels: {'*': '*'}}}`,
		"nopay":        `/payments|{deny: {logins: ubuntu}}`,
	})
	for _, c := range []struct {
		sentence string
		roles    string
		node     policy.Target
		login    string
		allowed  bool
		reason   string // part of it
	}{
		{"nobody may do anything without a role", "", node(""), "ubuntu", false, "there is no role"},
		{"a role that is unknown grants nothing", "ghost", node(""), "ubuntu", false, "unknown"},
		{"a role that says nothing grants nothing", "empty", node("", "env", "dev"), "ubuntu", false, "it selects no nodes"},
		{"labels are ANDed: both stand", "dev", node("", "env", "dev", "team", "backend"), "ubuntu", true, "role dev: allows login ubuntu"},
		{"labels are ANDed: one is another", "dev", node("", "env", "dev", "team", "front"), "ubuntu", false, "the role requires team=backend, but the node has team=front"},
		{"labels are ANDed: one is missing", "dev", node("", "env", "dev"), "ubuntu", false, "the node has no label team"},
		{"values are ORed", "dev", node("", "env", "staging", "team", "backend"), "ubuntu", true, ""},
		{"values are compared whole", "dev", node("", "env", "dev2", "team", "backend"), "ubuntu", false, "the role requires env=dev or staging, but the node has env=dev2"},
		{"a login that no role names", "dev", node("", "env", "dev", "team", "backend"), "root", false, "it doesn't allow login root; it allows alice, bob, ubuntu"},
		{"a login from a trait", "dev", node("", "env", "dev", "team", "backend"), "alice", true, ""},
		{"a trait's value that is no legal login is dropped", "dev", node("", "env", "dev", "team", "backend"), "x,root", false, `"x,root" doesn't make a valid login`},
		{"a literal template is no login", "dev", node("", "env", "dev", "team", "backend"), "{{internal.logins}}", false, ""},
		{"an asterisk means every node, with labels or without", "everywhere", node(""), "root", true, ""},
		{"an asterisk as value wants the label to be there", "anyenv", node("", "env", "x"), "ubuntu", true, ""},
		{"an asterisk as value wants the label to be there: it isn't", "anyenv", node(""), "ubuntu", false, "no label env"},
		{"an asterisk beside a key changes nothing", "starandkey", node("", "env", "prod"), "ubuntu", false, "env=prod"},
		{"labels without logins let nobody in", "nologins", node(""), "root", false, ""},
		{"logins without labels match no node", "nolabels", node("", "env", "dev"), "root", false, "it selects no nodes"},
		{"logins of one role and labels of another don't add up", "nologins,nolabels", node(""), "root", false, ""},
		{"roles add up", "dev,everywhere", node("", "env", "prod"), "root", true, "role everywhere"},
		{"a deny of logins alone holds everywhere", "everywhere,noroot", node("", "env", "dev"), "root", false, "role noroot: denies login root"},
		{"a deny of one login leaves the others", "everywhere,noroot", node("", "env", "dev"), "ubuntu", true, ""},
		{"a deny of labels alone holds for every login", "everywhere,noprod", node("", "env", "prod"), "ubuntu", false, "role noprod: denies nodes with env=prod"},
		{"a deny of labels leaves other nodes", "everywhere,noprod", node("", "env", "dev"), "ubuntu", true, ""},
		{"a deny of both needs both: root on prod", "everywhere,norootonprod", node("", "env", "prod"), "root", false, "denies login root on nodes like this one"},
		{"a deny of both needs both: root elsewhere", "everywhere,norootonprod", node("", "env", "dev"), "root", true, ""},
		{"a deny of both needs both: another on prod", "everywhere,norootonprod", node("", "env", "prod"), "ubuntu", true, ""},
		{"a deny wins whatever the order of roles", "noroot,everywhere", node(""), "root", false, "noroot"},
		{"a deny of every login", "everywhere,nobody", node(""), "ubuntu", false, "nobody"},
		{"a deny of every node", "everywhere,nothing", node(""), "ubuntu", false, "denies this node"},
		{"a deny from a trait", "everywhere,notmine", node(""), "root", false, "notmine"},
		{"a deny from a trait leaves the others", "everywhere,notmine", node(""), "ubuntu", true, ""},
		{"a role acts at its scope", "payments", node("/payments"), "ubuntu", true, ""},
		{"a role acts below its scope", "payments", node("/payments/prod"), "ubuntu", true, ""},
		{"a role doesn't act above its scope", "payments", node("/"), "ubuntu", false, "it acts at or below /payments, but the node is at /"},
		{"a node without scope is at /", "payments", node(""), "ubuntu", false, "the node is at /"},
		{"a scope is no prefix of letters", "payments", node("/payments2"), "ubuntu", false, "/payments2"},
		{"a deny acts within its scope", "everywhere,nopay", node("/payments"), "ubuntu", false, "nopay"},
		{"a deny doesn't act outside its scope", "everywhere,nopay", node("/other"), "ubuntu", true, ""},
		{"preset access gives one's own logins", "access", node("/a", "env", "prod"), "bob", true, ""},
		{"preset access gives no others", "access", node("/a", "env", "prod"), "root", false, ""},
		{"preset editor is for the API alone", "editor", node(""), "root", false, ""},
		{"no login at all", "everywhere", node(""), "", false, "a session on this node must name its login"},
		{"an asterisk is no login", "everywhere", node(""), "*", false, ""},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			sub := policy.Subject{
				Roles:  strings.FieldsFunc(c.roles, func(r rune) bool { return r == ',' }),
				Traits: map[string][]string{"logins": {"alice", "bob", "x,root"}, "banned": {"root"}},
			}
			d := decide(t, set, sub, c.node, policy.Login(c.login))
			if d.Allowed != c.allowed || !strings.Contains(d.Reason, c.reason) {
				t.Errorf("%t: %s", d.Allowed, d.Reason)
			}
			if got := slices.Contains(set.Logins(sub, c.node), c.login); got != d.Allowed {
				t.Errorf("the list of logins disagrees: %v", set.Logins(sub, c.node))
			}
			if c.allowed && !slices.Contains(set.Principals(sub), c.login) {
				t.Errorf("the certificate wouldn't have the principal: %v", set.Principals(sub))
			}
		})
	}
}

func TestADenialNamesRoleRuleLabelAndValue(t *testing.T) {
	set := roles(t, map[string]string{
		"dev":    `{allow: {logins: ubuntu, node_labels: {env: dev}}}`,
		"web":    `{allow: {logins: www, node_labels: {'*': '*'}}}`,
		"noprod": `{deny: {node_labels: {env: prod}}}`,
	})
	got := set.Decide(policy.Subject{Roles: []string{"web", "dev", "ghost", "dev"}}, node("", "env", "test"), policy.Login("ubuntu"))
	want := policy.Decision{
		Reason: "no role allows login ubuntu on node node-1: role web: it doesn't allow login ubuntu; it allows www",
		Role:   "web", Rule: "allow.logins", Value: "ubuntu",
		Trace: []policy.Step{
			{Role: "dev", Rule: "allow.node_labels", Effect: "silent", Reason: "the role requires env=dev, but the node has env=test", Label: "env", Value: "test"},
			{Role: "ghost", Effect: "silent", Reason: "the role is unknown and grants nothing"},
			{Role: "web", Rule: "allow.logins", Effect: "silent", Reason: "it doesn't allow login ubuntu; it allows www", Value: "ubuntu"},
		},
		Brief: "no role allows login ubuntu on node node-1",
	}
	if d := cmp.Diff(want, got, ignoreNear); d != "" {
		t.Error(d)
	}
	got = set.Decide(policy.Subject{Roles: []string{"noprod", "web"}}, node("", "env", "prod"), policy.Login("www"))
	if got.Role != "noprod" || got.Rule != "deny.node_labels" || got.Label != "env" || got.Value != "prod" || len(got.Trace) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestMay(t *testing.T) {
	set := roles(t, map[string]string{
		"tokens":   `{allow: {rules: [{resources: token, verbs: [create, list]}]}}`,
		"payadmin": `/payments|{allow: {rules: [{resources: '*', verbs: '*'}]}}`,
		"dbs":      `{allow: {rules: [{resources: [db], verbs: delete}]}}`,
		"readonly": `{deny: {rules: [{resources: '*', verbs: [create, update, delete]}]}}`,
	})
	for _, c := range []struct {
		sentence, roles, resource, verb, scope string
		allowed                                bool
	}{
		{"nothing is allowed without a rule", "access", "role", "read", "/", false},
		{"a rule allows its verbs on its resources", "tokens", "token", "create", "/", true},
		{"a rule allows no other verb", "tokens", "token", "delete", "/", false},
		{"a rule allows no other resource", "tokens", "role", "create", "/", false},
		{"the editor may do everything", "editor", "iam_mapping", "delete", "/payments", true},
		{"the auditor lists what people reach", "auditor", "node", "list", "/", true},
		{"the auditor reads what people reach, of every kind", "auditor", "kube", "read", "/", true},
		{"the auditor lists the cluster's settings", "auditor", "settings", "list", "/", true},
		{"the auditor reads how sessions are recorded", "auditor", "settings", "read", "/", true},
		{"the auditor doesn't change the settings", "auditor", "settings", "update", "/", false},
		{"the auditor doesn't read roles", "auditor", "role", "read", "/", false},
		{"the auditor changes nothing", "auditor", "node", "delete", "/", false},
		{"a deny wins", "editor,readonly", "role", "update", "/", false},
		{"a deny leaves what it doesn't name", "editor,readonly", "role", "read", "/", true},
		{"an admin of a scope edits there", "payadmin", "role", "create", "/payments/prod", true},
		{"an admin of a scope doesn't edit above", "payadmin", "role", "create", "/", false},
		{"a rule about databases allows nothing on nodes", "dbs", "node", "delete", "/", false},
		{"a rule about databases allows it there", "dbs", "db", "delete", "/", true},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			d := set.May(policy.Subject{Roles: strings.Split(c.roles, ",")}, c.resource, c.verb, c.scope)
			if d.Allowed != c.allowed || d.Reason == "" {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestMaySomewhere(t *testing.T) {
	set := roles(t, map[string]string{
		"pay":    `/payments|{allow: {rules: [{resources: [token], verbs: [list]}]}}`,
		"never":  `{deny: {rules: [{resources: [token], verbs: [list]}]}}`,
		"notpay": `/payments|{deny: {rules: [{resources: [token], verbs: [list]}]}}`,
		"below":  `/payments/eu|{deny: {rules: [{resources: [token], verbs: [list]}]}}`,
		"all":    `{allow: {rules: [{resources: [token], verbs: [list]}]}}`,
	})
	for held, want := range map[string]bool{
		"": false, "access": false, "nobody": false, "pay": true, "pay,never": false, "pay,notpay": false, "pay,below": true, "all,notpay": true,
	} {
		sub := policy.Subject{Roles: strings.Split(held, ",")}
		if got := set.MaySomewhere(sub, "token", "list"); got != want {
			t.Errorf("%q: %v", held, got)
		}
		if set.MaySomewhere(sub, "token", "read") || set.MaySomewhere(sub, "role", "list") {
			t.Errorf("%q: more than it says", held)
		}
	}
}

func TestTTLIsTheShortest(t *testing.T) {
	set := roles(t, map[string]string{"short": `{options: {max_session_ttl: 1h}}`, "long": `{options: {max_session_ttl: 10h}}`, "none": `{}`})
	for _, c := range []struct {
		roles string
		asked time.Duration
		want  time.Duration
	}{
		{"none", 0, 8 * time.Hour},
		{"none", time.Second, time.Second},
		{"none", 20 * time.Hour, 12 * time.Hour},
		{"none", -1, 8 * time.Hour},
		{"long", 0, 8 * time.Hour},
		{"long", 11 * time.Hour, 10 * time.Hour},
		{"short,long", 0, time.Hour},
		{"short", time.Minute, time.Minute},
		{"ghost", 0, 8 * time.Hour},
		{"ghost", 13 * time.Hour, 12 * time.Hour},
	} {
		if got := set.TTL(policy.Subject{Roles: strings.Split(c.roles, ",")}, c.asked); got != c.want {
			t.Errorf("TTL of %s asked for %s is %s, want %s", c.roles, c.asked, got, c.want)
		}
	}
}

func TestPrincipalsAreWhatSomeNodeMightAllow(t *testing.T) {
	set := roles(t, map[string]string{
		"dev":      `{allow: {logins: [ubuntu, root, '{{internal.logins}}'], node_labels: {env: dev}}}`,
		"nowhere":  `{allow: {logins: ghost}}`,
		"noroot":   `{deny: {logins: root}}`,
		"notthere": `{deny: {logins: ubuntu, node_labels: {env: prod}}}`,
		"nopay":    `/payments|{deny: {logins: ubuntu}}`,
	})
	sub := policy.Subject{Roles: []string{"dev", "nowhere", "noroot", "notthere", "nopay", "unknown"}, Traits: map[string][]string{"logins": {"alice", "ubuntu", "a b"}}}
	if d := cmp.Diff([]string{"alice", "ubuntu"}, set.Principals(sub)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"noroot"}, set.Deniers(sub)); d != "" {
		t.Error(d)
	}
	sub.Roles = []string{"dev", "nowhere", "notthere", "nopay"}
	if got := set.Deniers(sub); len(got) > 0 {
		t.Errorf("nothing is denied everywhere, but by %v", got)
	}
	sub.Roles = []string{"nowhere", "noroot"}
	if got := set.Deniers(sub); len(got) > 0 {
		t.Errorf("nothing is given, but denied by %v", got)
	}
	if got := set.Principals(policy.Subject{Roles: []string{"editor"}}); len(got) > 0 {
		t.Errorf("an editor has principals: %v", got)
	}
}
