package admin_test

import (
	"testing"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/resource"
)

// Whoever may change everything can't make the watchman somebody: its role's credentials would then open doors.
func TestSec_S87_NobodyGivesTheCanaryAnything(t *testing.T) {
	o := newOffice(t)
	o.keep(dev, bob, engineers("access"))
	c := o.as(t, "editor")
	match := resource.IAMMatch{Account: "111122223333", Role: "stile-canary-eu-central-1"}
	again := match
	again.RoleID = "AROAANOTHER000000000"
	record := func(name string) resource.Resource {
		return of("user", name, "/", &resource.UserSpec{Mapping: resource.CanaryMapping, Roles: []string{"dev"}})
	}
	wantFault(t, o.verb(t.Context(), "create", c, fresh(record("canary"))), fault.Denied, "the canary may do nothing")
	wantFault(t, o.verb(t.Context(), "update", c, fresh(record("bob"))), fault.Denied, "the canary may do nothing")
	wantFault(t, o.verb(t.Context(), "create", c, fresh(of("iam_mapping", "mine", "/", &resource.MappingSpec{Match: match, User: "eve"}))), fault.Denied, "no other mapping may match it")
	if len(o.changes) != 0 {
		t.Errorf("%d changes", len(o.changes))
	}
	other := of("iam_mapping", "mine", "/", &resource.MappingSpec{Match: again, User: "eve"}) // a role with another id is another role
	if err := o.verb(t.Context(), "create", c, fresh(other)); err != nil {
		t.Error(err)
	}
}

// TestSec_S87_NobodyGivesAPersonABuiltInUsersName, whoever writes the mapping; one that does so already can be corrected and deleted.
func TestSec_S87_NobodyGivesAPersonABuiltInUsersName(t *testing.T) {
	const sso = "AWSReservedSSO_Admins_0123456789abcdef"
	match := resource.IAMMatch{Account: "111122223333", Role: "ops"}
	mapping := func(m resource.IAMMatch, user string) resource.Resource {
		return of("iam_mapping", "ops", "/", &resource.MappingSpec{Match: m, User: user})
	}
	for _, name := range []string{resource.CanaryUser, resource.BootstrapUser} {
		session := resource.IAMMatch{Account: "111122223333", Role: sso, Session: name}
		o := newOffice(t)
		c := o.as(t, "editor")
		wantFault(t, o.verb(t.Context(), "create", c, fresh(mapping(match, name))), fault.Denied, name+" is the name of a built-in user")
		wantFault(t, o.verb(t.Context(), "create", c, fresh(mapping(session, ""))), fault.Denied, name+" is the name of a built-in user")
		if len(o.changes) != 0 {
			t.Errorf("%d changes", len(o.changes))
		}
		if err := o.verb(t.Context(), "create", c, fresh(mapping(session, "olga"))); err != nil {
			t.Errorf("with a name of its own: %v", err)
		}
		o = newOffice(t)
		o.keep(mapping(match, name))
		c = o.as(t, "editor")
		wantFault(t, o.verb(t.Context(), "update", c, mapping(match, name)), fault.Denied, name+" is the name of a built-in user")
		if err := o.verb(t.Context(), "update", c, mapping(match, "olga")); err != nil {
			t.Errorf("corrected: %v", err)
		}
		o = newOffice(t)
		o.keep(mapping(match, name))
		if err := o.verb(t.Context(), "delete", o.as(t, "editor"), mapping(match, name)); err != nil {
			t.Errorf("deleted: %v", err)
		}
	}
}
