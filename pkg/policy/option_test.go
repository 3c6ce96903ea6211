package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

func TestASessionOutlivesItsCertificateOnlyWhenEveryRoleThatAllowsItSaysSo(t *testing.T) {
	set := roles(t, map[string]string{
		"outlives":  `{options: {disconnect_expired_cert: false}, allow: {logins: a, node_labels: {'*': '*'}}}`,
		"outlives2": `{options: {disconnect_expired_cert: false}, allow: {logins: a, node_labels: {env: dev}}}`,
		"ends":      `{options: {disconnect_expired_cert: true}, allow: {logins: a, node_labels: {'*': '*'}}}`,
		"silent":    `{allow: {logins: a, node_labels: {'*': '*'}}}`,
		"elsewhere": `{options: {disconnect_expired_cert: true}, allow: {logins: a, node_labels: {env: prod}}}`,
		"other":     `{options: {disconnect_expired_cert: true}, allow: {logins: b, node_labels: {'*': '*'}}}`,
		"payments":  `/payments|{options: {disconnect_expired_cert: true}, allow: {logins: a, node_labels: {'*': '*'}}}`,
		"loose":     `/payments|{options: {disconnect_expired_cert: false}, allow: {logins: a, node_labels: {'*': '*'}}}`,
		"nothing":   `{options: {disconnect_expired_cert: false}}`,
		"denies":    `{deny: {logins: a}}`,
	})
	for _, c := range []struct {
		sentence, roles string
		grants          []identity.Grant
		outlives        bool
	}{
		{"a role that says so", "outlives", nil, true},
		{"a role that says nothing ends sessions", "silent", nil, false},
		{"a role that says the opposite", "ends", nil, false},
		{"two roles that both say so", "outlives,outlives2", nil, true},
		{"one of two says nothing", "outlives,silent", nil, false},
		{"one of two says nothing, the other way round of names", "outlives2,ends", nil, false},
		{"the first says so, the second not", "ends,outlives", nil, false},
		{"a role that does not allow it on this node has no say", "outlives,elsewhere", nil, true},
		{"a role that does not allow this login has no say", "outlives,other", nil, true},
		{"a role out of scope has no say against it", "outlives,payments", nil, true},
		{"a role out of scope has no say for it", "silent,loose", nil, false},
		{"a role that allows nothing has no say for it", "silent,nothing", nil, false},
		{"a role that is unknown has no say", "outlives,ghost", nil, true},
		{"a denial has the strictest", "outlives,denies", nil, false},
		{"nobody has the strictest", "ghost", nil, false},
		{"a role by a grant has a say", "outlives", []identity.Grant{grant("req_1", "silent", time.Hour)}, false},
		{"a role by a grant for another node has none", "outlives", []identity.Grant{grant("req_1", "silent", time.Hour, "node/node-2")}, true},
		{"a role by a grant that is over has none", "outlives", []identity.Grant{grant("req_1", "silent", 0)}, true},
		{"a role by a grant alone", "nothing", []identity.Grant{grant("req_1", "outlives", time.Hour)}, true},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			sub := policy.Subject{Roles: strings.Split(c.roles, ","), Grants: c.grants, Now: now}
			got := decide(t, set, sub, node("", "env", "dev"), policy.Login("a")).Options
			if d := cmp.Diff(policy.Options{OutliveCertificate: c.outlives}, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSessionsAreRecordedAsTheStrictestRoleThatAllowsThemSays(t *testing.T) {
	set := roles(t, map[string]string{
		"silent":   `{allow: {logins: a, node_labels: {'*': '*'}}}`,
		"off":      `{options: {record: 'off'}, allow: {logins: a, node_labels: {'*': '*'}}}`,
		"best":     `{options: {record: best-effort}, allow: {logins: a, node_labels: {'*': '*'}}}`,
		"strict":   `{options: {record: strict}, allow: {logins: a, node_labels: {'*': '*'}}}`,
		"other":    `{options: {record: strict}, allow: {logins: b, node_labels: {'*': '*'}}}`,
		"recovery": `{options: {record_when_full: admit}, allow: {logins: a, node_labels: {'*': '*'}}}`,
	})
	for names, want := range map[string]policy.Options{
		"silent": {}, "off": {Record: "off"}, "silent,off": {Record: "off"}, "off,best": {Record: "best-effort"}, "strict,off,best": {Record: "strict"},
		"off,other": {Record: "off"}, "strict,recovery": {Record: "strict", AdmitWhenFull: true}, "recovery": {AdmitWhenFull: true},
	} {
		got := decide(t, set, policy.Subject{Roles: strings.Split(names, ","), Now: now}, node("", "env", "dev"), policy.Login("a")).Options
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", names, d)
		}
	}
}

func TestWhatOneRoleDemandsHoldsForItsHolder(t *testing.T) {
	set := roles(t, map[string]string{
		"open":   `{options: {max_session_ttl: 9h}}`,
		"fresh":  `{options: {fresh: true}}`,
		"pinned": `/payments|{options: {pin_source_ip: true}}`,
	})
	for _, c := range []struct {
		roles         string
		fresh, pinned bool
	}{
		{"open", false, false}, {"fresh", true, false}, {"open,fresh", true, false}, {"pinned", false, true}, {"open,pinned,fresh", true, true}, {"ghost", false, false}, {"", false, false},
	} {
		sub := policy.Subject{Roles: strings.Split(c.roles, ",")}
		if set.Fresh(sub) != c.fresh || set.PinSourceIP(sub) != c.pinned {
			t.Errorf("%s: fresh %t, pinned %t", c.roles, set.Fresh(sub), set.PinSourceIP(sub))
		}
	}
	for name, g := range map[string]identity.Grant{"everywhere": grant("req_1", "fresh,pinned", time.Hour), "confined": grant("req_1", "fresh,pinned", time.Hour, "node/node-1")} {
		if sub := (policy.Subject{Roles: []string{"open"}, Grants: []identity.Grant{g}, Now: now}); !set.Fresh(sub) || !set.PinSourceIP(sub) {
			t.Errorf("by a grant, %s: fresh %t, pinned %t", name, set.Fresh(sub), set.PinSourceIP(sub))
		}
	}
}

// A role that can't be kept as it stands, which is one that doesn't validate, keeps its holders out of everything, and
// nobody else.
func TestARoleThatCannotBeKeptBarsItsHoldersAlone(t *testing.T) {
	yes := true
	named := func(spec resource.RoleSpec) resource.Role {
		return resource.Role{Metadata: resource.Metadata{Name: "b"}, Spec: spec}
	}
	for name, c := range map[string]struct {
		bad   resource.Role
		field string
	}{
		"a pattern in a deny":         {named(resource.RoleSpec{Deny: resource.RoleBlock{NodeLabels: resource.Labels{"env": {"pro*"}}}}), "spec.deny.node_labels.env[0]"},
		"an illegal login":            {named(resource.RoleSpec{Deny: resource.RoleBlock{Logins: []string{"a,b"}}}), "spec.deny.logins[0]"},
		"an unclosed template":        {named(resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"{{internal.a"}}}), "spec.allow.logins[0]"},
		"an asterisk as login":        {named(resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"*"}}}), "spec.allow.logins[0]"},
		"an asterisk as db user":      {named(resource.RoleSpec{Allow: resource.RoleBlock{DBUsers: []string{"*"}}}), "spec.allow.db_users[0]"},
		"a scope that is none":        {resource.Role{Metadata: resource.Metadata{Name: "b", Scope: "b"}}, "metadata.scope"},
		"an unknown rule's verb":      {named(resource.RoleSpec{Deny: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"*"}, Verbs: []string{"writ"}}}}}), "spec.deny.rules[0].verbs[0]"},
		"a rule about sessions":       {named(resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"session"}, Verbs: []string{"list"}}}}}), "spec.allow.rules[0].resources[0]"},
		"a condition":                 {named(resource.RoleSpec{Deny: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"role"}, Verbs: []string{"list"}, Where: "own"}}}}), "spec.deny.rules[0].where"},
		"agents that are forwarded":   {named(resource.RoleSpec{Options: resource.RoleOptions{ForwardAgent: &yes}}), "spec.options.forward_agent"},
		"ports that are forwarded":    {named(resource.RoleSpec{Options: resource.RoleOptions{PortForwarding: &yes}}), "spec.options.port_forwarding"},
		"a second factor":             {named(resource.RoleSpec{Options: resource.RoleOptions{RequireSessionMFA: true}}), "spec.options.require_session_mfa"},
		"what has no name":            {resource.Role{Metadata: resource.Metadata{Name: "b"}, Critical: []string{""}}, ""},
		"what a newer release limits": {resource.Role{Metadata: resource.Metadata{Name: "b"}, Critical: []string{"spec.options.fresh", "spec.options.hours"}}, "spec.options.hours"},
		"what can't be read":          {resource.Unreadable(resource.Metadata{Name: "b", Scope: "/"}), "unreadable"},
		"an unknown way to record":    {named(resource.RoleSpec{Options: resource.RoleOptions{Record: "always"}}), "spec.options.record"},
		"an unknown way to admit":     {named(resource.RoleSpec{Options: resource.RoleOptions{RecordWhenFull: "refuse"}}), "spec.options.record_when_full"},
	} {
		t.Run(name, func(t *testing.T) {
			// Beside what is wrong with it, the role allows everything: a bar that is forgotten lets its holders in.
			c.bad.Spec.Allow.NodeLabels = resource.Labels{"*": {"*"}}
			c.bad.Spec.Allow.Logins = append(c.bad.Spec.Allow.Logins, "root")
			c.bad.Spec.Allow.Rules = append(c.bad.Spec.Allow.Rules, resource.Rule{Resources: []string{"*"}, Verbs: []string{"*"}})
			good := resource.Role{Metadata: resource.Metadata{Name: "a"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{
				Logins: []string{"root"}, NodeLabels: resource.Labels{"*": {"*"}}, AppLabels: resource.Labels{"*": {"*"}}, Rules: []resource.Rule{{Resources: []string{"*"}, Verbs: []string{"*"}}},
			}}}
			set := policy.Compile([]resource.Role{good, c.bad})
			barred(t, set, policy.Subject{Roles: []string{"b"}, Now: now}, "b", c.field)
			barred(t, set, policy.Subject{Roles: []string{"a", "b"}, Now: now}, "b", c.field)
			barred(t, set, policy.Subject{Roles: []string{"a"}, Grants: []identity.Grant{grant("req_1", "b", time.Hour)}, Now: now}, "b", c.field)
			for who, sub := range map[string]policy.Subject{
				"who does not hold it":                {Roles: []string{"a"}, Now: now},
				"who does not hold it any more":       {Roles: []string{"a"}, Grants: []identity.Grant{grant("req_1", "b", 0)}, Now: now},
				"who holds it for another node alone": {Roles: []string{"a"}, Grants: []identity.Grant{grant("req_1", "b", time.Hour, "node/node-2")}, Now: now},
			} {
				if d := decide(t, set, sub, node("/"), policy.Login("root")); !d.Allowed {
					t.Errorf("%s: %+v", who, d)
				}
				if d := set.May(sub, "role", "create", "/"); !d.Allowed {
					t.Errorf("%s: %+v", who, d)
				}
			}
			if role, why := set.Barred(policy.Subject{Roles: []string{"a", "ghost"}, Now: now}); role != "" || why != "" {
				t.Errorf("who does not hold it is barred by %s: %s", role, why)
			}
		})
	}
}

