package admin_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

// Whoever loses something by an update must not keep it for as long as a certificate lives; whoever loses nothing must
// not be thrown out.
func TestAnUpdateRevokesExactlyWhenItTakesSomethingAway(t *testing.T) {
	user := resource.UserSpec{Mapping: "m", Roles: []string{"a", "b"}, Traits: map[string][]string{"logins": {"x", "y"}}}
	mapping := resource.MappingSpec{Match: resource.IAMMatch{Account: "111122223333", Role: "R"}, User: "u", Roles: user.Roles, Traits: user.Traits}
	for name, c := range map[string]struct {
		change func(u *resource.UserSpec, m *resource.MappingSpec)
		user   bool
		mapped bool
	}{
		"nothing":     {func(*resource.UserSpec, *resource.MappingSpec) {}, false, false},
		"a role less": {func(u *resource.UserSpec, m *resource.MappingSpec) { u.Roles, m.Roles = []string{"b"}, []string{"a"} }, true, true},
		"another role": {func(u *resource.UserSpec, m *resource.MappingSpec) {
			u.Roles, m.Roles = []string{"a", "c"}, []string{"c", "b"}
		}, true, true},
		"a role more": {func(u *resource.UserSpec, m *resource.MappingSpec) {
			u.Roles, m.Roles = []string{"c", "b", "a"}, []string{"a", "b", "c"}
		}, false, false},
		"a value less": {func(u *resource.UserSpec, m *resource.MappingSpec) {
			u.Traits, m.Traits = map[string][]string{"logins": {"x"}}, map[string][]string{"logins": {"y"}}
		}, true, true},
		"a trait less": {func(u *resource.UserSpec, m *resource.MappingSpec) {
			u.Traits, m.Traits = nil, map[string][]string{"groups": {"x", "y"}}
		}, true, true},
		"a trait more": {func(u *resource.UserSpec, m *resource.MappingSpec) {
			u.Traits = map[string][]string{"logins": {"x", "y"}, "g": {"z"}}
			m.Traits = u.Traits
		}, false, false},
		"in another way":   {func(u *resource.UserSpec, m *resource.MappingSpec) { u.Mapping, m.Match.Role = "n", "S" }, true, true},
		"for less of them": {func(_ *resource.UserSpec, m *resource.MappingSpec) { m.Match.RoleID = "AROAEXAMPLE00000000AB" }, false, true},
		"as somebody else": {func(_ *resource.UserSpec, m *resource.MappingSpec) { m.User = "v" }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.keep(of("user", "bob", "/", &user), of("iam_mapping", "m", "/", &mapping))
			u, m := user, mapping
			c.change(&u, &m)
			for i, r := range []resource.Resource{of("user", "bob", "/", &u), of("iam_mapping", "m", "/", &m)} {
				if _, err := o.desk.Update(t.Context(), o.as(t, "editor"), r); err != nil {
					t.Fatal(err)
				}
				revoke := o.changes[i].Revoke
				if want := []bool{c.user, c.mapped}[i]; (revoke != nil) != want {
					t.Errorf("%s: revoked %+v, want %v", r.Kind, revoke, want)
				}
			}
		})
	}
}

// Certificates end by themselves; until the last of them has, by any clock, the revocation has to be there.
func TestARevocationOutlivesWhateverWasIssued(t *testing.T) {
	for kind, c := range map[string]struct {
		r    resource.Resource
		life time.Duration
	}{"node": {node, certs.MaxHostLife}, "user": {bob, certs.MaxUserLife}, "iam_mapping": {engineers(), certs.MaxUserLife}, "token": {secret, certs.MaxHostLife}} {
		o := newOffice(t)
		o.keep(c.r)
		if _, err := o.desk.Delete(t.Context(), o.as(t, "editor"), kind, c.r.Metadata.Name); err != nil {
			t.Fatal(err)
		}
		l := o.changes[0].Revoke
		if l.Until.Before(o.Now.Add(c.life+time.Hour)) || l.Until.After(o.Now.Add(c.life+2*time.Hour)) {
			t.Errorf("%s: until %s", kind, l.Until)
		}
	}
}

