package resource_test

import (
	"testing"

	"github.com/stile-dev/stile/pkg/resource"
)

func TestNamesBelongToTheirScope(t *testing.T) {
	for _, k := range []struct {
		pattern, scope string
		want           bool
		suffix         string
	}{
		{"*", "/", true, ""},
		{"web-1", "", true, ""},
		{"web-1.payments", "/payments", true, ".payments"},
		{"*.payments", "/payments", true, ".payments"},
		{"*", "/payments", false, ".payments"},
		{"payments", "/payments", false, ".payments"},
		{".payments", "/payments", false, ".payments"},
		{"web-payments", "/payments", false, ".payments"},
		{"web.payments*", "/payments", false, ".payments"},
		{"web.prod.payments", "/payments/prod", true, ".prod.payments"},
		{"web.payments", "/payments/prod", false, ".prod.payments"},
		{"web.payments.prod", "/payments/prod", false, ".prod.payments"},
	} {
		if suffix, ok := resource.Bounded(k.pattern, k.scope); ok != k.want || suffix != k.suffix {
			t.Errorf("%s at %s: %t, %q", k.pattern, k.scope, ok, suffix)
		}
	}
}

func TestTheTraitsThatFillARoleAreThoseOfAllItsTemplates(t *testing.T) {
	r := resource.Role{Spec: resource.RoleSpec{
		Allow: resource.RoleBlock{Logins: []string{"ubuntu", "{{internal.logins}}"}, DBUsers: []string{"app-{{external.team}}"}},
		Deny:  resource.RoleBlock{DBNames: []string{"{{internal.logins}}", "*"}, KubernetesGroups: []string{"{{internal.groups}}"}},
	}}
	if got := r.Traits(); len(got) != 3 || got[0] != "groups" || got[1] != "logins" || got[2] != "team" {
		t.Errorf("%v", got)
	}
}
