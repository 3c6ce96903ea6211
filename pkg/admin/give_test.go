package admin_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// world is a desk and those who log in: what they get follows from what is stored, as at a login.
type world struct {
	*office
}

var (
	scopes   = []string{"/", "/a", "/a/b", "/c"}
	kinds    = []string{"role", "user", "iam_mapping", "token"}
	logins   = []string{"ubuntu", "root", "eve"}
	envs     = []string{"dev", "prod"}
	accounts = []string{"100000000000", "200000000000", "300000000000"}
	people   = []string{"ada", "bob", "eve"}
)

// bossAccount is the first administrator's, as newOffice configures it.
const bossAccount = "111122223333"

// policy compiles what is stored and what is built in.
func (w *world) policy() []resource.Role {
	all := resource.Presets()
	for _, key := range slices.Sorted(maps.Keys(w.resources)) {
		if r, ok := w.resources[key].Role(); ok {
			all = append(all, r)
		}
	}
	return all
}

// login returns what somebody of an account gets, and false if they are not admitted.
func (w *world) login(account string) (identity.User, bool) {
	var found []resource.Resource
	if account == bossAccount {
		m := resource.Bootstrap(resource.IAMMatch{Account: bossAccount, Role: "PlatformAdmin"})
		found = append(found, resource.Resource{Metadata: m.Metadata, Spec: &m.Spec})
	}
	for _, key := range slices.Sorted(maps.Keys(w.resources)) {
		if m, ok := w.resources[key].Spec.(*resource.MappingSpec); ok && m.Match.Account == account && m.Match.Role == roleOf(account) {
			found = append(found, w.resources[key])
		}
	}
	if len(found) == 0 || len(found) > 1 && account != bossAccount {
		return identity.User{}, false
	}
	m := found[0].Spec.(*resource.MappingSpec)
	u := identity.User{Name: m.User, UID: "usr_" + account, Roles: slices.Clone(m.Roles), Traits: map[string][]string{}}
	add := func(traits map[string][]string) {
		for k, v := range traits {
			u.Traits[k] = append(u.Traits[k], v...)
		}
	}
	add(m.Traits)
	if r, ok := w.resources["user/"+m.User].Spec.(*resource.UserSpec); ok && r.Mapping == found[0].Metadata.Name {
		u.Roles = append(u.Roles, r.Roles...)
		add(r.Traits)
	}
	for _, name := range u.Roles {
		if !slices.ContainsFunc(w.policy(), func(r resource.Role) bool { return r.Metadata.Name == name }) {
			return identity.User{}, false // a missing role might deny something
		}
	}
	return u, true
}

func roleOf(account string) string {
	if account == bossAccount {
		return "PlatformAdmin"
	}
	return "Engineer"
}

// rights are all that somebody of an account may do: on resources, and on targets.
func (w *world) rights(account string) map[string]bool {
	all := map[string]bool{}
	u, ok := w.login(account)
	if !ok {
		return all
	}
	set, sub := policy.Compile(w.policy()), policy.Subject{Roles: u.Roles, Traits: u.Traits}
	for _, scope := range scopes {
		for _, kind := range append(slices.Clone(kinds), "node", "*") {
			for _, verb := range append(slices.Clone(resource.Verbs), "*") {
				if set.May(sub, kind, verb, scope).Allowed {
					all[verb+" "+kind+" at "+scope] = true
				}
			}
		}
		for _, env := range envs {
			for _, login := range logins {
				t := policy.Target{Kind: "node", Name: "n", Scope: scope, Labels: map[string]string{"env": env}}
				if set.Decide(sub, t, policy.Login(login)).Allowed {
					all[login+" on "+env+" at "+scope] = true
				}
			}
		}
	}
	return all
}

// administered adds to rights what somebody who writes roles decides about: targets at or below where they may.
func administered(rights map[string]bool) map[string]bool {
	all := maps.Clone(rights)
	for _, scope := range scopes {
		if !rights["update role at "+scope] && !rights["create role at "+scope] {
			continue
		}
		for _, env := range envs {
			for _, login := range logins {
				all[login+" on "+env+" at "+scope] = true
			}
		}
	}
	return all
}