// A record gives something to those of the name whom its mapping admits, so nobody else has to log in again. The group is
// what is revoked when too much is, and only who administers everything uses the room that is kept for them.
func TestARevocationNamesWhomTheChangeTakesFromAndNobodyElse(t *testing.T) {
	held := of("node", "web-1", "/team", &resource.TargetSpec{Agent: agent, Token: "nodes"})
	record := of("user", "bob", "/team", &resource.UserSpec{Mapping: "engineers", Roles: []string{"mine"}})
	mapping := of("iam_mapping", "engineers", "/team", engineers().Spec)
	for kind, c := range map[string]struct {
		r          resource.Resource
		ref, group identity.Ref
	}{
		"node":        {held, identity.Ref{Target: "agent", Value: agent}, identity.Ref{Target: "token", Value: "nodes"}},
		"user":        {record, identity.Record("engineers", "bob"), identity.Records("/team")},
		"iam_mapping": {mapping, identity.Ref{Target: "mapping", Value: "engineers"}, identity.Ref{}},
	} {
		for role, reserve := range map[string]bool{"editor": true, "team": false} {
			o := newOffice(t)
			o.keep(c.r, of("role", "mine", "/team", &resource.RoleSpec{}))
			if _, err := o.desk.Delete(t.Context(), o.as(t, role), kind, c.r.Metadata.Name); err != nil {
				t.Fatal(err)
			}
			got := *o.changes[0].Revoke
			got.Until = time.Time{}
			want := revoked.Order{Ref: c.ref, Group: c.group, Reserve: reserve}
			if kind == "user" && role == "editor" { // who may change every mapping means the person
				want.Ref, want.Group = identity.Ref{Target: "user", Value: "bob"}, identity.Ref{}
			}
			if got != want {
				t.Errorf("%s by %s: %+v", kind, role, got)
			}
		}
	}
}

// A record that gives nothing is in nobody's certificate: whoever may write one for somebody else's mapping can't log its
// people out by deleting it.
func TestSec_S58_ARecordThatGaveNothingRevokesNobody(t *testing.T) {
	o := newOffice(t)
	o.keep(of("user", "bob", "/team", &resource.UserSpec{Mapping: "engineers"}))
	if _, err := o.desk.Delete(t.Context(), o.as(t, "team"), "user", "bob"); err != nil || o.changes[0].Revoke != nil {
		t.Errorf("%v, revoked %+v", err, o.changes[0].Revoke)
	}
}

// Whoever may change how everybody is admitted puts somebody out, whatever the record gave.
func TestAnAdministratorWhoDeletesARecordPutsThePersonOut(t *testing.T) {
	for name, spec := range map[string]*resource.UserSpec{"gives": {Mapping: "engineers", Roles: []string{"dev"}}, "gives nothing": {Mapping: "engineers"}} {
		o := newOffice(t)
		o.keep(of("user", "bob", "/team", spec))
		if _, err := o.desk.Delete(t.Context(), o.as(t, "editor"), "user", "bob"); err != nil {
			t.Fatal(err)
		}
		through := identity.User{Name: "bob", Mapping: "contractors"}
		if got := o.changes[0].Revoke; got == nil || !slices.Contains(through.Refs(), got.Ref) {
			t.Errorf("%s: revoked %+v", name, got)
		}
	}
}

// Who comes through another mapping than before is revoked as whom the former one admitted.
func TestARecordForAnotherMappingRevokesUnderTheFormer(t *testing.T) {
	o := newOffice(t)
	o.keep(bob)
	if _, err := o.desk.Update(t.Context(), o.as(t, "editor"), of("user", "bob", "/", &resource.UserSpec{Mapping: "contractors"})); err != nil {
		t.Fatal(err)
	}
	if got := o.changes[0].Revoke; got == nil || got.Ref != identity.Record(bob.Spec.(*resource.UserSpec).Mapping, "bob") {
		t.Errorf("%+v", got)
	}
}

