package resource_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/strict"
)

const backend = `kind: role
metadata: {name: backend-developer, scope: /payments}
spec:
  options: {max_session_ttl: 8h, forward_agent: false, port_forwarding: false, require_session_mfa: false, record: 'off', fresh: true, pin_source_ip: true, disconnect_expired_cert: false}
  allow:
    logins: ['ubuntu', '{{internal.logins}}']
    node_labels: {env: [dev, staging], team: backend}
    db_labels: {env: dev}
    db_names: '*'
    db_users: [app, '{{internal.db_user}}_ro']
    app_labels: {'*': '*'}
    kubernetes_labels: {region: [eu, us]}
    kubernetes_groups: system:masters
    rules: [{resources: [role, db], verbs: [list, read]}]
  deny:
    logins: root
    node_labels: {env: prod}
    db_names: [postgres]
    db_users: '*'
    kubernetes_groups: ['*']
`

// read reads a file of one resource.
func read(yaml []byte) (resource.Resource, error) {
	all, err := resource.DecodeAll(yaml)
	if err != nil {
		return resource.Resource{}, err
	}
	if len(all) != 1 {
		return resource.Resource{}, fmt.Errorf("there are %d resources", len(all))
	}
	return all[0].Resource, nil
}

func TestARoleIsReadAsItIsWritten(t *testing.T) {
	no := false
	want := resource.Role{
		Metadata: resource.Metadata{Name: "backend-developer", Scope: "/payments"},
		Spec: resource.RoleSpec{
			Options: resource.RoleOptions{
				MaxSessionTTL: resource.Duration(8 * time.Hour), ForwardAgent: &no, PortForwarding: &no, Record: "off", Fresh: true, PinSourceIP: true, DisconnectExpiredCert: &no,
			},
			Allow: resource.RoleBlock{
				Logins:           []string{"ubuntu", "{{internal.logins}}"},
				NodeLabels:       map[string][]string{"env": {"dev", "staging"}, "team": {"backend"}},
				DBLabels:         map[string][]string{"env": {"dev"}},
				DBNames:          []string{"*"},
				DBUsers:          []string{"app", "{{internal.db_user}}_ro"},
				AppLabels:        map[string][]string{"*": {"*"}},
				KubernetesLabels: map[string][]string{"region": {"eu", "us"}},
				KubernetesGroups: []string{"system:masters"},
				Rules:            []resource.Rule{{Resources: []string{"role", "db"}, Verbs: []string{"list", "read"}}},
			},
			Deny: resource.RoleBlock{
				Logins: []string{"root"}, NodeLabels: map[string][]string{"env": {"prod"}}, DBNames: []string{"postgres"}, DBUsers: []string{"*"}, KubernetesGroups: []string{"*"},
			},
		},
	}
	r, err := read([]byte(backend))
	if err != nil {
		t.Fatal(err)
	}
	got, ok := r.Role()
	if d := cmp.Diff(want, got); !ok || d != "" {
		t.Error(d)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := resource.DecodeJSON("role", b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, again); d != "" {
		t.Error("through JSON:", d)
	}
	spec, err := r.SpecJSON()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := resource.DecodeSpec("role", r.Metadata, spec)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, stored); d != "" {
		t.Error("through storage:", d)
	}
}

