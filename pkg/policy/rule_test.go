package policy_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

func TestAPersonsOwnIsWhatARuleGivesAndNoDenialTakes(t *testing.T) {
	set, _ := written(t, map[string]string{
		"own":       "{allow: {rules: [{resources: [recording, event], verbs: [list, read], where: own}]}}",
		"all":       "{allow: {rules: [{resources: [recording], verbs: ['*']}]}}",
		"denied":    "{deny: {rules: [{resources: [recording], verbs: [read]}]}}",
		"denied-it": "{deny: {rules: [{resources: ['*'], verbs: ['*']}]}}",
		"targets":   "{allow: {logins: [root], node_labels: {'*': '*'}}}",
	})
	for name, k := range map[string]struct {
		roles      []string
		kind, verb string
		scope      string
		own, want  bool
	}{
		"one's own":                            {[]string{"own"}, "recording", "read", "/a", true, true},
		"one's own below":                      {[]string{"own"}, "recording", "read", "/a/b", true, true},
		"one's own elsewhere":                  {[]string{"own"}, "recording", "read", "/c", true, false},
		"one's own event":                      {[]string{"own"}, "event", "list", "/a", true, true},
		"another's":                            {[]string{"own"}, "recording", "read", "/a", false, false},
		"another verb":                         {[]string{"own"}, "recording", "delete", "/a", true, false},
		"one's own by a rule about all":        {[]string{"all"}, "recording", "read", "/a", true, true},
		"another's by a rule about all":        {[]string{"all"}, "recording", "read", "/a", false, true},
		"one's own by no rule":                 {[]string{"targets"}, "recording", "read", "/a", true, false},
		"one's own without a role":             {nil, "recording", "read", "/a", true, false},
		"one's own that is denied":             {[]string{"own", "denied"}, "recording", "read", "/a", true, false},
		"one's own of which another is denied": {[]string{"own", "denied"}, "recording", "list", "/a", true, true},
		"one's own where all is denied":        {[]string{"own", "denied-it"}, "event", "list", "/a", true, false},
		"by the preset access":                 {[]string{"access"}, "recording", "read", "/z", true, true},
		"another's by the preset access":       {[]string{"access"}, "recording", "read", "/z", false, false},
		"another's by the preset auditor":      {[]string{"auditor"}, "event", "list", "/z", false, true},
	} {
		if d := set.MayOwn(policy.Subject{Roles: k.roles}, k.kind, k.verb, k.scope, k.own); d.Allowed != k.want || d.Reason == "" {
			t.Errorf("%s: %t, %q", name, d.Allowed, d.Reason)
		}
	}
	for held, want := range map[string]bool{"own": true, "all": true, "own,denied": false, "targets": false, "": false} {
		if got := set.MayOwnSomewhere(policy.Subject{Roles: strings.Split(held, ",")}, "recording", "read", true); got != want {
			t.Errorf("%q may read their own recordings somewhere: %v", held, got)
		}
	}
	if set.MaySomewhere(policy.Subject{Roles: []string{"own"}}, "recording", "list") {
		t.Error("who may list their own may list others' somewhere")
	}
}

// A role that bars its holders bars them from their own as well.
func TestABarredRoleTakesOnesOwn(t *testing.T) {
	access := resource.Presets()[slices.IndexFunc(resource.Presets(), func(r resource.Role) bool { return r.Metadata.Name == "access" })]
	barred := resource.Role{Metadata: resource.Metadata{Name: "barred"}, Critical: []string{"spec.options.moon_phase"}}
	set := policy.Compile([]resource.Role{access, barred})
	if d := set.MayOwn(policy.Subject{Roles: []string{"access", "barred"}}, "recording", "read", "/", true); d.Allowed {
		t.Error(d.Reason)
	}
}

// drawRule draws a rule that may be written.
func drawRule(t *rapid.T, deny bool) resource.Rule {
	r := resource.Rule{
		Resources: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"role", "node", "settings", "recording", "event", "*"}), 1, 3, rapid.ID).Draw(t, "resources"),
		Verbs:     rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"list", "read", "*"}), 1, 2, rapid.ID).Draw(t, "verbs"),
	}
	if !deny && !slices.ContainsFunc(r.Resources, func(kind string) bool { return !resource.Owned(kind) }) && rapid.Bool().Draw(t, "own") {
		r.Where = resource.WhereOwn
	}
	return r
}