func (w *world) caller(account string) (admin.Caller, bool) {
	u, ok := w.login(account)
	u.Cluster, u.Certificate = w.ID, "crt_01hv0000000000000000000000"
	return admin.Caller{
		User: u, State: document.State{Policy: document.Policy{Roles: w.policy()}}, Nonce: "nonce", RequestID: "req-1", SourceIP: "192.0.2.7", Now: w.Now,
	}, ok
}

func some(t *rapid.T, from []string, label string) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, 2, rapid.ID[string]).Draw(t, label)
}

func drawBlock(t *rapid.T, deny bool) resource.RoleBlock {
	var b resource.RoleBlock
	if rapid.Bool().Draw(t, "access") {
		b.Logins = some(t, []string{"ubuntu", "root", "{{internal.logins}}"}, "logins")
		b.NodeLabels = rapid.SampledFrom([]resource.Labels{{"env": {"dev"}}, {"env": {"prod"}}, {"*": {"*"}}}).Draw(t, "labels")
	}
	if rapid.Bool().Draw(t, "rules") {
		b.Rules = []resource.Rule{{
			Resources: append(some(t, kinds, "kinds"), rapid.SampledFrom([]string{"role", "user", "iam_mapping", "*"}).Draw(t, "kind")),
			Verbs:     append(some(t, resource.Verbs, "verbs"), rapid.SampledFrom([]string{"create", "update", "delete", "*"}).Draw(t, "verb")),
		}}
	}
	if deny && rapid.IntRange(0, 1).Draw(t, "denies") > 0 {
		return resource.RoleBlock{}
	}
	return b
}

var roleNames = []string{"r0", "r1", "r2", "editor", "access", "ghost"}

func drawSpec(t *rapid.T, kind string) (string, resource.Spec) {
	traits := map[string][]string{}
	if logins := some(t, logins, "trait"); len(logins) > 0 {
		traits["logins"] = logins
	}
	switch kind {
	case "role":
		spec := &resource.RoleSpec{Allow: drawBlock(t, false), Deny: drawBlock(t, true)}
		spec.Options.PinSourceIP = rapid.IntRange(0, 3).Draw(t, "pin") == 0
		return rapid.SampledFrom([]string{"r0", "r1", "r2", "ghost"}).Draw(t, "name"), spec
	case "user":
		return rapid.SampledFrom(people).Draw(t, "name"), &resource.UserSpec{
			Mapping: rapid.SampledFrom([]string{"m0", "m1", "m2", "bootstrap"}).Draw(t, "mapping"), Roles: some(t, roleNames, "roles"), Traits: traits,
		}
	case "iam_mapping":
		account := rapid.SampledFrom(append(slices.Clone(accounts), bossAccount)).Draw(t, "account")
		return rapid.SampledFrom([]string{"m0", "m1", "m2"}).Draw(t, "name"), &resource.MappingSpec{
			Match: resource.IAMMatch{Account: account, Role: roleOf(account)}, User: rapid.SampledFrom(people).Draw(t, "person"), Roles: some(t, roleNames, "roles"), Traits: traits,
		}
	}
	return "nodes", &resource.TokenSpec{Method: resource.MethodIAM, Resources: []string{"node"}, Names: []string{"*"}, Allow: []resource.IAMMatch{{Account: accounts[0], Role: "Node"}}}
}

// Whoever writes resources, however often, gives nobody, themselves included, a right that they don't have or administer;
// and nobody but the first administrator's peers changes what the first administrator may do.
func TestSec_S58_NobodyGrantsWhatTheyLack(t *testing.T) {
	for range 5 { // of a hundred worlds each
		rapid.Check(t, func(rt *rapid.T) { grantAtRandom(t, rt) })
	}
}

