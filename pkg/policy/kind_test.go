package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/policy"
)

func TestEveryKindOfTargetIsDecidedByItsOwnFields(t *testing.T) {
	set := roles(t, map[string]string{
		"dev":      `{allow: {db_labels: {env: dev}, db_names: [orders, stock], db_users: [app, '{{internal.db}}']}}`,
		"all":      `{allow: {logins: [root], node_labels: {'*': '*'}, db_labels: {'*': '*'}, db_names: '*', db_users: [app, postgres], app_labels: {'*': '*'}, kubernetes_labels: {'*': '*'}, kubernetes_groups: [view, edit]}}`,
		"nolabels": `{allow: {db_names: '*', db_users: app}}`,
		"nonames":  `{allow: {db_labels: {'*': '*'}, db_users: app}}`,
		"nousers":  `{allow: {db_labels: {'*': '*'}, db_names: '*'}}`,
		"nodes":    `{allow: {logins: [app], node_labels: {'*': '*'}}}`,
		"noapp":    `{deny: {db_users: app}}`,
		"nostock":  `{deny: {db_names: stock}}`,
		"noprod":   `{deny: {db_labels: {env: prod}}}`,
		"noapp1":   `{deny: {db_labels: {env: prod}, db_users: app}}`,
		"noboth":   `{deny: {db_names: stock, db_users: app}}`,
		"nothree":  `{deny: {db_labels: {env: prod}, db_names: stock, db_users: app}}`,
		"nodb":     `{deny: {db_users: '*'}}`,
		"norootdb": `{deny: {logins: app}}`,
		"grafana":  `{allow: {app_labels: {app: grafana}}}`,
		"noapps":   `{deny: {app_labels: {env: prod}}}`,
		"eu":       `{allow: {kubernetes_labels: {region: eu}, kubernetes_groups: ['{{internal.groups}}']}}`,
		"noedit":   `{deny: {kubernetes_groups: edit}}`,
		"noedit1":  `{deny: {kubernetes_groups: edit, kubernetes_labels: {region: us}}}`,
		"payments": `/payments|{allow: {db_labels: {'*': '*'}, db_names: '*', db_users: app}}`,
	})
	db := func(labels ...string) policy.Target { return target("db", "orders-1", "/", labels...) }
	app := func(labels ...string) policy.Target { return target("app", "grafana", "/", labels...) }
	kube := func(labels ...string) policy.Target { return target("kube", "eu-1", "/", labels...) }
	as := func(database, user string) policy.Use { return policy.Use{"database": database, "user": user} }
	group := func(name string) policy.Use { return policy.Use{"group": name} }
	for _, c := range []struct {
		sentence string
		roles    string
		target   policy.Target
		use      policy.Use
		allowed  bool
		reason   string // part of it
		rule     string
	}{
		{"labels, names and users all match", "dev", db("env", "dev"), as("orders", "app"), true, "role dev: allows database orders and user app on db orders-1", "allow.db_names"},
		{"another label", "dev", db("env", "prod"), as("orders", "app"), false, "the role requires env=dev, but the db has env=prod", "allow.db_labels"},
		{"no label", "dev", db(), as("orders", "app"), false, "the db has no label env", "allow.db_labels"},
		{"another database", "dev", db("env", "dev"), as("users", "app"), false, "it doesn't allow database users; it allows orders, stock", "allow.db_names"},
		{"another user", "dev", db("env", "dev"), as("orders", "postgres"), false, "it doesn't allow user postgres; it allows app, own", "allow.db_users"},
		{"a user from a trait", "dev", db("env", "dev"), as("stock", "own"), true, "", "allow.db_names"},
		{"a user's name is compared whole", "dev", db("env", "dev"), as("orders", "appx"), false, "user appx", "allow.db_users"},
		{"an asterisk for names is every database", "all", db(), as("anything", "app"), true, "", "allow.db_names"},
		{"names and users without labels select nothing", "nolabels", db("env", "dev"), as("orders", "app"), false, "it selects no dbs", "allow.db_labels"},
		{"labels and users without names open no database", "nonames", db("env", "dev"), as("orders", "app"), false, "database orders", "allow.db_names"},
		{"labels and names without users open none either", "nousers", db("env", "dev"), as("orders", "app"), false, "user app", "allow.db_users"},
		{"parts of two roles don't add up", "nonames,nousers,nolabels", db("env", "dev"), as("orders", "app"), false, "", ""},
		{"a role for nodes opens no database", "nodes", db("env", "dev"), as("orders", "app"), false, "it selects no dbs", "allow.db_labels"},
		{"a deny of users alone holds for every database", "all,noapp", db(), as("orders", "app"), false, "role noapp: denies user app", "deny.db_users"},
		{"a deny of users leaves the others", "all,noapp", db(), as("orders", "postgres"), true, "", ""},
		{"a deny of names alone holds for every user", "all,nostock", db(), as("stock", "postgres"), false, "role nostock: denies database stock", "deny.db_names"},
		{"a deny of names leaves the others", "all,nostock", db(), as("orders", "postgres"), true, "", ""},
		{"a deny of labels alone holds for every use", "all,noprod", db("env", "prod"), as("orders", "app"), false, "denies dbs with env=prod", "deny.db_labels"},
		{"a deny of labels and users needs both: it is both", "all,noapp1", db("env", "prod"), as("orders", "app"), false, "denies user app on dbs like this one", "deny.db_users"},
		{"a deny of labels and users needs both: another user", "all,noapp1", db("env", "prod"), as("orders", "postgres"), true, "", ""},
		{"a deny of labels and users needs both: another label", "all,noapp1", db("env", "dev"), as("orders", "app"), true, "", ""},
		{"a deny of names and users needs both: it is both", "all,noboth", db(), as("stock", "app"), false, "denies database stock and user app", "deny.db_names"},
		{"a deny of names and users needs both: another name", "all,noboth", db(), as("orders", "app"), true, "", ""},
		{"a deny of names and users needs both: another user", "all,noboth", db(), as("stock", "postgres"), true, "", ""},
		{"a deny of all three needs all three: it is", "all,nothree", db("env", "prod"), as("stock", "app"), false, "nothree", "deny.db_names"},
		{"a deny of all three needs all three: another label", "all,nothree", db("env", "dev"), as("stock", "app"), true, "", ""},
		{"a deny of all three needs all three: another name", "all,nothree", db("env", "prod"), as("orders", "app"), true, "", ""},
		{"a deny of all three needs all three: another user", "all,nothree", db("env", "prod"), as("stock", "postgres"), true, "", ""},
		{"a deny of every user", "all,nodb", db(), as("orders", "app"), false, "nodb", "deny.db_users"},
		{"a deny of databases says nothing about nodes", "all,nodb,noprod,noapp", node("", "env", "prod"), policy.Login("root"), true, "", ""},
		{"a deny of logins says nothing about databases", "all,norootdb", db(), as("orders", "app"), true, "", ""},
		{"an app is reached by its labels alone", "grafana", app("app", "grafana"), policy.Use{}, true, "role grafana: allows app grafana", "allow.app_labels"},
		{"an app is reached without a use at all", "grafana", app("app", "grafana"), nil, true, "", ""},
		{"another app is not", "grafana", app("app", "jaeger"), nil, false, "the role requires app=grafana, but the app has app=jaeger", "allow.app_labels"},
		{"a deny of apps by label", "all,noapps", app("env", "prod"), nil, false, "denies apps with env=prod", "deny.app_labels"},
		{"a deny of apps leaves the others", "all,noapps", app("env", "dev"), nil, true, "", ""},
		{"a group of a Kubernetes cluster from a trait", "eu", kube("region", "eu"), group("view"), true, "allows group view on kube eu-1", "allow.kubernetes_groups"},
		{"a group that no trait gives", "eu", kube("region", "eu"), group("edit"), false, "it doesn't allow group edit", "allow.kubernetes_groups"},
		{"a cluster elsewhere", "eu", kube("region", "us"), group("view"), false, "region=us", "allow.kubernetes_labels"},
		{"a deny of a group", "all,noedit", kube(), group("edit"), false, "noedit", "deny.kubernetes_groups"},
		{"a deny of a group leaves the others", "all,noedit", kube(), group("view"), true, "", ""},
		{"a deny of a group and labels needs both", "all,noedit1", kube("region", "eu"), group("edit"), true, "", ""},
		{"a role acts within its scope", "payments", target("db", "orders-1", "/payments/prod"), as("orders", "app"), true, "", ""},
		{"a role doesn't act outside its scope", "payments", db(), as("orders", "app"), false, "it acts at or below /payments, but the db is at /", "scope"},
		{"a database is not used by a login", "all", db(), policy.Login("root"), false, "a session on this db must name its database", ""},
		{"a database is not used without a user", "all", db(), policy.Use{"database": "orders"}, false, "a session on this db must name its user", ""},
		{"a use that is empty is none", "all", db(), as("", "app"), false, "a session on this db must name its database", ""},
		{"a use that says too much", "all", db(), policy.Use{"database": "orders", "user": "app", "login": "root"}, false, "names more than it may", ""},
		{"an app takes no login", "all", app(), policy.Login("root"), false, "names more than it may", ""},
		{"a node takes nothing beside a login", "all", node(""), policy.Use{"login": "root", "user": "app"}, false, "names more than it may", ""},
		{"a kind that there is not", "all", target("desktop", "a", "/"), policy.Login("root"), false, `there is no kind of target "desktop"`, ""},
		{"no kind at all", "all", target("", "a", "/"), policy.Login("root"), false, `there is no kind of target ""`, ""},
		{"preset access is for nodes alone", "access", db("env", "dev"), as("orders", "app"), false, "it selects no dbs", "allow.db_labels"},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			sub := policy.Subject{Roles: strings.Split(c.roles, ","), Traits: map[string][]string{"db": {"own", "a b"}, "groups": {"view"}, "logins": {"app"}}}
			d := decide(t, set, sub, c.target, c.use)
			if d.Allowed != c.allowed || !strings.Contains(d.Reason, c.reason) {
				t.Errorf("%t: %s", d.Allowed, d.Reason)
			}
			if c.rule != "" && d.Rule != c.rule {
				t.Errorf("rule %q: %s", d.Rule, d.Reason)
			}
			if c.target.Kind != "node" && len(set.Logins(sub, c.target)) > 0 {
				t.Errorf("a %s has logins %v", c.target.Kind, set.Logins(sub, c.target))
			}
		})
	}
}

