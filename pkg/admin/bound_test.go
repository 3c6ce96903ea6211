package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/store/storetest"
)

// mappingAt is a mapping of an AWS role of its own.
func mappingAt(name, scope string) resource.Resource {
	return of("iam_mapping", name, scope, &resource.MappingSpec{Match: resource.IAMMatch{Account: "111122223333", Role: "R-" + name}, User: "u"})
}

// fill keeps mappings at the scopes in turn.
func (o *office) fill(prefix string, n int, scopes ...string) {
	for i := range n {
		o.keep(mappingAt(fmt.Sprintf("%s-%d", prefix, i), scopes[i%len(scopes)]))
	}
}

// Every login reads all mappings: delegates have a number at their scope, however many scopes they make up below it, and
// leave some of all to who administers everything.
func TestSec_S59_MappingsAreBoundedInEachScopeAndOverAll(t *testing.T) {
	for name, c := range map[string]struct {
		fill    func(*office)
		role    string
		scope   string
		refused string
	}{
		"a delegate with one place left":           {func(o *office) { o.fill("a", 99, "/team", "/team/a") }, "team", "/team", ""},
		"a delegate with none":                     {func(o *office) { o.fill("a", 100, "/team") }, "team", "/team", "100 iam_mappings at /team and below"},
		"a delegate with none, below":              {func(o *office) { o.fill("a", 100, "/team/a", "/team/b/c") }, "team", "/team/d", "100 iam_mappings at /team and below"},
		"beside a scope that is full":              {func(o *office) { o.fill("a", 100, "/teammate") }, "team", "/team", ""},
		"an administrator, in a scope that's full": {func(o *office) { o.fill("a", 100, "/team") }, "editor", "/team", ""},
		"a delegate before the reserve":            {func(o *office) { o.fill("a", 899, "/", "/b") }, "team", "/team", ""},
		"a delegate at the reserve":                {func(o *office) { o.fill("a", 900, "/", "/b") }, "team", "/team", "900 iam_mappings in all"},
		"an administrator in the reserve":          {func(o *office) { o.fill("a", 999, "/", "/b") }, "editor", "/", ""},
		"an administrator beyond it":               {func(o *office) { o.fill("a", 1000, "/", "/b") }, "editor", "/", "1000 iam_mappings in all"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			c.fill(o)
			_, err := o.desk.Create(t.Context(), o.as(t, c.role), fresh(mappingAt("new", c.scope)))
			if c.refused == "" {
				if err != nil || len(o.changes) != 1 {
					t.Errorf("%v, %d changes", err, len(o.changes))
				}
				return
			}
			wantFault(t, err, fault.TooLarge, c.refused)
			if len(o.changes) != 0 {
				t.Errorf("%d changes", len(o.changes))
			}
		})
	}
}

// What is there already is changed and deleted as ever, be it beyond the bounds; but it doesn't move to where there is no room.
func TestSec_S59_WhatStandsBeyondTheBoundsIsChangedAndDeleted(t *testing.T) {
	o := newOffice(t)
	o.fill("a", 1100, "/team", "/team/a")
	o.keep(mappingAt("mine", "/team"))
	for _, role := range []string{"team", "editor"} {
		if err := o.verb(t.Context(), "read", o.as(t, role), mappingAt("mine", "/team")); err != nil {
			t.Errorf("%s reads: %v", role, err)
		}
		o.keep(mappingAt("mine", "/team"))
		if err := o.verb(t.Context(), "update", o.as(t, role), mappingAt("mine", "/team/a")); err != nil {
			t.Errorf("%s moves it within the scope: %v", role, err)
		}
	}
	if err := o.verb(t.Context(), "delete", o.as(t, "team"), mappingAt("mine", "/team")); err != nil {
		t.Errorf("deleting: %v", err)
	}
	o.Cluster.Publish(rules("two", "/team", []string{"*"}, []string{"*"}), rules("other", "/other", []string{"*"}, []string{"*"}))
	o.keep(mappingAt("mine", "/other"))
	_, err := o.desk.Update(t.Context(), o.as(t, "two", "other"), mappingAt("mine", "/team/b"))
	wantFault(t, err, fault.TooLarge, "1100 iam_mappings at /team and below")
	if _, err := o.desk.Update(t.Context(), o.as(t, "editor"), mappingAt("mine", "/team/b")); err != nil {
		t.Errorf("an administrator moves it: %v", err)
	}
}

