package admin_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

// narrowed is what a change is refused for that was judged by roles in force, and made when a newer one was stored already.
const narrowed = "may not"

// Somebody's role is narrowed, and what they were doing at that moment, or do before it is published, counts for nothing that
// the role gives no longer.
func TestSec_S72_ARoleThatWasNarrowedCountsAtOnce(t *testing.T) {
	user := func(name string, roles ...string) resource.Resource {
		return of("user", name, "/payments", &resource.UserSpec{Mapping: "company", Roles: roles})
	}
	rule := func(verb string, kinds ...string) resource.Rule {
		return resource.Rule{Resources: kinds, Verbs: []string{verb}}
	}
	allow := func(rules ...resource.Rule) *resource.RoleSpec {
		return &resource.RoleSpec{Allow: resource.RoleBlock{Rules: rules}}
	}
	for name, c := range map[string]struct {
		roles  []string
		verb   string
		r      resource.Resource
		stored *resource.RoleSpec // of the first role; nil when it is deleted
	}{
		"a rule that is gone":          {[]string{"lead"}, "create", user("zoe"), allow(rule("*", "token"))},
		"a rule for deleting":          {[]string{"lead"}, "delete", user("zoe"), allow(rule("create", "user"))},
		"the whole role":               {[]string{"lead"}, "create", user("zoe"), nil},
		"a rule of what may be given":  {[]string{"roler"}, "create", user("zoe", "no-root"), allow(rule("*", "user"))},
		"a denial that was added":      {[]string{"lead", "tokens"}, "create", user("zoe", "tokens"), &resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{rule("*", "user")}}, Deny: resource.RoleBlock{Logins: []string{"root"}}}},
		"a rule of what may be freed":  {[]string{"roler"}, "update", user("carol", "lead"), allow(rule("*", "user"))},
		"a right that is written":      {[]string{"roler"}, "create", of("role", "new", "/payments", allow(rule("create", "user"))), allow(rule("*", "role"))},
		"a right that somebody denies": {[]string{"roler"}, "update", of("role", "no-tokens", "/payments", allow()), allow(rule("update", "role"))},
	} {
		w := payments(t)
		if name == "a right that somebody denies" { // who has it may lift it
			w.keep(of("role", "roler", "/payments", allow(rule("*", "role", "token"))))
		}
		if c.verb == "delete" {
			w.keep(c.r)
		}
		caller := w.as(c.roles...)
		try := func() error { return w.verb(t.Context(), c.verb, caller, fresh(c.r)) }
		spec := c.stored
		if spec == nil {
			w.gone = c.roles[0]
		} else {
			w.keep(of("role", c.roles[0], "/payments", spec))
		}
		if err := try(); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), narrowed) || len(w.changes) != 0 {
			t.Errorf("%s: %v, %d changes", name, err, len(w.changes))
		}
		// Without what was narrowed, it is made.
		if w.gone = ""; spec != nil {
			for _, r := range caller.State.Policy.Roles {
				if r.Metadata.Name == c.roles[0] {
					w.keep(of("role", c.roles[0], "/payments", &r.Spec))
				}
			}
		}
		if err := try(); err != nil || len(w.changes) != 1 {
			t.Errorf("%s: as it was: %v, %d changes", name, err, len(w.changes))
		}
	}
}

func TestARoleThatWasWidenedCountsOnceItIsPublished(t *testing.T) {
	w := payments(t)
	caller := w.as("mapper")
	w.keep(of("role", "mapper", "/payments", &resource.RoleSpec{Allow: resource.RoleBlock{Rules: []resource.Rule{{Resources: []string{"*"}, Verbs: []string{"*"}}}}}))
	zoe := of("user", "zoe", "/payments", &resource.UserSpec{Mapping: "company"})
	if err := w.verb(t.Context(), "create", caller, fresh(zoe)); !fault.Is(err, fault.Denied) {
		t.Errorf("got %v", err)
	}
	if err := w.verb(t.Context(), "create", w.as("mapper"), fresh(zoe)); err != nil {
		t.Errorf("published: %v", err)
	}
}

// What the caller's roles are to be is waited for, and nothing is changed until it is known.
func TestSec_S72_NothingIsChangedWhileTheCallersRolesAreWritten(t *testing.T) {
	zoe := of("user", "zoe", "/payments", &resource.UserSpec{Mapping: "company"})
	for busy, made := range map[int]bool{0: true, 1: true, 1000: false} {
		w := payments(t)
		w.busy = busy
		err := w.verb(t.Context(), "create", w.as("lead"), fresh(zoe))
		if made != (err == nil) || made != (len(w.changes) == 1) || !made && !fault.Is(err, fault.Conflict) {
			t.Errorf("busy %d times: %v, %d changes", busy, err, len(w.changes))
		}
	}
	w := payments(t)
	w.down = map[string]bool{"Held": true}
	if err := w.verb(t.Context(), "create", w.as("lead"), fresh(zoe)); err == nil || len(w.changes) != 0 {
		t.Errorf("unread: %v", err)
	}
}

// The roles of grants count as well, each is read once, and those that never change aren't read.
func TestOnlyRolesThatCanChangeAreReadForAChange(t *testing.T) {
	for name, c := range map[string]struct {
		caller func(*world) admin.Caller
		asked  []string
	}{
		"presets": {func(w *world) admin.Caller { return w.as("editor", "access") }, nil},
		"twice":   {func(w *world) admin.Caller { return w.as("roler", "editor", "lead", "roler") }, []string{"lead", "roler"}},
		"by a grant": {func(w *world) admin.Caller {
			caller := w.as("editor")
			caller.User.Grants = []identity.Grant{{Request: "req_1", Roles: []string{"dev"}, Until: w.Now.Add(time.Hour)}}
			return caller
		}, []string{"dev"}},
	} {
		w := payments(t)
		if err := w.verb(t.Context(), "create", c.caller(w), fresh(of("user", "zoe", "/payments", &resource.UserSpec{Mapping: "company"}))); err != nil || !slices.Equal(w.asked, c.asked) {
			t.Errorf("%s: %v, asked for %v", name, err, w.asked)
		}
	}
}