// What was written stays written. Whoever wrote it has to hear when it isn't in force, or can't be.
func TestWhatIsStoredAndNotInForceIsWarnedOf(t *testing.T) {
	const later = "tried again within a minute"
	for name, c := range map[string]struct {
		spoil func(*office)
		says  string
	}{
		"all is well":               {func(*office) {}, ""},
		"publishing fails":          {func(o *office) { o.broken = errDown }, later},
		"publishing missed it":      {func(o *office) { o.behind = 1 }, later},
		"it can never be published": {func(o *office) { o.broken = fault.New(fault.TooLarge, "the policy has no room", "delete roles") }, "not in force: the policy has no room; delete roles"},
	} {
		for _, verb := range []string{"create", "delete"} {
			o := newOffice(t)
			c.spoil(o)
			var out admin.Outcome
			var err error
			if verb == "create" {
				out, err = o.desk.Create(t.Context(), o.as(t, "editor"), fresh(dev))
			} else {
				o.keep(dev)
				out, err = o.desk.Delete(t.Context(), o.as(t, "editor"), "role", "dev")
			}
			if err != nil || len(o.changes) != 1 || !strings.Contains(out.Warning, c.says) || (c.says == "") != (out.Warning == "") {
				t.Errorf("%s: %s: %v, %d changes, warning %q", name, verb, err, len(o.changes), out.Warning)
			}
		}
	}
}

func TestWhatGivesNobodyAnythingIsWarnedOf(t *testing.T) {
	match := func(name string, m resource.IAMMatch) resource.Resource {
		return of("iam_mapping", name, "/", &resource.MappingSpec{Match: m, User: "team"})
	}
	many := engineers("r1", "access", "r2", "r3", "dev", "r4", "r5", "r6")
	for name, c := range map[string]struct {
		r    resource.Resource
		says string
	}{
		"a preset and a role that is there":   {engineers("access", "dev"), ""},
		"roles that are not there":            {many, "there is no role r1, r2, r3, r4, r5 and 1 more yet"},
		"a record whose mapping is missing":   {of("user", "eve", "/", &resource.UserSpec{Mapping: "others"}), "there is no iam_mapping others yet"},
		"a record whose mapping is there":     {bob, ""},
		"a record of the bootstrap mapping":   {of("user", "eve", "/", &resource.UserSpec{Mapping: resource.BootstrapMapping}), ""},
		"a mapping that another one overlaps": {match("copy", engineers().Spec.(*resource.MappingSpec).Match), "iam_mapping engineers can match"},
		"one that stands alone":               {match("alone", resource.IAMMatch{Account: "999999999999", Role: "Engineer"}), ""},
	} {
		o := newOffice(t)
		o.keep(dev, engineers("access"), bob)
		write := o.desk.Create
		if _, there := o.resources[c.r.Kind+"/"+c.r.Metadata.Name]; there {
			write = o.desk.Update
		}
		out, err := write(t.Context(), o.as(t, "editor"), fresh(c.r))
		if err != nil || !strings.Contains(out.Warning, c.says) || (c.says == "") != (out.Warning == "") {
			t.Errorf("%s: %v, warning %q", name, err, out.Warning)
		}
	}
	o := newOffice(t)
	o.down["List"] = true // what can't be looked up is no reason to alarm
	if out, err := o.desk.Create(t.Context(), o.as(t, "editor"), fresh(bob)); err != nil || out.Warning != "" {
		t.Errorf("%q, %v", out.Warning, err)
	}
}

func TestAReadThatFailsDecidesNothing(t *testing.T) {
	for verb, call := range map[string]string{"read": "Get", "update": "Get", "delete": "Get", "list": "List"} {
		o := newOffice(t)
		o.down[call] = true
		if err := o.verb(t.Context(), verb, o.as(t, "editor"), dev); !errors.Is(err, errDown) || len(o.changes) != 0 {
			t.Errorf("%s: %v", verb, err)
		}
	}
	o := newOffice(t)
	for _, verb := range []string{"read", "update", "delete"} {
		wantFault(t, o.verb(t.Context(), verb, o.as(t, "editor"), dev), fault.NotFound, `there is no role "dev"`)
	}
}