// What the policy document carries decides as what was written, and what is written first is what the first releases know.
func TestTheDocumentsRulesDecideAsThoseThatWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		role := resource.Role{Metadata: resource.Metadata{Name: "r", Scope: "/"}}
		for range rapid.IntRange(0, 3).Draw(t, "allowing rules") {
			role.Spec.Allow.Rules = append(role.Spec.Allow.Rules, drawRule(t, false))
		}
		for range rapid.IntRange(0, 2).Draw(t, "denying rules") {
			role.Spec.Deny.Rules = append(role.Spec.Deny.Rules, drawRule(t, true))
		}
		published := role.Published()
		for _, rule := range slices.Concat(published.Spec.Allow.Rules, published.Spec.Deny.Rules) {
			if rule.Where != "" || slices.ContainsFunc(rule.Resources, func(kind string) bool { return kind == "settings" || resource.Owned(kind) }) {
				t.Errorf("the first releases would bar the role's holders for %+v", rule)
			}
		}
		before, after := policy.Compile([]resource.Role{role}), policy.Compile([]resource.Role{published})
		sub := policy.Subject{Roles: []string{"r"}}
		covered := func(rules []resource.Rule, kind, verb string, own bool) bool {
			return slices.ContainsFunc(rules, func(r resource.Rule) bool {
				return (r.Where == "" || own) && (slices.Contains(r.Resources, kind) || slices.Contains(r.Resources, "*")) && (slices.Contains(r.Verbs, verb) || slices.Contains(r.Verbs, "*"))
			})
		}
		for _, kind := range []string{"role", "node", "settings", "recording", "event"} {
			for _, verb := range []string{"list", "read", "delete"} {
				for _, own := range []bool{false, true} {
					want := covered(role.Spec.Allow.Rules, kind, verb, own) && !covered(role.Spec.Deny.Rules, kind, verb, true)
					if d := before.MayOwn(sub, kind, verb, "/", own); d.Allowed != want {
						t.Errorf("as written, %s on %s, own %t: %t", verb, kind, own, d.Allowed)
					}
					if d := after.MayOwn(sub, kind, verb, "/", own); d.Allowed != want {
						t.Errorf("from the document, %s on %s, own %t: %t", verb, kind, own, d.Allowed)
					}
				}
			}
		}
	})
}

func TestTheRightToOnesOwnIsLessThanToAll(t *testing.T) {
	set, all := written(t, map[string]string{
		"editor-of-roles": "{allow: {rules: [{resources: [role], verbs: ['*']}]}}",
		"own":             "{allow: {rules: [{resources: [recording], verbs: [list, read], where: own}]}}",
		"recordings":      "{allow: {rules: [{resources: [recording], verbs: [list, read]}]}}",
	})
	for name, k := range map[string]struct {
		as   []string
		gets string
		want bool
	}{
		"who has all gives one's own":     {[]string{"editor-of-roles", "recordings"}, "own", true},
		"who has all gives all":           {[]string{"editor-of-roles", "recordings"}, "recordings", true},
		"who has their own gives that":    {[]string{"editor-of-roles", "own"}, "own", true},
		"who has their own gives not all": {[]string{"editor-of-roles", "own"}, "recordings", false},
		"who has none gives none":         {[]string{"editor-of-roles"}, "own", false},
	} {
		sub := policy.Subject{Roles: k.as}
		if d := set.Rewrites(sub, resource.Role{}, all[k.gets]); d.Allowed != k.want {
			t.Errorf("%s: writing: %t, %q", name, d.Allowed, d.Reason)
		}
		if d := set.Administers(sub, all[k.gets]); d.Allowed != k.want {
			t.Errorf("%s: giving: %t, %q", name, d.Allowed, d.Reason)
		}
	}
	if d := set.Rewrites(policy.Subject{Roles: []string{"editor-of-roles", "own"}}, all["own"], all["recordings"]); d.Allowed {
		t.Errorf("a condition is taken away by who has no right to all: %q", d.Reason)
	}
}