func TestATargetIsReachedWhenAnyUseOfItIsAllowed(t *testing.T) {
	set := roles(t, map[string]string{
		"dba":     `{allow: {db_labels: {'*': '*'}, db_names: '*', db_users: '{{internal.db}}'}}`,
		"noone":   `{deny: {db_users: alice}}`,
		"nostock": `{deny: {db_names: stock}}`,
		"nodb":    `{deny: {db_names: '*'}}`,
		"kube":    `{allow: {kubernetes_labels: {'*': '*'}, kubernetes_groups: [view, edit]}}`,
		"noedit":  `{deny: {kubernetes_groups: edit}}`,
		"noview":  `{deny: {kubernetes_groups: view}}`,
	})
	db, kube := target("db", "orders", "/"), target("kube", "eu-1", "/")
	for _, c := range []struct {
		sentence, roles string
		target          policy.Target
		users           []string
		reached         bool
	}{
		{"every name and a user of one's own", "dba", db, []string{"alice"}, true},
		{"every name and no user", "dba", db, nil, false},
		{"a user that is denied", "dba,noone", db, []string{"alice"}, false},
		{"a user that is denied beside another", "dba,noone", db, []string{"alice", "bob"}, true},
		{"one name is denied of all", "dba,nostock", db, []string{"alice"}, true},
		{"every name is denied", "dba,nodb", db, []string{"alice"}, false},
		{"two groups", "kube", kube, nil, true},
		{"two groups of which one is denied", "kube,noedit", kube, nil, true},
		{"two groups that are both denied", "kube,noedit,noview", kube, nil, false},
		{"an app that no role selects", "dba,kube", target("app", "a", "/"), nil, false},
		{"a kind that there is not", "dba,kube", target("desktop", "a", "/"), nil, false},
	} {
		t.Run(c.sentence, func(t *testing.T) {
			sub := policy.Subject{Roles: strings.Split(c.roles, ","), Traits: map[string][]string{"db": c.users}}
			if set.Reaches(sub, c.target) != c.reached {
				t.Errorf("reaches is %t", !c.reached)
			}
		})
	}
}