func grantAtRandom(t *testing.T, rt *rapid.T) {
	w := &world{newOffice(t)}
	w.strict = true
	for _, name := range []string{"r0", "r1", "r2"} {
		w.keep(of("role", name, rapid.SampledFrom(scopes).Draw(rt, "scope"), &resource.RoleSpec{Allow: drawBlock(rt, false), Deny: drawBlock(rt, true)}))
	}
	for i, name := range []string{"m0", "m1"} {
		w.keep(of("iam_mapping", name, rapid.SampledFrom(scopes).Draw(rt, "scope"), &resource.MappingSpec{
			Match: resource.IAMMatch{Account: accounts[i], Role: "Engineer"}, User: people[i], Roles: some(rt, []string{"r0", "r1", "r2", "access"}, "roles"),
			Traits: map[string][]string{"logins": {logins[i]}},
		}))
	}
	if rapid.Bool().Draw(rt, "record") {
		w.keep(of("user", "bob", rapid.SampledFrom(scopes).Draw(rt, "scope"), &resource.UserSpec{Mapping: rapid.SampledFrom([]string{"m1", "m2"}).Draw(rt, "mapping"), Roles: some(rt, []string{"r0", "r1", "r2", "editor"}, "roles")}))
	}
	writer := accounts[0]
	own := administered(w.rights(writer))
	before := map[string]map[string]bool{}
	everybody := append(slices.Clone(accounts), bossAccount)
	for _, account := range everybody {
		before[account] = w.rights(account)
	}
	var done []string
	for range rapid.IntRange(1, 4).Draw(rt, "writes") {
		c, ok := w.caller(writer)
		if !ok {
			break
		}
		kind := rapid.SampledFrom(kinds).Draw(rt, "kind")
		name, spec := drawSpec(rt, kind)
		r := resource.Resource{Kind: kind, Metadata: resource.Metadata{Name: name, Scope: rapid.SampledFrom(scopes).Draw(rt, "scope")}, Spec: spec}
		verb := rapid.SampledFrom([]string{"create", "update", "delete"}).Draw(rt, "verb")
		var err error
		switch verb {
		case "create":
			_, err = w.desk.Create(t.Context(), c, r)
		case "update":
			_, err = w.desk.Update(t.Context(), c, r)
		default:
			_, err = w.desk.Delete(t.Context(), c, kind, name)
		}
		if err == nil {
			done = append(done, fmt.Sprintf("%s %s/%s at %s: %+v", verb, kind, name, r.Metadata.Scope, spec))
		} else if fault.Is(err, fault.Internal) {
			rt.Fatal(err)
		}
		for _, account := range everybody {
			for right := range w.rights(account) {
				if !before[account][right] && !own[right] {
					rt.Fatalf("%s got %q, which the writer lacks, by\n%s", account, right, strings.Join(done, "\n"))
				}
			}
		}
		if !own["update iam_mapping at /"] {
			if d := cmp.Diff(before[bossAccount], w.rights(bossAccount)); d != "" {
				rt.Fatalf("the first administrator's rights changed by\n%s\n%s", strings.Join(done, "\n"), d)
			}
		}
	}
}