func TestTheOtherKindsAreRead(t *testing.T) {
	all, err := resource.DecodeAll([]byte(`# everything in one file
kind: user
metadata: {name: Alice@example.com}
spec: {mapping: engineers, roles: [access], traits: {logins: [alice, ubuntu], team: backend}}
---
kind: iam_mapping
metadata: {name: engineers}
spec:
  match: {account: '123456789012', role: AWSReservedSSO_Engineer_0123456789abcdef}
  roles: access
---
kind: iam_mapping
metadata: {name: ci}
spec:
  match: {partition: aws-cn, account: '123456789012', role: ci, role_id: AROAABCDEFGHIJKLMNOP}
  user: ci
---
kind: token
metadata: {name: web}
spec:
  method: iam
  allow: [{account: '123456789012', role: web}]
  resources: [node, db]
  names: [web-*, bastion]
  labels: {env: prod}
  label_choice: {tier: [front, 'back-*']}
---
kind: token
metadata: {name: once}
spec: {method: token, resources: [node], names: [lab-1], uses: 1, expires: 2026-11-20T13:00:00Z}
---
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		got = append(got, r.Kind+" "+r.Metadata.Name+" "+r.Metadata.Scope)
	}
	if d := cmp.Diff([]string{"user Alice@example.com /", "iam_mapping engineers /", "iam_mapping ci /", "token web /", "token once /"}, got); d != "" {
		t.Error(d)
	}
}

// The API knows no lines: what it says of a field is found again in the file.
func TestAFaultOfTheAPIGetsItsPlaceInTheFile(t *testing.T) {
	all, err := resource.DecodeAll([]byte(role("  {}\n") + "---\nkind: token\nmetadata: {name: t}\nspec:\n  method: token\n  resources: [node]\n  names: [a]\n  expires: 2020-01-01T00:00:00Z\n"))
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %d", err, len(all))
	}
	said := strict.Refuse([]fault.Field{{Path: "spec.expires", Reason: "it is past"}, {Path: "spec.uses", Reason: "they are none"}})
	f := fault.From(all[1].Locate(said))
	if f.Message != "line 12, column 3: spec.expires: it is past (and 1 more)" || f.Hint != said.Hint || f.Code != said.Code || f.Fields[1].Path != "line 8, column 1: spec.uses" || said.Fields[0].Path != "spec.expires" {
		t.Errorf("%+v", f)
	}
	other := fault.New(fault.Denied, "no", "ask").With("ttl_seconds", "too large")
	for _, err := range []error{other, errors.New("down")} {
		if got := all[1].Locate(err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// role wraps the spec of a role, which begins at line 3.
func role(spec string) string { return "kind: role\nmetadata: {name: r}\nspec:\n" + spec }

func TestFaultsAreAllReportedWithPlaceAndReason(t *testing.T) {
	for name, c := range map[string]struct {
		doc    string
		fields []string // path: the beginning of the reason
	}{
		"an unknown key": {role("  alow: {}\n"), []string{"line 4, column 3: spec.alow: unknown key; known here: allow, deny, options"}},
		"an unknown key far below": {
			role("  allow:\n    logins: [a]\n    db_label: {a: b}\n"),
			[]string{"line 6, column 5: spec.allow.db_label: unknown key; known here: app_labels, db_labels, db_names, db_users, kubernetes_groups, kubernetes_labels, logins, node_labels, rules"},
		},
		"wrong types": {role("  options: {max_session_ttl: 8, forward_agent: 'yes'}\n  allow:\n    logins: {a: b}\n    node_labels: [env]\n"), []string{
			`line 4, column 30: spec.options.max_session_ttl: "8" is not a duration; write 30m, 8h or 1h30m`,
			"line 4, column 48: spec.options.forward_agent: this is a string; write true or false",
			"line 6, column 14: spec.allow.logins: this is a mapping of keys to values; write a list",
			"line 7, column 18: spec.allow.node_labels: this is a list; write a mapping",
		}},
		"a number for a label": {role("  allow: {node_labels: {version: 7}}\n"), []string{"line 4, column 34: spec.allow.node_labels.version: this is a number; write a list"}},
		"a duration that is none": {
			role("  options: {max_session_ttl: 8 hours}\n"),
			[]string{`line 4, column 30: spec.options.max_session_ttl: "8 hours" is not a duration; write 30m`},
		},
		"a number for no time at all": {
			role("  options: {max_session_ttl: 0}\n"),
			[]string{`line 4, column 30: spec.options.max_session_ttl: "0" is not a duration; write 30m`},
		},
		"a number for a time": {
			"kind: token\nmetadata: {name: a}\nspec: {method: token, resources: [node], names: [a], expires: 8}\n",
			[]string{`spec.expires: "8" is not a time; write it as 2006-01-02T15:04:05Z`},
		},
		"values out of range": {role("  options: {max_session_ttl: 13h, record: always}\n"), []string{
			"line 4, column 13: spec.options.max_session_ttl: 13h0m0s is out of range",
			"line 4, column 35: spec.options.record: \"always\" is not a way to record",
		}},
		"logins": {role("  allow:\n    logins: ['*', 'a b', '{{internal.logins', '{{email}}', '{{internal.a}}{{internal.b}}', '{{internal.x-}}-ok', '{{internal.a|b}}', 'a,{{internal.b}}']\n"), []string{
			`spec.allow.logins[0]: "*" can't be a login`, `spec.allow.logins[1]: "a b" can't be a login`,
			`spec.allow.logins[2]: "{{internal.logins" opens {{`, `spec.allow.logins[3]: "{{email}}" is not a template`,
			`spec.allow.logins[4]: "{{internal.a}}{{internal.b}}" contains more than one`,
			`spec.allow.logins[6]: "{{internal.a|b}}" is not a template`, `spec.allow.logins[7]: "a," can't be a login`,
		}},
		"what databases and clusters are used by": {role("  allow:\n    db_names: ['*', '', 'a b', 'a*', '{{internal.a', '{{internal.a}}_{{internal.b}}', '{{other.a}}']\n    db_users: ['*', 'a{b']\n    kubernetes_groups: ['*', \"a\\tb\"]\n  deny:\n    db_names: ['*', '?', 'a*']\n    db_users: ['*', '{{internal.}}']\n    kubernetes_groups: ['*', '*x']\n"), []string{
			`spec.allow.db_names[1]: "" is not allowed here`, `spec.allow.db_names[2]: "a b" is not allowed here`, `spec.allow.db_names[3]: "a*" is not allowed here`,
			`spec.allow.db_names[4]: "{{internal.a" opens {{`, `spec.allow.db_names[5]: "{{internal.a}}_{{internal.b}}" contains more than one`, `spec.allow.db_names[6]: "{{other.a}}" is not a template`,
			`spec.allow.db_users[0]: "*" is not allowed here`, `spec.allow.db_users[1]: "a{b" is not allowed here`,
			`spec.allow.kubernetes_groups[0]: "*" is not allowed here`, `spec.allow.kubernetes_groups[1]: "a\tb" is not allowed here`,
			`spec.deny.db_names[2]: "a*" is not allowed here`, `spec.deny.db_users[1]: "{{internal.}}" is not a template`, `spec.deny.kubernetes_groups[1]: "*x" is not allowed here`,
		}},
		"selectors of every kind of target": {role("  allow: {db_labels: {a: 'b*'}, app_labels: {'*': x}, kubernetes_labels: {a: []}}\n  deny: {db_labels: {a: '^b'}, app_labels: {'a b': c}, kubernetes_labels: {a: '{{internal.x}}'}}\n"), []string{
			"line 4, column 23: spec.allow.db_labels.a[0]: \"b*\" looks like a glob", "spec.allow.app_labels.*: the key * takes only", "spec.allow.kubernetes_labels.a: it has no values",
			"spec.deny.db_labels.a[0]: \"^b\" looks like a regular", "spec.deny.app_labels.a b: \"a b\" can't be the key", "spec.deny.kubernetes_labels.a[0]: \"{{internal.x}}\" looks like a template",
		}},
		"selectors that are not supported": {role("  deny:\n    node_labels: {env: 'pro*', a: '^x$', b: 'x?', c: '[ab]', d: '{{internal.team}}', e: [], f: '', '*': x, 'a b': c, g: '^x', h: 'x$'}\n"), []string{
			"spec.deny.node_labels.*: the key * takes only the value *", "spec.deny.node_labels.a[0]: \"^x$\" looks like a regular expression",
			"spec.deny.node_labels.a b: \"a b\" can't be the key", "spec.deny.node_labels.b[0]: \"x?\" looks like a glob", "spec.deny.node_labels.c[0]: \"[ab]\" looks like a glob",
			"spec.deny.node_labels.d[0]: \"{{internal.team}}\" looks like a template", "spec.deny.node_labels.e: it has no values",
			"spec.deny.node_labels.env[0]: \"pro*\" looks like a glob, which is not supported yet", "spec.deny.node_labels.f[0]: a label's value",
			"spec.deny.node_labels.g[0]: \"^x\" looks like a regular", "spec.deny.node_labels.h[0]: \"x$\" looks like a regular",
		}},
		"rules": {role("  allow: {rules: [{resources: [rolle], verbs: [write]}, {where: mine}]}\n  deny: {rules: [{resources: '*', verbs: '*', where: own}]}\n"), []string{
			"spec.allow.rules[0].resources[0]: \"rolle\" is unknown", "spec.allow.rules[0].verbs[0]: \"write\" is unknown",
			"spec.allow.rules[1].resources: it is empty", "spec.allow.rules[1].verbs: it is empty", "spec.allow.rules[1].where: the condition \"mine\" is not supported",
			"spec.deny.rules[0].where: a denial has no condition",
		}},
		"metadata": {"kind: role\nmetadata: {name: Über, scope: payments, revision: -1}\nspec: {}\n", []string{
			"line 2, column 12: metadata.name: \"Über\" can't be the name of a role", "line 2, column 24: metadata.scope: \"payments\" is not a scope", "metadata.revision: a revision",
		}},
		"no name":         {"kind: role\nspec: {}\n", []string{"line 1, column 1: metadata.name: \"\" can't be the name"}},
		"no kind":         {"metadata: {name: r}\n", []string{"line 1, column 1: kind: write kind: and one of role, user, iam_mapping, token"}},
		"an unknown kind": {"kind: rolle\n", []string{"line 1, column 1: kind: there is no kind \"rolle\""}},
		"a user": {"kind: user\nmetadata: {name: a}\nspec: {roles: [A], traits: {'a.b': [c], d: ['']}}\n", []string{
			"spec.mapping: name the iam_mapping", "spec.roles[0]: \"A\" can't be the name of a role", "spec.traits.a.b: \"a.b\" can't be the name of a trait", "spec.traits.d[0]: a trait's value",
		}},
		"what a record gives twice": {"kind: user\nmetadata: {name: a}\nspec: {mapping: m, roles: [a, b, a], traits: {x: ['1', '2', '2']}}\n", []string{
			"spec.roles[2]: role \"a\" is listed twice", "spec.traits.x[2]: the value is listed twice",
		}},
		"what a mapping gives twice": {"kind: iam_mapping\nmetadata: {name: a}\nspec: {match: {account: '123456789012', role: ci}, user: a, roles: [a, a], traits: {x: ['1', '1']}}\n", []string{
			"spec.roles[1]: role \"a\" is listed twice", "spec.traits.x[1]: the value is listed twice",
		}},
		"a session name that proves nothing": {"kind: iam_mapping\nmetadata: {name: a}\nspec: {match: {account: '123456789012', role: ci, session: alice}}\n", []string{
			"spec.match.session: session is accepted only with the full name", "spec.user: write the user's name; only a role of IAM Identity Center",
		}},
		"a match that isn't whole": {"kind: iam_mapping\nmetadata: {name: a}\nspec: {user: a, match: {partition: AWS, account: '12345678901', role: 'ci-*', role_id: AIDAABCDEFGHIJKLMNOP}}\n", []string{
			"spec.match.partition: \"AWS\" is not a partition", "spec.match.account: \"12345678901\" is not an account id", "spec.match.role: \"ci-*\" is not a role name", "spec.match.role_id: \"AIDA",
		}},
		"an account as a number": {"kind: iam_mapping\nmetadata: {name: a}\nspec: {user: a, match: {account: 123456789012, role: a}}\n", []string{"spec.match.account: this is a number; write a string, in quotes if need be"}},
		"a role with a path":     {"kind: iam_mapping\nmetadata: {name: a}\nspec: {user: a, match: {account: '123456789012', role: x/ci}}\n", []string{"spec.match.role: \"x/ci\" is not a role name"}},
		"a token by iam": {"kind: token\nmetadata: {name: a}\nspec: {method: iam, uses: 2, expires: 2026-11-20T13:00:00Z, resources: [proxy]}\n", []string{
			"spec.allow: list the AWS identities", "spec.uses: only method token counts uses", "spec.expires: only method token expires", "spec.resources[0]: \"proxy\" is not a kind of target; the kinds are node, db, app, kube", "spec.names: list the names",
		}},
		"more of one role than of all": {"kind: token\nmetadata: {name: a}\nspec: {method: iam, allow: [{account: '123456789012', role: a}], resources: [node], names: ['*'], max_nodes: 10001, max_nodes_per_identity: 10002}\n", []string{
			"spec.max_nodes: 10001 is out of range; write 1 to 10000", "spec.max_nodes_per_identity: 10002 is out of range; write 1 to max_nodes, which is 10000",
		}},
		"more of one role than by default": {"kind: token\nmetadata: {name: a}\nspec: {method: iam, allow: [{account: '123456789012', role: a}], resources: [node], names: ['*'], max_nodes_per_identity: 101}\n", []string{
			"spec.max_nodes_per_identity: 101 is out of range; write 1 to max_nodes, which is 100",
		}},
		"a number of no kind": {"kind: token\nmetadata: {name: a}\nspec: {method: token, resources: [node], names: ['*'], max_nodes: many, uses: 0, max_nodes_per_identity: 1.5}\n", []string{
			"spec.max_nodes: this is a string; write a whole number from 1 to 10000", "spec.uses: 0 is not allowed; write 1 to 1000, or leave uses out",
			"spec.max_nodes_per_identity: this is a number; write a whole number from 1 to max_nodes",
		}},
		"a number that is too long": {"kind: token\nmetadata: {name: a}\nspec: {method: token, resources: [node], names: ['*'], max_nodes: 99999999999999999999}\n", []string{
			"spec.max_nodes: 99999999999999999999 is out of range; write a whole number from 1 to 10000",
		}},
		"one more than there may be": {"kind: token\nmetadata: {name: a}\nspec: {method: token, resources: [node], names: ['*'], max_nodes: 10001, uses: 1001}\n", []string{
			"spec.uses: 1001 is out of range; write 1 to 1000", "spec.max_nodes: 10001 is out of range; write 1 to 10000",
		}},
		"fewer than none": {"kind: token\nmetadata: {name: a}\nspec: {method: iam, allow: [{account: '123456789012', role: a}], resources: [node], names: ['*'], max_nodes: -1, max_nodes_per_identity: -1}\n", []string{
			"spec.max_nodes: -1 is out of range", "spec.max_nodes_per_identity: -1 is out of range",
		}},
		"roles that nobody proves": {"kind: token\nmetadata: {name: a}\nspec: {method: token, resources: [node], names: ['*'], max_nodes_per_identity: 1}\n", []string{
			"spec.max_nodes_per_identity: only method iam knows who joins; leave it out",
		}},
		"a token by secret": {"kind: token\nmetadata: {name: a}\nspec: {method: token, allow: [{account: '123456789012', role: a}], uses: 1001, resources: [node], names: ['*', 'Web', 'a b'], labels: {a: b, '': c}, label_choice: {a: [b], c: []}}\n", []string{
			"spec.allow: only method iam", "spec.uses: 1001 is out of range", "spec.names[1]: \"Web\" can't be a target's name", "spec.names[2]: \"a b\" can't be",
			"spec.labels.: \"\" can't be the key", "spec.label_choice.a: the label is also pinned", "spec.label_choice.c: list the values",
		}},
		"a method that is none": {"kind: token\nmetadata: {name: a}\nspec: {resources: [node], names: [a]}\n", []string{"spec.method: \"\" is not a method of joining"}},
		"no resources":          {"kind: token\nmetadata: {name: a}\nspec: {method: token, names: [a]}\n", []string{"spec.resources: list the kinds of targets"}},
		"a node":                {"kind: node\nmetadata: {name: node-1}\nspec: {agent: x}\n", []string{"kind: nodes can't be written: agents create them by joining"}},
		"a database":            {"kind: db\nmetadata: {name: Orders}\nspec: {agent: x}\n", []string{"kind: dbs can't be written: agents create them by joining"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := read([]byte(c.doc))
			f := fault.From(err)
			if f == nil {
				t.Fatalf("taken as %+v", r)
			}
			if f.Code != fault.BadInput || f.Hint == "" || f.Message == "" {
				t.Errorf("%+v", f)
			}
			for _, want := range c.fields {
				if !anyField(f, want) {
					t.Errorf("no fault %q in %q", want, f.Fields)
				}
			}
			if len(f.Fields) != len(c.fields) {
				t.Errorf("%d faults instead of %d: %q", len(f.Fields), len(c.fields), f.Fields)
			}
			for _, word := range []string{"access.", "[]string", "struct", "int64", "json:", "interface"} {
				if strings.Contains(f.Message, word) {
					t.Errorf("the message speaks of Go: %s", f.Message)
				}
			}
		})
	}
}

// anyField compares behind the position, unless the expectation states it.
func anyField(f *fault.Fault, want string) bool {
	for _, x := range f.Fields {
		line := x.Path + ": " + x.Reason
		if strings.HasPrefix(line, want) {
			return true
		}
		if _, behind, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(line, "line ") && strings.HasPrefix(behind, want) {
			return true
		}
	}
	return false
}

func TestDecodeRefusesWhatIsNotOneResourceOfTheKind(t *testing.T) {
	for name, doc := range map[string]string{
		"nothing":       "",
		"two resources": backend + "---\n" + backend,
		"a list":        "- kind: role\n",
		"too much":      backend + "#" + strings.Repeat("x", 64<<10),
	} {
		if _, err := read([]byte(doc)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := resource.DecodeJSON("role", []byte(`{"kind":"user","metadata":{"name":"a"},"spec":{"mapping":"m"}}`)); !fault.Is(err, fault.BadInput) {
		t.Errorf("another kind: %v", err)
	}
	if _, err := resource.DecodeAll([]byte("# nothing\n")); !fault.Is(err, fault.BadInput) {
		t.Errorf("an empty file: %v", err)
	}
	two := "kind: role\nmetadata: {name: a}\nspek: {}\n---\nkind: role\nmetadata: {name: b}\nspec: {alow: {}}\n"
	f := fault.From(func() error { _, err := resource.DecodeAll([]byte(two)); return err }())
	if f == nil || len(f.Fields) != 2 || !strings.Contains(f.Fields[1].Path, "line 7") {
		t.Errorf("%+v", f)
	}
	if _, err := resource.DecodeSpec("role", resource.Metadata{Name: "a"}, []byte(`{"alow":{}}`)); err == nil {
		t.Error("a stored role with an unknown key was read")
	}
	if _, err := resource.DecodeSpec("rolle", resource.Metadata{Name: "a"}, []byte(`{}`)); !fault.Is(err, fault.BadInput) {
		t.Errorf("%v", err)
	}
	if _, err := resource.DecodeJSON("role", []byte(`{"kind":"role","metadata":{"name":"a"},"spec":{},"extra":1}`)); !fault.Is(err, fault.BadInput) {
		t.Errorf("%v", err)
	}
}

func TestPresetsAreValidAndReserved(t *testing.T) {
	k, ok := resource.KindOf("roles")
	if !ok {
		t.Fatal("there are no roles")
	}
	for _, p := range resource.Presets() {
		r := resource.Resource{Kind: "role", Metadata: p.Metadata, Spec: &p.Spec}
		if faults := r.Validate(); len(faults) > 0 {
			t.Errorf("%s: %v", p.Metadata.Name, faults)
		}
		if !k.Reserved(p.Metadata.Name) {
			t.Errorf("%s may be overwritten", p.Metadata.Name)
		}
	}
	if k.Reserved("backend") {
		t.Error("backend is reserved")
	}
}

func TestEveryKindIsFoundByItsWords(t *testing.T) {
	for word, want := range map[string]string{"role": "role", "Roles": "role", "iam-mapping": "iam_mapping", "mappings": "iam_mapping", "tokens": "token", "nodes": "node", "users": "user", "db": "db", "dbs": "db", "Apps": "app", "kubes": "kube", "Settings": "settings"} {
		if k, ok := resource.KindOf(word); !ok || k.Name != want {
			t.Errorf("%s is %s", word, k.Name)
		}
	}
	if _, ok := resource.KindOf("database"); ok {
		t.Error("there are databases")
	}
	for _, k := range resource.Kinds {
		name := "a"
		if k.Name == "settings" {
			name = "cluster"
		}
		if k.Summary == "" || k.Plural == "" || !k.ValidName(name) || name != "a" && k.ValidName("a") || k.ValidName("") || k.ValidName("a b") || k.ValidName("../a") {
			t.Errorf("the row of %s is not complete", k.Name)
		}
	}
}

// Every field of a role's block that selects or names is some kind's: one that no kind reads would be accepted and ignored.
func TestEveryKindOfTargetIsAResourceAndReadsItsFieldsOfARole(t *testing.T) {
	fields := map[string]bool{"rules": false}
	block := reflect.TypeFor[resource.RoleBlock]()
	for field := range block.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		fields[name] = name == "rules"
	}
	for _, k := range resource.TargetKinds {
		if !resource.IsTargetKind(k.Name) || !identity.ValidTargetKind(k.Name) || k.Plural == "" || k.Summary == "" || len(k.Uses) > resource.MaxUses {
			t.Errorf("the row of %s is not complete", k.Name)
		}
		kind, ok := resource.KindOf(k.Plural)
		if !ok || kind.Name != k.Name || !kind.Target || kind.Writable || kind.Policy || kind.Partition() != names.Target+"#"+k.Name {
			t.Errorf("%s is the resource %+v in partition %s", k.Name, kind, kind.Partition())
		}
		read := func(field, value string) (resource.Labels, [][]string) {
			t.Helper()
			r, err := read([]byte(role("  deny: {" + field + ": " + value + "}\n")))
			if err != nil {
				t.Fatalf("%s: %v", field, err)
			}
			fields[field] = true
			return k.Of(&r.Spec.(*resource.RoleSpec).Deny)
		}
		if labels, _ := read(k.Labels, "{a: b}"); len(labels) != 1 {
			t.Errorf("%s is not what selects a %s", k.Labels, k.Name)
		}
		for i, u := range k.Uses {
			if _, uses := read(u.Field, "[x]"); len(uses) != len(k.Uses) || !cmp.Equal(uses[i], []string{"x"}) {
				t.Errorf("%s is not what names a %s's %s: %q", u.Field, k.Name, u.Name, uses)
			}
		}
	}
	for field, read := range fields {
		if !read {
			t.Errorf("no kind of target reads %s", field)
		}
	}
	for _, word := range []string{"role", "user", "token", "iam_mapping"} {
		k, ok := resource.KindOf(word)
		if !ok || k.Target || k.Partition() != word || resource.IsTargetKind(word) {
			t.Errorf("%s is a target: %+v in %s", word, k, k.Partition())
		}
	}
}

func TestADatabaseAndANodeOfOneNameAreTwoResources(t *testing.T) {
	var kinds []resource.Kind
	for _, kind := range []string{"node", "db"} {
		spec := []byte(`{"agent":"agt_01hv0000000000000000000000"}`)
		if r, err := resource.DecodeSpec(kind, resource.Metadata{Name: "orders"}, spec); err != nil || r.Kind != kind || len(r.Validate()) > 0 {
			t.Errorf("%+v %v %v", r, err, r.Validate())
		}
		for name, faulty := range map[string]string{"Orders": string(spec), "orders": `{"agent":"x"}`} {
			if r, err := resource.DecodeSpec(kind, resource.Metadata{Name: name}, []byte(faulty)); err != nil || len(r.Validate()) != 1 {
				t.Errorf("%s %s: %v, %v", name, faulty, err, r.Validate())
			}
		}
		k, _ := resource.KindOf(kind)
		kinds = append(kinds, k)
	}
	if kinds[0].Partition() == kinds[1].Partition() {
		t.Errorf("both stand in %s", kinds[0].Partition())
	}
	one := resource.TokenSpec{Resources: []string{"node"}, Names: []string{"orders"}}
	if !one.Grants(identity.Target{Kind: "node", Name: "orders"}) || one.Grants(identity.Target{Kind: "db", Name: "orders"}) {
		t.Error("a token for a node grants a database of its name, or not the node")
	}
}

// An option that is accepted is enforced: what nothing enforces yet is refused where it is written, by name.
func TestWhatNothingEnforcesIsRefusedByNameAndPlace(t *testing.T) {
	for name, c := range map[string]struct{ spec, field, reason string }{
		"agents that are forwarded": {"  options: {forward_agent: true}\n", "line 4, column 13: spec.options.forward_agent", "write false"},
		"ports that are forwarded":  {"  options:\n    fresh: true\n    port_forwarding: true\n", "line 6, column 5: spec.options.port_forwarding", "write false"},
		"a second factor":           {"  options: {require_session_mfa: true}\n", "line 4, column 13: spec.options.require_session_mfa", "nothing enforces it yet"},
		"recording with a low line": {"  options: {record: best_effort}\n", "line 4, column 13: spec.options.record", "write off, best-effort or strict"},
		"recording by a bare on":    {"  options: {record: 'on'}\n", "line 4, column 13: spec.options.record", "not a way to record"},
		"refusing when full":        {"  options: {record_when_full: refuse}\n", "line 4, column 13: spec.options.record_when_full", "write admit"},
		"a condition to come":       {"  allow:\n    rules:\n      - {resources: [recording], verbs: [read], where: participant}\n", "line 6, column 49: spec.allow.rules[0].where", `"participant" is not supported`},
		"an owner of roles":         {"  allow:\n    rules:\n      - {resources: [recording, role], verbs: [read], where: own}\n", "line 6, column 55: spec.allow.rules[0].where", "own is about recording and event"},
		"an owner of everything":    {"  allow: {rules: [{resources: '*', verbs: '*', where: own}]}\n", "line 4, column 48: spec.allow.rules[0].where", "own is about recording and event"},
		"a condition of a denial":   {"  deny: {rules: [{resources: recording, verbs: '*', where: own}]}\n", "line 4, column 53: spec.deny.rules[0].where", "a denial has no condition"},
		"a rule about sessions":     {"  allow: {rules: [{resources: [session], verbs: [list]}]}\n", "line 4, column 32: spec.allow.rules[0].resources[0]", `"session" is unknown`},
		"a denial about locks":      {"  deny: {rules: [{resources: [lock], verbs: ['*']}]}\n", "line 4, column 31: spec.deny.rules[0].resources[0]", `"lock" is unknown`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := read([]byte(role(c.spec)))
			f := fault.From(err)
			if f == nil {
				t.Fatalf("taken as %+v", r.Spec)
			}
			if len(f.Fields) != 1 || f.Code != fault.BadInput || f.Fields[0].Path != c.field || !strings.Contains(f.Fields[0].Reason, c.reason) {
				t.Errorf("%s: %q", f.Code, f.Fields)
			}
		})
	}
	for name, spec := range map[string]string{
		"nothing at all":                       "  options: {}\n",
		"what is off":                          "  options: {forward_agent: false, port_forwarding: false, require_session_mfa: false, record: 'off'}\n",
		"what is enforced":                     "  options: {record: strict, record_when_full: admit, fresh: true, pin_source_ip: true, disconnect_expired_cert: false, max_session_ttl: 1h}\n",
		"sessions that end, which is usual":    "  options: {disconnect_expired_cert: true}\n",
		"rules about every kind of resource":   "  allow: {rules: [{resources: [" + strings.Join(resource.RuleResources(), ", ") + ", '*'], verbs: [list, read, create, update, delete, '*']}]}\n",
		"a rule about nodes, dbs and clusters": "  allow: {rules: [{resources: [node, db, app, kube], verbs: delete}]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := read([]byte(role(spec))); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is empty could be meant as none or as any, and would be gone when it is read again.
func TestWhatSaysNothingIsRefusedByNameAndPlace(t *testing.T) {
	const token = "kind: token\nmetadata: {name: t}\nspec:\n  method: token\n  resources: [node]\n  names: [web-1]\n"
	const mapping = "kind: iam_mapping\nmetadata: {name: m}\nspec:\n  user: ada\n  match: {account: '123456789012', role: eng, %s}\n"
	for field, document := range map[string]string{
		"spec.deny.node_labels":        role("  deny: {node_labels: {}}\n"),
		"spec.allow.logins":            role("  allow: {logins: []}\n"),
		"spec.deny.rules":              role("  deny: {rules: }\n"),
		"spec.deny":                    role("  deny:\n"),
		"spec.options.max_session_ttl": role("  options: {max_session_ttl: 0s}\n"),
		"spec.options.fresh":           role("  options: {fresh: null}\n"),
		"spec.options.record":          role("  options: {record: ''}\n"),
		"spec.uses":                    token + "  uses: 0\n",
		"spec.max_nodes":               token + "  max_nodes: 0\n",
		"spec.label_choice":            token + "  label_choice: {}\n",
		"spec.match.role_id":           fmt.Sprintf(mapping, "role_id: ''"),
		"spec.match.session":           fmt.Sprintf(mapping, "session: ~"),
		"metadata.scope":               "kind: role\nmetadata: {name: r, scope: ''}\nspec: {}\n",
	} {
		r, err := read([]byte(document))
		f := fault.From(err)
		if f == nil {
			t.Errorf("%s: taken as %+v", field, r.Spec)
		} else if len(f.Fields) != 1 || !strings.HasSuffix(f.Fields[0].Path, ": "+field) || !strings.Contains(f.Fields[0].Reason, "; write ") || !strings.HasSuffix(f.Fields[0].Reason, ", or leave "+field[strings.LastIndexByte(field, '.')+1:]+" out") {
			t.Errorf("%s: %q", field, f.Fields)
		}
	}
	for _, document := range []string{role("  deny: {}\n  allow: {}\n  options: {}\n"), token + "  uses: 1\n", fmt.Sprintf(mapping, "role_id: AROAEXAMPLE00000000AB")} {
		if _, err := read([]byte(document)); err != nil {
			t.Error(err)
		}
	}
}

// A stored role stays readable when the rules get stricter; package policy then denies its holders everything.
func TestAStoredRoleWithAnOptionThatIsRefusedNowIsReadAndDoesNotValidate(t *testing.T) {
	r, err := resource.DecodeSpec("role", resource.Metadata{Name: "old", Scope: "/"}, []byte(`{"options":{"record":"always","port_forwarding":true},"allow":{"rules":[{"resources":["session"],"verbs":["list"],"where":"own"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range r.Validate() {
		paths = append(paths, f.Path)
	}
	if d := cmp.Diff([]string{"spec.options.port_forwarding", "spec.options.record", "spec.allow.rules[0].resources[0]", "spec.allow.rules[0].where"}, paths); d != "" {
		t.Error(d)
	}
}

func TestIAMMatchComparesEveryPartWhole(t *testing.T) {
	sso := "AWSReservedSSO_Engineer_0123456789abcdef"
	who := resource.IAMIdentity{Partition: "aws", Account: "123456789012", Role: sso, RoleID: "AROAABCDEFGHIJKLMNOP", Session: "alice"}
	for name, c := range map[string]struct {
		match resource.IAMMatch
		want  bool
	}{
		"account and role":        {resource.IAMMatch{Account: "123456789012", Role: sso}, true},
		"everything":              {resource.IAMMatch{Partition: "aws", Account: "123456789012", Role: sso, RoleID: "AROAABCDEFGHIJKLMNOP", Session: "alice"}, true},
		"another partition":       {resource.IAMMatch{Partition: "aws-cn", Account: "123456789012", Role: sso}, false},
		"another account":         {resource.IAMMatch{Account: "123456789013", Role: sso}, false},
		"another role id":         {resource.IAMMatch{Account: "123456789012", Role: sso, RoleID: "AROAABCDEFGHIJKLMNOQ"}, false},
		"another session":         {resource.IAMMatch{Account: "123456789012", Role: sso, Session: "bob"}, false},
		"a role's beginning":      {resource.IAMMatch{Account: "123456789012", Role: sso[:20]}, false},
		"a role in another case":  {resource.IAMMatch{Account: "123456789012", Role: strings.ToLower(sso)}, false},
		"nothing":                 {resource.IAMMatch{}, false},
		"a match that is invalid": {resource.IAMMatch{Account: "123456789012", Role: "ci", Session: "alice"}, false},
	} {
		if got := c.match.Matches(who); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	for role, want := range map[string]bool{
		sso: true, "AWSReservedSSO_A_B_0123456789abcdef": true, "AWSReservedSSO_Engineer_0123456789abcde": false, "AWSReservedSSO_Engineer_0123456789ABCDEF": false,
		"AWSReservedSSO_0123456789abcdef": false, "xAWSReservedSSO_E_0123456789abcdef": false, "AWSReservedSSO_E_0123456789abcdef0": false, "AWSReservedSSO_*": false,
	} {
		if resource.IsSSO(role) != want {
			t.Errorf("IsSSO(%s) is not %t", role, want)
		}
	}
	if err := (resource.IAMMatch{Account: "123456789012", Role: "ci"}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (resource.IAMMatch{Role: "ci"}).Validate(); !fault.Is(err, fault.BadInput) || !strings.Contains(err.Error(), "match.account") {
		t.Error(err)
	}
}

func TestATokenGrantsOnlyWhatItNames(t *testing.T) {
	s := resource.TokenSpec{
		Resources: []string{"node", "db"}, Names: []string{"web-*", "bastion"},
		Labels: map[string]string{"env": "prod"}, LabelChoice: map[string][]string{"tier": {"front", "back-*"}, "any": {"*"}},
	}
	for name, want := range map[string]bool{"web-1": true, "web-": false, "web": false, "bastion": true, "bastion2": false, "xweb-1": false, "web-A": false, "web-1/x": false, "": false} {
		// Resources and names are a product: each kind with each name, and no kind but those.
		for kind, granted := range map[string]bool{"node": true, "db": true, "app": false, "kube": false, "Node": false, "nod": false, "*": false, "": false} {
			if target := (identity.Target{Kind: kind, Name: name}); s.Grants(target) != (want && granted) {
				t.Errorf("Grants(%q) is not %t", target, want && granted)
			}
		}
	}
	for what, none := range map[string]resource.TokenSpec{"resources": {Names: []string{"*"}}, "names": {Resources: []string{"node"}}} {
		if none.Grants(identity.Target{Kind: "node", Name: "web-1"}) {
			t.Errorf("a token without %s grants something", what)
		}
	}
	got, err := s.GrantLabels(map[string]string{"tier": "back-2", "env": "prod", "any": "thing"})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"env": "prod", "tier": "back-2", "any": "thing"}, got); d != "" {
		t.Error(d)
	}
	if got, err := s.GrantLabels(nil); err != nil || got["env"] != "prod" || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
	for _, claim := range []map[string]string{{"env": "dev"}, {"tier": "other"}, {"team": "x"}, {"any": ""}, {"any": "a\nb"}} {
		got, err := s.GrantLabels(claim)
		if !fault.Is(err, fault.Denied) || !strings.Contains(fault.From(err).Hint, "to the token's label_choice") {
			t.Errorf("%v granted %v: %v", claim, got, err)
		}
		fixed := s
		fixed.Method = resource.MethodToken
		if _, err := fixed.GrantLabels(claim); err == nil || !strings.Contains(fault.From(err).Hint, "create another token") {
			t.Errorf("%v of a token that can't be changed: %v", claim, err)
		}
	}
	if len(s.Labels) != 1 {
		t.Error("granting changed the token")
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"*", "", true},
		{"*", "x", true},
		{"a*", "abc", true},
		{"*c", "abc", true},
		{"a*c", "ac", true},
		{"a*c", "abb", false},
		{"a*b*c", "a1b2c", true},
		{"a*b*c", "acb", false},
		{"ab*ba", "aba", false},
		{"**", "x", true},
		{"*a*a", "a", false},
		{"", "", true},
		{"", "x", false},
	} {
		if resource.Glob(c.pattern, c.s) != c.want {
			t.Errorf("Glob(%q, %q) is not %t", c.pattern, c.s, c.want)
		}
	}
}

func TestScopes(t *testing.T) {
	for s, want := range map[string]bool{"/": true, "/a": true, "/payments/prod": true, "": false, "a": false, "/a/": false, "//": false, "/A": false, "/../a": false, "/a/b/c/d/e/f/g/h/i": false} {
		if resource.ValidScope(s) != want {
			t.Errorf("ValidScope(%q) is not %t", s, want)
		}
	}
	for _, c := range []struct {
		scope, above string
		want         bool
	}{
		{"/a", "/", true}, {"/a/b", "/a", true}, {"/a", "/a", true}, {"/ab", "/a", false}, {"/", "/a", false}, {"", "/", true}, {"", "/a", false}, {"/a", "", true},
	} {
		if resource.Within(c.scope, c.above) != c.want {
			t.Errorf("Within(%q, %q) is not %t", c.scope, c.above, c.want)
		}
	}
}

func TestTemplatesExpandFromTraits(t *testing.T) {
	traits := map[string][]string{"logins": {"alice", "root,admin", "", "*", "bob"}, "team": {"web"}}
	for text, want := range map[string][]string{
		"ubuntu":                   {"ubuntu"},
		"{{internal.logins}}":      {"alice", "bob"},
		"{{ external.logins }}":    {"alice", "bob"},
		"svc-{{internal.team}}":    {"svc-web"},
		"{{internal.team}}-admin":  {"web-admin"},
		"a{{internal.team}}b":      {"awebb"},
		"{{internal.nothing}}":     nil,
		"pre-{{internal.nothing}}": nil,
	} {
		p, err := use(t, "node", "login").Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, _ := p.Expand(traits)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
	p, err := use(t, "node", "login").Parse("{{internal.logins}}")
	if err != nil {
		t.Fatal(err)
	}
	if _, dropped := p.Expand(traits); cmp.Diff([]string{"root,admin", "", "*"}, dropped) != "" {
		t.Errorf("dropped %q", dropped)
	}
	// What is no login may be the user of a database, which is compared whole: nothing splits it at a comma.
	if p, err = use(t, "db", "user").Parse("{{internal.logins}}"); err != nil {
		t.Fatal(err)
	}
	values, dropped := p.Expand(traits)
	if cmp.Diff([]string{"alice", "root,admin", "bob"}, values) != "" || cmp.Diff([]string{"", "*"}, dropped) != "" {
		t.Errorf("gave %q and dropped %q", values, dropped)
	}
}

// use finds what a session says about how it uses a kind of target.
func use(t testing.TB, kind, name string) resource.Use {
	t.Helper()
	for _, k := range resource.TargetKinds {
		for _, u := range k.Uses {
			if k.Name == kind && u.Name == name {
				return u
			}
		}
	}
	t.Fatalf("a %s is not used by %s", kind, name)
	return resource.Use{}
}

// FuzzRoleYAML: whatever is taken for a role is valid, and is the same role after it was stored.
func FuzzRoleYAML(f *testing.F) {
	for _, seed := range []string{
		backend, "", "kind: role", role("  allow: {logins: '*'}\n"), role("  allow: &a {logins: *a}\n"), "- - - -", "{{{{", "? ?", "a: b: c", "kind: role\n---\nkind: role\n",
		role("  allow: {node_labels: {'*': '*'}}\n"), "\xff", "kind: !!role x", "kind: |\n  role\n", "%YAML 1.2\n---\nkind: role\n", "kind: role\nmetadata: {name: \"\\u0072\"}\nspec:\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		r, err := read([]byte(doc))
		if err != nil {
			if f := fault.From(err); f.Code == fault.Internal || f.Hint == "" {
				t.Fatalf("%q: %v", doc, err)
			}
			return
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := resource.DecodeJSON("role", b)
		if err != nil {
			t.Fatalf("%q is taken, and not as %s: %v", doc, b, err)
		}
		second, err := json.Marshal(again)
		if err != nil || string(b) != string(second) {
			t.Fatalf("%q changes from %s to %s", doc, b, second)
		}
	})
}

// FuzzResources: a file of resources of any kind is taken whole or not at all, and each is the same after it was stored.
func FuzzResources(f *testing.F) {
	for _, seed := range []string{
		role("  allow: {logins: [root]}\n") + "---\n" + role(""),
		"- {kind: user, metadata: {name: bob}, spec: {mapping: m, roles: [access]}}\n- {kind: user, metadata: {name: eve}, spec: {mapping: m}}\n",
		"kind: iam_mapping\nmetadata: {name: m}\nspec: {match: {account: '111122223333', role: R}, user: u, traits: {logins: [a]}}\n",
		"kind: token\nmetadata: {name: t, scope: /a/b, revision: 3}\nspec: {method: token, resources: [node], names: [web-*], uses: 2, expires: 2026-11-20T12:00:00Z}\n",
		"kind: token\nmetadata: {name: t}\nspec: {method: iam, resources: [db], names: ['*'], allow: [{account: '111122223333', role: R}], label_choice: {env: [a*]}}\n",
		"kind: node\nmetadata: {name: web-1}\nspec: {agent: x}\n", "---\n---\n", "[]", "- []", "kind: user\nkind: role\n",
		"kind: user\nmetadata: {name: bob}\nspec: {mapping: m, traits: {logins: []}}\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file string) {
		all, err := resource.DecodeAll([]byte(file))
		if err != nil {
			if f := fault.From(err); f.Code == fault.Internal || f.Hint == "" || len(all) != 0 {
				t.Fatalf("%q: %v, and %d are taken", file, err, len(all))
			}
			return
		}
		for _, r := range all {
			spec, err := r.SpecJSON()
			if fault.Is(err, fault.BadInput) {
				continue // too large to be stored, and told so
			}
			if err != nil {
				t.Fatal(err)
			}
			again, err := resource.DecodeSpec(r.Kind, r.Metadata, spec)
			if err != nil || len(again.Validate()) > 0 {
				t.Fatalf("%q is taken, and not read again from %s: %v", file, spec, err)
			}
			if second, err := again.SpecJSON(); err != nil || string(second) != string(spec) {
				t.Fatalf("%q changes from %s to %s", file, spec, second)
			}
		}
	})
}

// FuzzTemplate: an expression that is taken only ever gives legal logins, or users of databases, which begin and end as
// it says.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"ubuntu", "{{internal.logins}}", "a{{external.x}}b", "{{", "}}", "{{internal.}}", "{{internal.x}}{{internal.y}}", "{{{internal.x}}}", "{{internal.x}}}}", "a,b"} {
		f.Add(seed, "alice")
		f.Add(seed, "a,b")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		for _, c := range []struct {
			use    resource.Use
			most   int
			banned string
		}{{use(t, "node", "login"), 64, ",*?@ \t\r\n\x00{}"}, {use(t, "db", "user"), 128, "* \t\r\n\x00{}"}} {
			p, err := c.use.Parse(text)
			if err != nil {
				continue
			}
			values, dropped := p.Expand(map[string][]string{p.Trait: {value}})
			if len(values)+len(dropped) != 1 {
				t.Fatalf("%q with %q gave %q and dropped %q", text, value, values, dropped)
			}
			for _, v := range values {
				if v == "" || len(v) > c.most || strings.ContainsAny(v, c.banned) || !strings.HasPrefix(v, p.Prefix) || !strings.HasSuffix(v, p.Suffix) || !p.Legal(v) {
					t.Fatalf("%q with %q gave %q for a %s", text, value, v, c.use.Name)
				}
			}
		}
	})
}

// One mapping that can't be read keeps everyone from logging in, and from removing it.
func TestATraitWithoutAValueIsStoredSoThatItCanBeReadAgain(t *testing.T) {
	for kind, spec := range map[string]string{
		"user": `{"mapping":"m","traits":{"logins":[]}}`, "iam_mapping": `{"match":{"account":"111122223333","role":"R"},"user":"u","traits":{"logins":[]}}`,
	} {
		r, err := resource.DecodeJSON(kind, []byte(`{"kind":"`+kind+`","metadata":{"name":"m"},"spec":`+spec+`}`))
		if err != nil {
			t.Fatal(err)
		}
		b, err := r.SpecJSON()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := resource.DecodeSpec(kind, r.Metadata, b); err != nil || !cmp.Equal(again, r) {
			t.Errorf("%s is stored as %s: %+v, %v", kind, b, again, err)
		}
	}
}

// What is stored can be read again, however its body is written.
func TestWhatCanNotBeReadAgainIsNotStored(t *testing.T) {
	mapping := func(value string, n int) resource.Resource {
		spec := resource.MappingSpec{Traits: map[string][]string{}}
		for i := range n {
			spec.Traits["logins"] = append(spec.Traits["logins"], fmt.Sprintf("%d%s", i, value))
		}
		return resource.Resource{Kind: "iam_mapping", Metadata: resource.Metadata{Name: "m", Scope: "/"}, Spec: &spec}
	}
	r := mapping(strings.Repeat("<", 200), 80)
	b, err := r.SpecJSON()
	if err != nil || len(b) > 20<<10 {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	if got, err := resource.DecodeSpec(r.Kind, r.Metadata, b); err != nil || !cmp.Equal(got, r) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := mapping(strings.Repeat("\x01", 200), 80).SpecJSON(); !fault.Is(err, fault.BadInput) {
		t.Error(err)
	}
}

func TestHowManyAgentsThereMayBeByAToken(t *testing.T) {
	for name, c := range map[string]struct {
		spec              resource.TokenSpec
		most, perIdentity int
	}{
		"iam":                        {resource.TokenSpec{Method: resource.MethodIAM}, 100, 100},
		"iam, said":                  {resource.TokenSpec{Method: resource.MethodIAM, MaxNodes: 7}, 7, 7},
		"iam, said of each role":     {resource.TokenSpec{Method: resource.MethodIAM, MaxNodes: 7, MaxNodesPerIdentity: 2}, 7, 2},
		"a secret":                   {resource.TokenSpec{Method: resource.MethodToken}, 1, 1},
		"a secret of several uses":   {resource.TokenSpec{Method: resource.MethodToken, Uses: 5}, 5, 5},
		"a secret for fewer at once": {resource.TokenSpec{Method: resource.MethodToken, Uses: 5, MaxNodes: 2}, 2, 2},
	} {
		if got := [2]int{c.spec.MostNodes(), c.spec.MostPerIdentity()}; got != [2]int{c.most, c.perIdentity} {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWhatASecretLooksLike(t *testing.T) {
	secret := resource.SecretPrefix + strings.Repeat("A", 43)
	if !resource.IsSecret(secret) {
		t.Errorf("%s is none", secret)
	}
	for _, s := range []string{"", resource.SecretPrefix, secret[4:], secret[:46], secret + "A", secret + "=", secret[:46] + "B", secret[:46] + "+", " " + secret} {
		if resource.IsSecret(s) {
			t.Errorf("%q is one", s)
		}
	}
}
