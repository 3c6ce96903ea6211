package policy_test

import (
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// written are roles as they are stored, beside the set that is in force.
func written(t *testing.T, specs map[string]string) (*policy.Set, map[string]resource.Role) {
	t.Helper()
	all := map[string]resource.Role{"": {}}
	for _, r := range resource.Presets() {
		all[r.Metadata.Name] = r
	}
	for name, spec := range specs {
		read, err := resource.DecodeAll([]byte("kind: role\nmetadata: {name: " + name + ", scope: /a}\nspec: " + spec + "\n"))
		if err != nil {
			t.Fatalf("role %s: %v", name, err)
		}
		all[name], _ = read[0].Role()
	}
	var list []resource.Role
	for name, r := range all {
		if name != "" {
			list = append(list, r)
		}
	}
	return policy.Compile(list), all
}

var team = map[string]string{
	"roler":     "{allow: {rules: [{resources: [role, user], verbs: ['*']}]}}",
	"all-kinds": "{allow: {rules: [{resources: [" + strings.Join(resource.RuleResources(), ", ") + "], verbs: [" + strings.Join(resource.Verbs, ", ") + "]}]}}",
	"dev":       "{allow: {logins: [ubuntu], node_labels: {env: dev}}}",
	"dev-own":   "{allow: {logins: ['{{internal.logins}}'], node_labels: {env: dev}}}",
	"no-root":   "{deny: {logins: [root]}}",
	"no-prod":   "{deny: {node_labels: {env: prod}}}",
	"tokens":    "{allow: {rules: [{resources: [token], verbs: [create]}]}}",
	"users":     "{allow: {rules: [{resources: [user], verbs: [create]}]}}",
	"all":       "{allow: {rules: [{resources: ['*'], verbs: ['*']}]}}",
	"no-users":  "{deny: {rules: [{resources: [user], verbs: ['*']}]}}",
	"loose":     "{options: {disconnect_expired_cert: false}}",
}

func TestARoleIsGivenByItsAdministratorsAndItsHolders(t *testing.T) {
	set, all := written(t, team)
	for name, k := range map[string]struct {
		as   []string
		role string
		want bool
	}{
		"its holder":                   {[]string{"dev"}, "dev", true},
		"a holder of one with options": {[]string{"loose"}, "loose", false},
		"nobody else":                  {[]string{"dev"}, "users", false},
		"a holder of one that its holder's traits fill":  {[]string{"dev-own"}, "dev-own", false},
		"a holder whom another role denies a login":      {[]string{"dev", "no-root"}, "dev", false},
		"a holder whom another role denies targets":      {[]string{"dev", "no-prod"}, "dev", false},
		"a holder whom another role denies resources":    {[]string{"dev", "no-users"}, "dev", false},
		"a holder of one that isn't known":               {[]string{"dev", "ghost"}, "dev", false},
		"an administrator":                               {[]string{"roler"}, "dev-own", true},
		"an administrator with its rights":               {[]string{"roler"}, "users", true},
		"an administrator without its rights":            {[]string{"roler"}, "tokens", false},
		"an administrator with rights to all kinds here": {[]string{"all-kinds"}, "all", false},
		"an administrator with rights to all":            {[]string{"all"}, "all", true},
		"an administrator below":                         {[]string{"all"}, "editor", false},
		"an administrator of everything":                 {[]string{"editor"}, "editor", true},
		"an administrator who is denied its rights":      {[]string{"roler", "no-users"}, "users", false},
	} {
		if d := set.Gives(policy.Subject{Roles: k.as}, all[k.role]); d.Allowed != k.want || d.Reason == "" {
			t.Errorf("%s: %t, %q", name, d.Allowed, d.Reason)
		}
	}
}

// What somebody is denied below a scope they lack at it: it would reach there.
func TestARightThatIsDeniedBelowIsLacking(t *testing.T) {
	_, all := written(t, team)
	for name, k := range map[string]struct {
		deny, scope string
		want        bool
	}{
		"below":             {"{deny: {rules: [{resources: [user], verbs: [create]}]}}", "/a/b", false},
		"everything below":  {"{deny: {rules: [{resources: ['*'], verbs: ['*']}]}}", "/a/b", false},
		"another right":     {"{deny: {rules: [{resources: [node], verbs: [delete]}]}}", "/a/b", true},
		"beside":            {"{deny: {rules: [{resources: [user], verbs: [create]}]}}", "/c", true},
		"targets below":     {"{deny: {logins: [root]}}", "/a/b", true},
		"at the same scope": {"{deny: {rules: [{resources: [user], verbs: [create]}]}}", "/a", false},
	} {
		read, err := resource.DecodeAll([]byte("kind: role\nmetadata: {name: denies, scope: " + k.scope + "}\nspec: " + k.deny + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		denies, _ := read[0].Role()
		set := policy.Compile([]resource.Role{all["roler"], all["users"], denies})
		if d := set.Administers(policy.Subject{Roles: []string{"roler", "denies"}}, all["users"]); d.Allowed != k.want {
			t.Errorf("%s: %t, %s", name, d.Allowed, d.Reason)
		}
	}
}

func TestWhatRestrainsIsTakenAwayByWhoHasTheRights(t *testing.T) {
	set, all := written(t, team)
	for name, k := range map[string]struct {
		as   []string
		role string
		want bool
	}{
		"its administrator":                         {[]string{"roler"}, "no-root", true},
		"one with the rights that it denies":        {[]string{"roler"}, "no-users", true},
		"one who is under it":                       {[]string{"roler", "no-users"}, "no-users", false},
		"somebody else":                             {[]string{"dev"}, "no-root", false},
		"one without the rights that another gives": {[]string{"roler"}, "tokens", false},
	} {
		if d := set.Frees(policy.Subject{Roles: k.as}, all[k.role]); d.Allowed != k.want {
			t.Errorf("%s: %t, %s", name, d.Allowed, d.Reason)
		}
	}
}

func TestARoleIsRewrittenWithinItsWritersRights(t *testing.T) {
	set, all := written(t, team)
	at := func(name, scope string) resource.Role {
		r := all[name]
		r.Metadata.Scope = scope
		return r
	}
	for name, k := range map[string]struct {
		as       []string
		was, now resource.Role
		want     bool
	}{
		"a new one with rights of the writer's":    {[]string{"roler"}, resource.Role{}, all["users"], true},
		"a new one with other rights":              {[]string{"roler"}, resource.Role{}, all["tokens"], false},
		"a new one with rights to what is to come": {[]string{"all-kinds"}, resource.Role{}, all["all"], false},
		"one that keeps what it gave":              {[]string{"roler"}, all["tokens"], all["tokens"], true},
		"one that keeps it below":                  {[]string{"roler"}, all["tokens"], at("tokens", "/a/b"), true},
		"one that keeps it above":                  {[]string{"roler"}, at("tokens", "/a/b"), all["tokens"], false},
		"one that denies no longer":                {[]string{"roler", "no-users"}, all["no-users"], all["dev"], false},
		"one that denies below alone":              {[]string{"roler", "no-users"}, all["no-users"], at("no-users", "/a/b"), false},
		"one that denies as before":                {[]string{"roler", "no-users"}, all["no-users"], all["no-users"], true},
		"one that denies above":                    {[]string{"editor"}, at("no-users", "/a/b"), all["no-users"], true},
		"one that denies what the writer may":      {[]string{"roler"}, all["no-users"], all["dev"], true},
		"access to targets":                        {[]string{"roler"}, resource.Role{}, all["dev"], true},
	} {
		if d := set.Rewrites(policy.Subject{Roles: k.as}, k.was, k.now); d.Allowed != k.want || d.Reason == "" {
			t.Errorf("%s: %t, %q", name, d.Allowed, d.Reason)
		}
	}
}
