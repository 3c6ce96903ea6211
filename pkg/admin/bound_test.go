package admin_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
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

// What has no room in a certificate is of no use, and every login would read it.
func TestSec_S59_WhatAMappingOrARecordGivesIsAsLargeAsACertificateTakes(t *testing.T) {
	traits := func(bytes int) map[string][]string { return map[string][]string{"x": {strings.Repeat("x", bytes)}} }
	for name, of := range map[string]func(bytes int) resource.Resource{
		"a mapping": func(bytes int) resource.Resource {
			m := mappingAt("m", "/team")
			m.Spec.(*resource.MappingSpec).Traits = traits(bytes)
			return m
		},
		"a record": func(bytes int) resource.Resource {
			return of("user", "bob", "/team", &resource.UserSpec{Mapping: "engineers", Traits: traits(bytes)})
		},
	} {
		empty, err := of(0).SpecJSON()
		if err != nil {
			t.Fatal(err)
		}
		largest := 4096 - len(empty)
		o := newOffice(t)
		wantFault(t, o.verb(t.Context(), "create", o.as(t, "editor"), fresh(of(largest+1))), fault.TooLarge, "takes 4097 bytes")
		if err := o.verb(t.Context(), "create", o.as(t, "editor"), fresh(of(largest))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		o.keep(of(largest + 1000)) // from before the bound
		wantFault(t, o.verb(t.Context(), "update", o.as(t, "editor"), fresh(of(largest+1000))), fault.TooLarge, "takes 5096 bytes")
		for _, smaller := range []int{largest + 999, largest, 1} {
			o.keep(of(largest + 1000))
			if err := o.verb(t.Context(), "update", o.as(t, "editor"), fresh(of(smaller))); err != nil {
				t.Errorf("%s is made smaller: %v", name, err)
			}
		}
		o.keep(of(largest + 1000))
		if err := o.verb(t.Context(), "delete", o.as(t, "editor"), of(0)); err != nil {
			t.Errorf("%s is deleted: %v", name, err)
		}
	}
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
	desk := admin.New(admin.Config{Cluster: o.ID, Store: s, Publisher: o.shelf, Pace: calm{}})
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
