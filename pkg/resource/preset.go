package resource

import (
	"slices"

	"github.com/stile-dev/stile/pkg/names"
)

// Presets are the roles that are built into the code: listed with the others, read-only.
func Presets() []Role {
	return []Role{
		{
			Metadata: Metadata{Name: "access", Scope: "/"},
			Spec: RoleSpec{Allow: RoleBlock{
				Logins:     []string{"{{internal.logins}}"},
				NodeLabels: map[string][]string{"*": {"*"}},
				Rules:      []Rule{{Resources: slices.Clone(owned), Verbs: []string{"list", "read"}, Where: WhereOwn}},
			}},
		},
		{
			Metadata: Metadata{Name: "auditor", Scope: "/"},
			Spec: RoleSpec{Allow: RoleBlock{Rules: []Rule{
				{Resources: slices.Concat(targetKindNames(), owned, []string{names.Settings}), Verbs: []string{"list", "read"}},
				{Resources: []string{names.AuditLake}, Verbs: []string{verbQuery}},
			}}},
		},
		{
			Metadata: Metadata{Name: "editor", Scope: "/"},
			Spec:     RoleSpec{Allow: RoleBlock{Rules: []Rule{{Resources: []string{"*"}, Verbs: []string{"*"}}}}},
		},
	}
}

func presetNames() []string {
	var all []string
	for _, r := range Presets() {
		all = append(all, r.Metadata.Name)
	}
	return all
}

// Canary returns the built-in mapping of the synthetic login: a user without roles, to whom nobody adds any.
func Canary(m IAMMatch) Mapping {
	return Mapping{Metadata: Metadata{Name: CanaryMapping, Scope: "/"}, Spec: MappingSpec{Match: m, User: CanaryUser}}
}

// Bootstrap returns the built-in mapping of the first administrator. A role of IAM Identity Center brings
// the person's own name; any other is one person, called [BootstrapUser].
func Bootstrap(m IAMMatch) Mapping {
	spec := MappingSpec{Match: m, Roles: []string{"editor"}}
	if !IsSSO(m.Role) {
		spec.User = BootstrapUser
	}
	return Mapping{Metadata: Metadata{Name: BootstrapMapping, Scope: "/"}, Spec: spec}
}