func TestADatabasesTraceNamesEachUse(t *testing.T) {
	set := roles(t, map[string]string{
		"a-names": `{allow: {db_labels: {'*': '*'}, db_names: orders, db_users: app}}`,
		"b-users": `{allow: {db_labels: {'*': '*'}, db_names: '*', db_users: '{{internal.db}}'}}`,
		"c-label": `{allow: {db_labels: {env: dev}, db_names: '*', db_users: app}}`,
	})
	sub := policy.Subject{Roles: []string{"a-names", "b-users", "c-label"}, Traits: map[string][]string{"db": {"own", "x y"}}}
	d := decide(t, set, sub, target("db", "db-1", "/", "env", "prod"), policy.Use{"database": "stock", "user": "x y"})
	want := policy.Decision{
		Reason: "no role allows database stock and user x y on db db-1: role a-names: it doesn't allow database stock; it allows orders",
		Role:   "a-names", Rule: "allow.db_names", Value: "stock",
		Trace: []policy.Step{
			{Role: "a-names", Rule: "allow.db_names", Effect: "silent", Reason: "it doesn't allow database stock; it allows orders", Value: "stock"},
			{Role: "b-users", Rule: "allow.db_users", Effect: "silent", Reason: `it doesn't allow user x y; it allows own; the trait value "x y" doesn't make a valid user and is left out`, Value: "x y"},
			{Role: "c-label", Rule: "allow.db_labels", Effect: "silent", Reason: "the role requires env=dev, but the db has env=prod", Label: "env", Value: "prod"},
		},
	}
	want.Brief = "no role allows database stock and user x y on db db-1"
	if diff := cmp.Diff(want, d, ignoreNear); diff != "" {
		t.Error(diff)
	}
}