// payments is an office where teams below /payments have administrators of their own, and everybody comes in by company.
func payments(t *testing.T) *world {
	w := &world{newOffice(t)}
	w.strict = true
	role := func(name, scope, spec string) resource.Resource {
		all, err := resource.DecodeAll([]byte("kind: role\nmetadata: {name: " + name + ", scope: " + scope + "}\nspec: " + spec + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return of("role", name, scope, all[0].Spec)
	}
	w.keep(
		role("lead", "/payments", "{allow: {rules: [{resources: [user], verbs: ['*']}]}}"),
		role("mapper", "/payments", "{allow: {rules: [{resources: [iam_mapping], verbs: ['*']}]}}"),
		role("roler", "/payments", "{allow: {rules: [{resources: [role, user], verbs: ['*']}]}}"),
		role("enroller", "/payments", "{allow: {rules: [{resources: [token], verbs: ['*']}]}}"),
		role("dev", "/payments", "{allow: {logins: [ubuntu], node_labels: {env: dev}}}"),
		role("dev-own", "/payments", "{allow: {logins: ['{{internal.logins}}'], node_labels: {env: dev}}}"),
		role("tokens", "/payments", "{allow: {rules: [{resources: [token], verbs: [create]}]}}"),
		role("no-root", "/payments", "{deny: {logins: [root]}}"),
		role("no-tokens", "/payments", "{deny: {rules: [{resources: [token], verbs: ['*']}]}}"),
		role("slow", "/payments", "{options: {max_session_ttl: 1s}}"),
		role("loose", "/payments", "{options: {disconnect_expired_cert: false}}"),
		role("no-prod", "/payments/prod", "{deny: {rules: [{resources: ['*'], verbs: ['*']}]}}"),
		of("iam_mapping", "company", "/", &resource.MappingSpec{Match: resource.IAMMatch{Account: accounts[0], Role: "AWSReservedSSO_Staff_0123456789abcdef"}, Roles: []string{"access", "dev"}, Traits: map[string][]string{"logins": {"ubuntu"}}}),
		of("iam_mapping", "team", "/payments", &resource.MappingSpec{Match: resource.IAMMatch{Account: accounts[1], Role: "Team"}, User: "team", Roles: []string{"dev", "no-root", "slow"}}),
		of("iam_mapping", "owners", "/payments", &resource.MappingSpec{Match: resource.IAMMatch{Account: accounts[1], Role: "Owner"}, User: "owner", Roles: []string{"dev-own"}, Traits: map[string][]string{"logins": {"ubuntu"}}}),
		of("user", "bob", "/payments", &resource.UserSpec{Mapping: "company", Roles: []string{"tokens", "no-tokens"}}),
		of("user", "erin", "/payments", &resource.UserSpec{Mapping: "company", Roles: []string{"quarantine"}}),
		of("user", "carol", "/payments", &resource.UserSpec{Mapping: "company", Roles: []string{"no-root", "lead"}}),
		of("user", "dave", "/", &resource.UserSpec{Mapping: "later", Roles: []string{"editor"}}),
	)
	return w
}

func (w *world) as(roles ...string) admin.Caller {
	return admin.Caller{
		User:  identity.User{Cluster: w.ID, Certificate: "crt_01hv0000000000000000000000", Name: "ada", UID: "usr_ada", Roles: roles},
		State: document.State{Policy: document.Policy{Roles: w.policy()}}, Nonce: "nonce", RequestID: "req-1", SourceIP: "192.0.2.7", Now: w.Now,
	}
}

func TestSec_S58_WhatAChangeGivesIsItsWritersToGive(t *testing.T) {
	user := func(name, mapping string, roles []string, traits map[string][]string) resource.Resource {
		return of("user", name, "/payments", &resource.UserSpec{Mapping: mapping, Roles: roles, Traits: traits})
	}
	mapping := func(name, account string, roles ...string) resource.Resource {
		return of("iam_mapping", name, "/payments", &resource.MappingSpec{Match: resource.IAMMatch{Account: account, Role: "Team"}, User: "team", Roles: roles})
	}
	role := func(name string, spec resource.RoleSpec) resource.Resource {
		return of("role", name, "/payments", &spec)
	}
	rule := func(kind, verb string) resource.RoleBlock {
		return resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{kind}, Verbs: []string{verb}}}}
	}
	token := func(scope string, names ...string) resource.Resource {
		return of("token", "nodes", scope, &resource.TokenSpec{Method: resource.MethodIAM, Resources: []string{"node"}, Names: names, Allow: []resource.IAMMatch{{Account: accounts[0], Role: "Node"}}})
	}
	boss := of("iam_mapping", "admins", "/", &resource.MappingSpec{Match: resource.IAMMatch{Account: bossAccount, Role: "PlatformAdmin"}, User: "x"})
	second := of("iam_mapping", "second", "/payments", &resource.MappingSpec{Match: resource.IAMMatch{Account: accounts[0], Role: "AWSReservedSSO_Staff_0123456789abcdef"}, User: "x"})
	narrow, loosened := mapping("team", accounts[1], "dev", "no-root", "slow"), mapping("team", accounts[1], "dev", "slow")
	narrow.Spec.(*resource.MappingSpec).Match.RoleID = "AROAEXAMPLE000000001"
	loosened.Spec.(*resource.MappingSpec).Match.Partition = "aws"
	wider := of("iam_mapping", "owners", "/payments", &resource.MappingSpec{Match: resource.IAMMatch{Account: accounts[1], Role: "Owner"}, User: "owner", Roles: []string{"dev-own"}, Traits: map[string][]string{"logins": {"root"}}})
	list := func(s ...string) []string { return s }
	for name, k := range map[string]struct {
		as   []string
		verb string
		r    resource.Resource
		says string // "" is allowed
	}{
		"a role of everybody's administrators":     {list("lead"), "create", user("alice", "company", list("editor"), nil), "it would give role editor: only who may update role editor"},
		"a role that the writer has":               {list("lead", "dev"), "create", user("alice", "company", list("dev"), nil), ""},
		"one that the writer doesn't have":         {list("lead"), "create", user("alice", "company", list("dev-own"), nil), "it would give role dev-own"},
		"one that the writer administers":          {list("roler"), "create", user("alice", "company", list("dev-own"), nil), ""},
		"one with rights that the writer lacks":    {list("roler"), "create", user("alice", "company", list("tokens"), nil), "gives the right to create token, which you lack"},
		"one whose templates the writer can't see": {list("lead", "dev-own"), "create", user("alice", "company", list("dev-own"), nil), "it would give role dev-own"},
		"one without what restrains the writer":    {list("lead", "lead-dev", "dev-own", "no-root"), "create", user("alice", "company", list("dev-own"), nil), "it would give role dev-own"},
		"a role that isn't there yet":              {list("lead"), "create", user("alice", "company", list("future"), nil), "there is no role future yet"},
		"a trait that widens what others gave":     {list("lead"), "create", user("alice", "company", nil, map[string][]string{"logins": {"root"}}), "traits are for who admits the user"},
		"a trait that nothing asks for yet":        {list("lead"), "create", user("alice", "company", nil, map[string][]string{"team": {"x"}}), "traits are for who admits the user"},
		"a trait for those whom no mapping admits": {list("lead"), "create", user("alice", "nobody", nil, map[string][]string{"team": {"x"}}), "traits are for who admits the user"},
		"a trait by who admits the user":           {list("lead", "mapper"), "create", user("alice", "team", nil, map[string][]string{"team": {"x"}}), ""},
		"an end of what denies other rights":       {list("roler"), "update", user("bob", "company", list("tokens"), nil), "role no-tokens denies the right to list token, which you lack"},
		"an end of what isn't there yet":           {list("lead"), "update", user("erin", "company", nil, nil), "it would take away role quarantine"},
		"a role with options that the writer has":  {list("lead", "loose"), "create", user("alice", "team", list("loose"), nil), "it would give role loose"},
		"what is denied to the writer below":       {list("editor", "no-prod"), "create", user("alice", "team", list("editor"), nil), "which you lack: role no-prod: denies it below /"},
		"an end of what restrains":                 {list("lead"), "update", user("carol", "company", list("lead"), nil), "it would take away role no-root"},
		"the same by deleting":                     {list("lead"), "delete", user("carol", "company", nil, nil), "it would take away role no-root"},
		"an end of it by who administers it":       {list("roler", "lead"), "update", user("carol", "company", list("lead"), nil), ""},
		"what limits everywhere":                   {list("roler"), "create", user("alice", "company", list("slow"), nil), "limit its holders everywhere"},
		"anything to the first administrator":      {list("roler"), "create", user("admin", "bootstrap", list("dev"), nil), "it concerns the first administrator"},
		"a record moved to another's users":        {list("lead"), "update", user("carol", "team", list("no-root", "lead"), nil), "it would take away role no-root"},

		"a mapping to everything":                  {list("mapper"), "create", mapping("new", accounts[2], "editor"), "it would give role editor"},
		"a mapping that somebody's record awaits":  {list("mapper"), "create", mapping("later", accounts[2]), "it would give role editor"},
		"a mapping to nothing":                     {list("mapper"), "create", mapping("new", accounts[2]), ""},
		"the same mapping":                         {list("mapper"), "update", mapping("team", accounts[1], "dev", "no-root", "slow"), ""},
		"traits that widen what its role gives":    {list("mapper"), "update", wider, "it would give role dev-own"},
		"a mapping that matches fewer":             {list("mapper"), "update", narrow, ""},
		"one that restrains the same no longer":    {list("mapper"), "update", loosened, "it would take away role no-root"},
		"a mapping that matches others":            {list("mapper"), "update", mapping("team", accounts[2], "dev"), "it would give role dev"},
		"one that matches whom another's matches":  {list("mapper"), "create", second, "iam_mapping company can match the same identities"},
		"one that matches the first administrator": {list("editor"), "create", boss, "no other mapping may match it"},

		"a role with the writer's own rights":   {list("roler"), "create", role("new", resource.RoleSpec{Allow: rule("user", "create")}), ""},
		"a role with more":                      {list("roler"), "create", role("new", resource.RoleSpec{Allow: rule("token", "create")}), "the right to create token, which you lack"},
		"a role with everything":                {list("roler"), "create", role("new", resource.RoleSpec{Allow: rule("*", "*")}), "which you lack"},
		"a role with kinds to come":             {list("roler"), "create", role("new", resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: resource.RuleResources(), Verbs: list("*")}}}}), "which you lack"},
		"rights that the role had":              {list("roler"), "update", role("tokens", resource.RoleSpec{Allow: rule("token", "create"), Deny: rule("node", "delete")}), ""},
		"an end of what a role denies":          {list("roler"), "update", role("no-tokens", resource.RoleSpec{}), "it would no longer deny"},
		"the end of all limits":                 {list("roler"), "update", role("slow", resource.RoleSpec{}), "users of iam_mapping team have it"},
		"a role that keeps somebody out":        {list("roler"), "create", role("quarantine", resource.RoleSpec{}), "users of iam_mapping company have it"},
		"access to targets below":               {list("roler"), "create", role("new", resource.RoleSpec{Allow: resource.RoleBlock{Logins: list("root"), NodeLabels: resource.Labels{"*": {"*"}}}}), ""},
		"a limit for users of another's":        {list("roler"), "update", role("dev", resource.RoleSpec{Options: resource.RoleOptions{PinSourceIP: true}}), "users of iam_mapping company have it"},
		"a limit for nobody yet":                {list("roler"), "update", role("loose", resource.RoleSpec{Options: resource.RoleOptions{PinSourceIP: true}}), ""},
		"every right of an administrator's own": {list("editor"), "create", role("new", resource.RoleSpec{Allow: rule("*", "*")}), ""},

		"names of everybody's":           {list("enroller"), "create", token("/payments", "*"), "only names that end with .payments"},
		"names that look like one's own": {list("enroller"), "create", token("/payments", "web-*.payments", "xpayments"), "only names that end with .payments"},
		"the end of a name alone":        {list("enroller"), "create", token("/payments", ".payments"), "only names that end with .payments"},
		"names of one's own":             {list("enroller"), "create", token("/payments", "*.payments", "web-1.payments"), ""},
		"names of a scope below":         {list("enroller"), "create", token("/payments/prod", "*.prod.payments"), ""},
		"names at a scope with a dot":    {list("editor"), "create", token("/prod.payments", "*.prod.payments"), "no name can end with the scope"},
		"names at one with a line":       {list("editor"), "create", token("/team_a", "*.team_a"), "no name can end with the scope"},
		"any names at the top":           {list("editor"), "create", token("/", "*"), ""},
	} {
		w := payments(t)
		c := w.as(k.as...)
		var err error
		switch k.verb {
		case "create":
			_, err = w.desk.Create(t.Context(), c, fresh(k.r))
		case "update":
			_, err = w.desk.Update(t.Context(), c, fresh(k.r))
		case "delete":
			_, err = w.desk.Delete(t.Context(), c, k.r.Kind, k.r.Metadata.Name)
		}
		switch {
		case k.says == "" && (err != nil || len(w.changes) != 1):
			t.Errorf("%s: %v", name, err)
		case k.says != "" && (err == nil || !strings.Contains(err.Error(), k.says) || len(w.changes) != 0):
			t.Errorf("%s: got %v, want %q", name, err, k.says)
		case fault.Is(err, fault.Denied) && !strings.Contains(k.says, "no other mapping") && (fault.From(err).DecisionID == "" || len(w.recorded) != 1):
			t.Errorf("%s: no event of the denial, %v", name, err)
		}
	}
}

// What a change was judged by may change before it is made. Then it is judged again.
func TestAChangeIsJudgedAgainWhenSomethingElseChanged(t *testing.T) {
	for races, code := range map[int]fault.Code{1: "", 399: "", 400: fault.Conflict} {
		w := payments(t)
		w.races = races
		_, err := w.desk.Create(t.Context(), w.as("editor"), fresh(of("role", "new", "/", &resource.RoleSpec{})))
		if code == "" && err != nil || code != "" && (!fault.Is(err, code) || len(w.changes) != 0) {
			t.Errorf("after %d races: %v, %d changes", races, err, len(w.changes))
		}
	}
}

// A kind that is written and that nobody thought of here would give whatever its writer likes.
func TestEveryKindThatIsWrittenSaysWhatItGives(t *testing.T) {
	for _, k := range resource.Kinds {
		if _, there := admin.Gives[k.Name]; there != k.Writable {
			t.Errorf("%s: written %t, judged %t", k.Name, k.Writable, there)
		}
	}
}