// barred wants everything denied by a role, with its field.
func barred(t *testing.T, set *policy.Set, sub policy.Subject, role, field string) {
	t.Helper()
	// Not even a node outside of the role's scope is let in.
	for _, n := range []policy.Target{node("/"), node("/elsewhere"), target("app", "a", "/")} {
		use := policy.Login("root")
		if n.Kind != "node" {
			use = nil
		}
		d := decide(t, set, sub, n, use)
		if d.Allowed || d.Role != role || d.Rule != field || !strings.Contains(d.Reason, "can't be enforced as it is: "+field) {
			t.Errorf("%s at %s: %t by %s %s: %s", n.Kind, n.Scope, d.Allowed, d.Role, d.Rule, d.Reason)
		}
		if set.Reaches(sub, n) || len(set.Logins(sub, n)) > 0 {
			t.Errorf("%s at %s is reached", n.Kind, n.Scope)
		}
	}
	for _, scope := range []string{"/", "/elsewhere"} {
		if d := set.May(sub, "role", "read", scope); d.Allowed || d.Rule != field {
			t.Errorf("may: %+v", d)
		}
	}
	if by, why := set.Barred(sub); by != role || !strings.Contains(why, field) {
		t.Errorf("barred by %q: %s", by, why)
	}
}

func TestANameThatStandsTwiceBarsItsHolders(t *testing.T) {
	good := resource.Role{Metadata: resource.Metadata{Name: "a"}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"root"}, NodeLabels: resource.Labels{"*": {"*"}}}}}
	other := good
	other.Metadata.Name = "b"
	for name, all := range map[string][]resource.Role{"two of the same": {good, other, good}, "a preset's name": append(resource.Presets(), other, resource.Role{Metadata: resource.Metadata{Name: "access"}})} {
		t.Run(name, func(t *testing.T) {
			twice := all[len(all)-1].Metadata.Name
			set := policy.Compile(all)
			d := decide(t, set, policy.Subject{Roles: []string{twice, "b"}}, node("/"), policy.Login("root"))
			if d.Allowed || d.Role != twice || d.Rule != "metadata.name" || !strings.Contains(d.Reason, "twice") {
				t.Errorf("%+v", d)
			}
			if !decide(t, set, policy.Subject{Roles: []string{"b"}}, node("/"), policy.Login("root")).Allowed {
				t.Error("another role doesn't count any more")
			}
		})
	}
	if set := policy.Compile([]resource.Role{{}}); decide(t, set, policy.Subject{Roles: []string{""}}, node("/"), policy.Login("root")).Allowed {
		t.Error("a role without a name lets somebody in")
	}
}