// A name that no list can hold could not be denied either, though a service cuts it at its first NUL or blank.
func TestAllMeansWhatAListCouldName(t *testing.T) {
	set := roles(t, map[string]string{
		"dba": `{allow: {db_labels: {'*': '*'}, db_names: '*', db_users: reader}, deny: {db_names: [payroll, '{{internal.closed}}']}}`,
	})
	sub := policy.Subject{Roles: []string{"dba"}, Traits: map[string][]string{"closed": {"secret", "hr salaries"}}}
	for database, want := range map[string]bool{
		"stock": true, "payroll": false, "payroll\x00": false, "payroll ": false, "secret": false, "hr salaries": false, "*": false, "": false,
	} {
		d := set.Decide(sub, target("db", "db-1", "/"), policy.Use{"database": database, "user": "reader"})
		if d.Allowed != want || !want && d.Reason == "" {
			t.Errorf("%q: %+v", database, d)
		}
	}
}

func TestAReasonListsSomeOfWhatIsAllowed(t *testing.T) {
	var many []string
	for i := range 500 {
		many = append(many, fmt.Sprintf("login-%03d", i))
	}
	set := roles(t, map[string]string{"many": "{allow: {node_labels: {'*': '*'}, logins: [" + strings.Join(many, ", ") + "]}}"})
	d := set.Decide(policy.Subject{Roles: []string{"many"}}, target("node", "n", "/"), policy.Login("root"))
	if d.Allowed || !strings.Contains(d.Reason, "login-007 and 492 more") || len(d.Reason) > 400 {
		t.Errorf("%+v", d)
	}
}