// heavy are a mapping and a record whose bodies take so many bytes of JSON.
var heavy = map[string]struct {
	most int
	of   func(t *testing.T, bytes int) resource.Resource
}{
	"a mapping": {1792, func(t *testing.T, bytes int) resource.Resource {
		m := mappingAt("m", "/team")
		m.Spec.(*resource.MappingSpec).Traits = filled(t, m.Spec, func(traits map[string][]string) { m.Spec.(*resource.MappingSpec).Traits = traits }, bytes)
		return m
	}},
	"a record": {1024, func(t *testing.T, bytes int) resource.Resource {
		spec := &resource.UserSpec{Mapping: "engineers"}
		spec.Traits = filled(t, spec, func(traits map[string][]string) { spec.Traits = traits }, bytes)
		return of("user", "bob", "/team", spec)
	}},
}

// filled are traits that make a body as large as is said.
func filled(t *testing.T, spec resource.Spec, set func(map[string][]string), bytes int) map[string][]string {
	t.Helper()
	traits := func(n int) map[string][]string { return map[string][]string{"x": {strings.Repeat("x", n)}} }
	set(traits(1))
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return traits(1 + bytes - len(b))
}

// Every login reads all mappings, and what has no room in a certificate is of no use.
func TestSec_S59_AMappingAndARecordHaveTheirSize(t *testing.T) {
	for name, h := range heavy {
		sized := func(bytes int) resource.Resource { return h.of(t, bytes) }
		o := newOffice(t)
		wantFault(t, o.verb(t.Context(), "create", o.as(t, "editor"), fresh(sized(h.most+1))), fault.TooLarge, fmt.Sprintf("takes %d bytes, but %d are allowed", h.most+1, h.most))
		if err := o.verb(t.Context(), "create", o.as(t, "editor"), fresh(sized(h.most))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		o.keep(sized(h.most + 1000)) // from before the bound
		wantFault(t, o.verb(t.Context(), "update", o.as(t, "editor"), fresh(sized(h.most+1001))), fault.TooLarge, fmt.Sprintf("takes %d bytes", h.most+1001))
		for _, smaller := range []int{h.most + 1000, h.most, 200} {
			o.keep(sized(h.most + 1000))
			if err := o.verb(t.Context(), "update", o.as(t, "editor"), fresh(sized(smaller))); err != nil {
				t.Errorf("%s is made no larger: %v", name, err)
			}
		}
		o.keep(sized(h.most + 1000))
		if err := o.verb(t.Context(), "delete", o.as(t, "editor"), sized(200)); err != nil {
			t.Errorf("%s is deleted: %v", name, err)
		}
	}
}

// The largest of both, with the longest names, have room in an identity: nobody is kept out by what another may write.
func TestSec_S59_NobodyMakesAnIdentityTooLargeForAnother(t *testing.T) {
	m := heavy["a mapping"].of(t, 1792).Spec.(*resource.MappingSpec)
	r := heavy["a record"].of(t, 1024).Spec.(*resource.UserSpec)
	long, version := strings.Repeat("n", 63), identity.Version{Epoch: math.MaxUint32, Counter: math.MaxUint32}
	u := identity.User{
		Cluster: "0b4f3c52-6f6a-4c0e-9a53-0d6f3c1f7a11", Certificate: "crt_01hv0000000000000000000000", Name: strings.Repeat("u", 64), Mapping: long,
		Record: strings.Repeat("/"+long, 8), UID: "usr_" + strings.Repeat("0", 32), Roles: append(m.Roles, r.Roles...),
		Traits:        map[string][]string{"x": append(m.Traits["x"], r.Traits["x"]...)},
		SourceAddress: "2001:db8:1111:2222:3333:4444:5555:6666", Versions: identity.Versions{Trust: version, Policy: version, Revocations: version},
		IssuedAt: time.Date(2026, 11, 20, 12, 0, 0, 999999999, time.UTC),
	}
	if b, err := u.Marshal(); err != nil {
		t.Errorf("%d bytes: %v", len(b), err)
	}
}

// A change of a mapping judges the records of its users: a delegate adds only so many, and a thousand roles in each don't
// make it slow.
func TestSec_S58_RecordsOfADelegateDoNotKeepAMappingFromBeingChanged(t *testing.T) {
	o := newOffice(t)
	var names []string
	for i := range 50 {
		names = append(names, fmt.Sprint("r", i))
		o.keep(of("role", names[i], "/team", &resource.RoleSpec{}))
	}
	o.keep(of("iam_mapping", "engineers", "/", &resource.MappingSpec{Match: engineers().Spec.(*resource.MappingSpec).Match, User: "u", Roles: []string{"r0"}}))
	record := func(i int) resource.Resource {
		return of("user", fmt.Sprint("u", i), []string{"/team", "/team/a"}[i%2], &resource.UserSpec{Mapping: "engineers", Roles: names})
	}
	for i := range 999 {
		o.keep(record(i))
	}
	if err := o.verb(t.Context(), "create", o.as(t, "team"), fresh(record(999))); err != nil {
		t.Errorf("the last one: %v", err)
	}
	o.keep(record(999))
	wantFault(t, o.verb(t.Context(), "create", o.as(t, "team"), fresh(record(1000))), fault.TooLarge, "1000 users at /team and below")
	if err := o.verb(t.Context(), "update", o.as(t, "team"), fresh(record(1))); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	if err := o.verb(t.Context(), "create", o.as(t, "editor"), fresh(record(1001))); err != nil {
		t.Errorf("an administrator's: %v", err)
	}
	o.reads = 0
	changed := of("iam_mapping", "engineers", "/", &resource.MappingSpec{Match: resource.IAMMatch{Account: "111122223333", Role: "Other"}, User: "u", Roles: []string{"r1"}})
	if err := o.verb(t.Context(), "update", o.as(t, "editor"), fresh(changed)); err != nil {
		t.Fatal(err)
	}
	if o.reads > 20 {
		t.Errorf("one change read %d times", o.reads)
	}
}

// Who may write mappings at a scope can come as many people: all of them share a pace.
func TestSec_S59_EveryoneInABranchSharesAPace(t *testing.T) {
	o := newOffice(t)
	for who, c := range map[string]struct {
		role, scope string
		want        []string
		denied      bool
	}{
		"a delegate": {"team", "/team/a/b", []string{"usr_ada", "/team"}, false},
		"somebody who may not, twice for being denied": {"reader", "/team", []string{"usr_ada", "usr_ada"}, true},
		"an administrator": {"editor", "/team", nil, false},
	} {
		o.counted = nil
		if err := o.verb(t.Context(), "create", o.as(t, c.role), fresh(of("role", "new", c.scope, &resource.RoleSpec{}))); fault.Is(err, fault.Denied) != c.denied || err != nil && !c.denied {
			t.Fatal(who, err)
		}
		if !slices.Equal(o.counted, c.want) {
			t.Errorf("%s counts %v", who, o.counted)
		}
	}
	o.counted, o.pace = nil, 1 // the delegate's own is left, the branch's is not
	wantFault(t, o.verb(t.Context(), "create", o.as(t, "team"), fresh(of("role", "new", "/team", &resource.RoleSpec{}))), fault.RateLimited, "at /team and below")
}

// calm lets everybody through.
type calm struct{}

func (calm) Count(context.Context, string, time.Time) error { return nil }

// However many write at the same time: what was counted is a condition of the change.
func TestSec_S59_ManyAtOnceNeverAddMoreMappingsThanThereIsRoomFor(t *testing.T) {
	_, s := storetest.New()
	o := newOffice(t)
	team := rules("team", "/team", []string{"*"}, []string{"*"})
	stored := storetest.Written("role", "team", 0, &team.Spec)
	stored.Resource.Metadata.Scope = team.Metadata.Scope
	storetest.Must(t, s.Commit(t.Context(), stored))
	desk := admin.New(admin.Config{Cluster: o.ID, Store: s, Publisher: o.shelf, Pace: calm{}, Bodies: o.shelf})
	delegate := o.as(t, "team")
	create := func(i int) error {
		c := delegate
		c.Nonce = fmt.Sprintf("nonce-%d", i)
		for { // whoever was too slow too often is told to try again
			_, err := desk.Create(t.Context(), c, fresh(mappingAt(fmt.Sprintf("m-%d", i), fmt.Sprintf("/team/%d", i%3))))
			if !fault.Is(err, fault.Conflict) {
				return err
			}
		}
	}
	for i := range 90 {
		if err := create(i); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	var made atomic.Int32
	for i := 90; i < 120; i++ {
		group.Go(func() {
			switch err := create(i); {
			case err == nil:
				made.Add(1)
			case !fault.Is(err, fault.TooLarge):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if all, err := s.Mappings(t.Context()); err != nil || made.Load() != 10 || len(all) != 100 {
		t.Errorf("%d were made and %d are there, %v", made.Load(), len(all), err)
	}
}

// Too many roles would stop the publication of roles, and every login reads them all. What counts is what is stored: a
// policy in force that is behind has room that is taken.
func TestSec_S59_RolesThatThePolicyHasNoRoomForAreRefused(t *testing.T) {
	sized := func(name, scope string, bytes int) resource.Resource {
		return of("role", name, scope, &resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{strings.Repeat("x", bytes)}}})
	}
	const most = document.MaxPolicy * 15 / 16
	for name, c := range map[string]struct {
		held    int
		role    string
		refused bool
	}{
		"an administrator with room":    {most - 60<<10, "editor", false},
		"an administrator without":      {most - 50<<10, "editor", true},
		"a delegate with room":          {most - most/10 - 60<<10, "team", false},
		"a delegate before the reserve": {most - most/10 - 50<<10, "team", true},
	} {
		for _, verb := range []string{"create", "update"} {
			o := newOffice(t)
			o.keep(sized("large", "/", c.held))
			if verb == "update" {
				o.keep(sized("mine", "/team", 1))
			}
			err := o.verb(t.Context(), verb, o.as(t, c.role), fresh(sized("mine", "/team", 55<<10)))
			if !c.refused && err != nil {
				t.Errorf("%s: %s: %v", name, verb, err)
			}
			if c.refused {
				wantFault(t, err, fault.TooLarge, "no room")
			}
		}
	}
	for name, c := range map[string]struct {
		held, scope, role string
		refused           bool
	}{
		"a delegate, where the branch is full":           {"/team/a", "/team/b", "team", true},
		"a delegate, beside a branch that is full":       {"/teammate", "/team", "team", false},
		"an administrator, in a branch that is full":     {"/team", "/team", "editor", false},
		"a delegate, where / alone holds as much as one": {"/", "/team", "team", false},
	} {
		o := newOffice(t)
		o.keep(sized("large", c.held, 470<<10))
		err := o.verb(t.Context(), "create", o.as(t, c.role), fresh(sized("mine", c.scope, 50<<10)))
		if !c.refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.refused {
			wantFault(t, err, fault.TooLarge, "the roles at /team and below")
			if err := o.verb(t.Context(), "create", o.as(t, c.role), fresh(sized("mine", c.scope, 40<<10))); err != nil {
				t.Errorf("%s, a smaller one: %v", name, err)
			}
		}
	}
	o := newOffice(t)
	o.keep(sized("large", "/", most), sized("mine", "/team", 55<<10))
	if err := o.verb(t.Context(), "update", o.as(t, "team"), fresh(sized("mine", "/team", 54<<10))); err != nil {
		t.Errorf("one that gets smaller: %v", err)
	}
	if err := o.verb(t.Context(), "create", o.as(t, "editor"), fresh(bob)); err != nil {
		t.Errorf("a user: %v", err)
	}
	// In the policy, < takes six bytes.
	o = newOffice(t)
	o.keep(of("role", "large", "/", &resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{strings.Repeat("<", most/6)}}}))
	wantFault(t, o.verb(t.Context(), "create", o.as(t, "editor"), fresh(sized("mine", "/team", 1<<10))), fault.TooLarge, "no room")
}
