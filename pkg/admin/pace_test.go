package admin_test

import (
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
)

// Each change has documents signed and sent to every agent, and each denial is an event: a delegate who doesn't stop is told
// to wait. Who administers everything isn't counted, and neither is deleting, which is how people are revoked.
func TestSec_S59_ADelegateWhoDoesNotStopIsToldToWait(t *testing.T) {
	mine := of("role", "mine", "/team", &resource.RoleSpec{})
	theirs := of("role", "theirs", "/", &resource.RoleSpec{})
	for name, c := range map[string]struct {
		role, verb string
		r          resource.Resource
		counted    bool
	}{
		"a delegate creates":            {"team", "create", mine, true},
		"a delegate updates":            {"team", "update", mine, true},
		"a delegate deletes":            {"team", "delete", mine, false},
		"a delegate reads":              {"team", "read", mine, false},
		"a delegate is denied to read":  {"team", "read", theirs, true},
		"a delegate is denied to purge": {"team", "delete", theirs, true},
		"an administrator creates":      {"editor", "create", mine, false},
		"an administrator updates":      {"editor", "update", mine, false},
	} {
		o := newOffice(t)
		o.pace = 1
		o.counted = []string{"the one that there was"}
		if c.verb != "create" {
			o.keep(c.r)
		}
		err := o.verb(t.Context(), c.verb, o.as(t, c.role), fresh(c.r))
		if limited := fault.Is(err, fault.RateLimited); limited != c.counted || len(o.counted) == 2 != c.counted || !c.counted && err != nil {
			t.Errorf("%s: %v after %v", name, err, o.counted)
		}
		if c.counted && (len(o.changes) != 0 || len(o.recorded) != 0) {
			t.Errorf("%s: %d changes and %d events, though told to wait", name, len(o.changes), len(o.recorded))
		}
	}
}

// Others who change something all the time don't keep somebody from being revoked by who administers everything.
func TestSec_S59_AnAdministratorOutlastsAFlood(t *testing.T) {
	for role, outlasts := range map[string]bool{"editor": true, "team": false} {
		o := newOffice(t)
		mine := of("user", "bob", "/team", &resource.UserSpec{Mapping: "engineers"})
		o.keep(mine)
		o.strict, o.races = true, 100
		err := o.verb(t.Context(), "delete", o.as(t, role), mine)
		if outlasts && err != nil || !outlasts && !fault.Is(err, fault.Conflict) {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// What somebody was doing when they were revoked is not done, though the documents don't say so yet.
func TestSec_S58_WhoWasRevokedMeanwhileChangesNothing(t *testing.T) {
	mine := of("role", "mine", "/team", &resource.RoleSpec{})
	for name, k := range map[string]struct {
		ref    identity.Ref
		seq    int64
		denied bool
	}{
		"their mapping":                  {identity.Ref{Target: "mapping", Value: "engineers"}, 8, true},
		"their record":                   {identity.Record("engineers", "ada"), 8, true},
		"another mapping":                {identity.Ref{Target: "mapping", Value: "others"}, 8, false},
		"before what the documents have": {identity.Ref{Target: "mapping", Value: "engineers"}, 7, false},
	} {
		o := newOffice(t)
		o.given, o.run.Orders = 8, []revoked.Order{{Seq: k.seq, Ref: k.ref}}
		c := o.as(t, "team")
		c.User.Mapping, c.User.Record, c.Orders = "engineers", "/team", 7
		for _, verb := range []string{"create", "update", "delete"} {
			o.changes = nil
			if delete(o.resources, "role/mine"); verb != "create" {
				o.keep(mine)
			}
			err := o.verb(t.Context(), verb, c, fresh(mine))
			if k.denied != fault.Is(err, fault.Unauthenticated) || k.denied != (len(o.changes) == 0) {
				t.Errorf("%s, %s: %v, %d changes", name, verb, err, len(o.changes))
			}
		}
	}
}

// An order that can't be read, because it is still being written or is lost, may be about the caller. One that is gone
// since it is over is about nobody.
func TestSec_S71_NobodyChangesAnythingWhileItIsUnknownWhomAnOrderIsAbout(t *testing.T) {
	mine := of("role", "mine", "/team", &resource.RoleSpec{})
	for name, k := range map[string]struct {
		run    revoked.Run
		stamp  time.Duration // age of the documents
		denied bool
	}{
		"all are known":            {revoked.Run{}, 0, false},
		"one is being written":     {revoked.Run{Pending: []int64{8}}, 0, true},
		"one is lost":              {revoked.Run{Gone: []int64{8}}, 0, true},
		"one may be over and gone": {revoked.Run{Gone: []int64{8}}, 14 * time.Hour, false},
	} {
		o := newOffice(t)
		o.given, o.run = 8, k.run
		c := o.as(t, "team")
		c.Orders, c.Now = 7, c.Now.Add(k.stamp)
		err := o.verb(t.Context(), "create", c, fresh(mine))
		if k.denied != fault.Is(err, fault.Unavailable) || k.denied != (len(o.changes) == 0) {
			t.Errorf("%s: %v, %d changes", name, err, len(o.changes))
		}
	}
}
