package change_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/store/storetest"
	"github.com/stile-dev/stile/pkg/table"
)

var (
	web       = identity.Target{Kind: "node", Name: "web-1"}
	orders    = identity.Target{Kind: "db", Name: "orders"}
	first     = storetest.ID("agt", 1)
	other     = storetest.ID("agt", 2)
	errDown   = errors.New("down")
	tokenSpec = resource.TokenSpec{Method: resource.MethodToken, Resources: []string{"node"}, Names: []string{"*"}}
)

// commit writes a change that was judged a moment ago.
func commit(t *testing.T, s storetest.Store, c admin.Change) error {
	t.Helper()
	counters, err := s.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Counters = counters
	return s.Commit(t.Context(), c)
}

func TestAChangeThatWasJudgedByWhatIsNoLongerSoIsNotMade(t *testing.T) {
	db, s := storetest.New()
	raced := func(judged int64) {
		t.Helper()
		c := storetest.Written("role", "late", 0, &resource.RoleSpec{})
		c.Counters.Input = judged
		if err := db.Unchanged(t, func() error { return s.Commit(t.Context(), c) }); !errors.Is(err, admin.ErrRaced) {
			t.Errorf("judged at %d: %v", judged, err)
		}
	}
	raced(1)
	storetest.Must(t, commit(t, s, storetest.Written("role", "dev", 0, &resource.RoleSpec{})))
	raced(0)
	storetest.Must(t, commit(t, s, storetest.Written("role", "ops", 0, &resource.RoleSpec{})))
	raced(0)
	raced(1)
	raced(3)
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	_, s := storetest.New()
	role := resource.Role{Metadata: resource.Metadata{Name: "dev", Scope: "/prod", Revision: 1}, Spec: resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"ubuntu"}}}}
	mapping := resource.Mapping{Metadata: resource.Metadata{Name: "m", Scope: "/prod", Revision: 1}, Spec: resource.MappingSpec{Match: resource.IAMMatch{Account: "111122223333", Role: "R"}, User: "u"}}
	user := resource.User{Metadata: resource.Metadata{Name: "bob", Scope: "/prod", Revision: 1}, Spec: resource.UserSpec{Mapping: "m", Roles: []string{"dev"}}}
	kept := resource.Token{Metadata: resource.Metadata{Name: "nodes", Scope: "/prod", Revision: 1}, Spec: tokenSpec}
	for _, c := range []admin.Change{storetest.Written("role", "dev", 0, &role.Spec), storetest.Written("iam_mapping", "m", 0, &mapping.Spec), storetest.Written("user", "bob", 0, &user.Spec), storetest.Token(1, storetest.Now)} {
		storetest.Must(t, commit(t, s, c))
		got, found, err := s.Get(t.Context(), c.Resource.Kind, c.Resource.Metadata.Name)
		if d := cmp.Diff(c.Resource, got); d != "" || !found || err != nil {
			t.Errorf("%v, %v: %s", found, err, d)
		}
		all, err := s.List(t.Context(), c.Resource.Kind)
		if d := cmp.Diff([]resource.Resource{c.Resource}, all); d != "" || err != nil {
			t.Errorf("%v: %s", err, d)
		}
		if _, found, err := s.Get(t.Context(), c.Resource.Kind, "another"); found || err != nil {
			t.Errorf("another: %v, %v", found, err)
		}
	}
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(1, first, web)))
	roles, err := s.Roles(t.Context())
	storetest.Must(t, err)
	mappings, err := s.Mappings(t.Context())
	storetest.Must(t, err)
	bob, _, err := s.User(t.Context(), "bob")
	storetest.Must(t, err)
	nodes, _, err := s.Token(t.Context(), "nodes")
	storetest.Must(t, err)
	kept.UID = nodes.UID
	if kept.UID == "" {
		t.Error("a token without a uid")
	}
	held, _, err := s.Get(t.Context(), "node", web.Name)
	storetest.Must(t, err)
	if d := cmp.Diff([]any{[]resource.Role{role}, []resource.Mapping{mapping}, user, kept, resource.Spec(&resource.TargetSpec{
		Agent: first, Labels: map[string]string{"env": "prod"}, Token: "nodes",
	})}, []any{roles, mappings, bob, nodes, held.Spec}); d != "" {
		t.Error(d)
	}
	if _, found, err := s.User(t.Context(), "eve"); found || err != nil {
		t.Errorf("somebody without a record: %v, %v", found, err)
	}
}

func TestAChangeIsMadeOnlyOfWhatWasReadAndThenCounts(t *testing.T) {
	db, s := storetest.New()
	spec := &resource.RoleSpec{}
	if n, err := s.Counters(t.Context()); n != (document.Counters{}) || err != nil {
		t.Errorf("before the first change: %+v, %v", n, err)
	}
	moved := func(c admin.Change) {
		t.Helper()
		if err := db.Unchanged(t, func() error { return commit(t, s, c) }); !errors.Is(err, admin.ErrMoved) {
			t.Errorf("got %v", err)
		}
	}
	moved(storetest.Written("role", "dev", 1, spec)) // what is not there
	moved(storetest.Deleted("role", "dev", 0))
	storetest.Must(t, commit(t, s, storetest.Written("role", "dev", 0, spec)))
	moved(storetest.Written("role", "dev", 0, spec)) // what is there already
	storetest.Must(t, commit(t, s, storetest.Written("role", "dev", 1, spec)))
	moved(storetest.Written("role", "dev", 1, spec))
	moved(storetest.Deleted("role", "dev", 1))
	storetest.Must(t, commit(t, s, storetest.Deleted("role", "dev", 2)))
	if _, found, err := s.Get(t.Context(), "role", "dev"); found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	if n, err := s.Counters(t.Context()); n != (document.Counters{Input: 3}) || err != nil {
		t.Errorf("after three changes: %+v, %v", n, err)
	}
	events := 0
	for key := range db.Items {
		if strings.HasPrefix(key, "ledger|event#") {
			events++
		}
	}
	if events != 3 {
		t.Errorf("%d events of three changes", events)
	}
}

func TestASecretGoesWithItsToken(t *testing.T) {
	db, s := storetest.New()
	storetest.Must(t, commit(t, s, storetest.Token(2, storetest.Now.Add(time.Hour))))
	hash, err := s.Secret(t.Context(), "nodes")
	if err != nil || hash != "hash" || len(db.Of(names.TokenHash+"#hash")) != 1 {
		t.Fatalf("%q, %v", hash, err)
	}
	c := storetest.Deleted("token", "nodes", 1)
	c.ForgetSecret = hash
	storetest.Must(t, commit(t, s, c))
	if left := db.Of(names.TokenHash + "#hash"); len(left) != 0 {
		t.Errorf("still good: %v", left)
	}
}

func TestACallIsCarriedOutOnceAndItsEventIsOfIt(t *testing.T) {
	db, s := storetest.New()
	c := storetest.Written("role", "dev", 0, &resource.RoleSpec{})
	invalid := c
	invalid.Event.Actor = ""
	_ = db.Unchanged(t, func() error { return commit(t, s, invalid) })
	storetest.Must(t, commit(t, s, c))
	replay := storetest.Written("role", "dev", 1, &resource.RoleSpec{})
	replay.Nonce = c.Nonce
	if err := db.Unchanged(t, func() error { return commit(t, s, replay) }); !errors.Is(err, admin.ErrReplayed) {
		t.Errorf("got %v", err)
	}
	db.Fail = errDown
	if err := s.Commit(t.Context(), replay); !errors.Is(err, errDown) || errors.Is(err, admin.ErrMoved) {
		t.Errorf("a table that is away: %v", err)
	}
}

// What an agent held goes with it, but what another agent holds by storetest.Now is not the agent's to give up.
func TestWhatAnotherAgentHoldsIsNotFreedByADeletion(t *testing.T) {
	db, s := storetest.New()
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(1, first, web)))
	storetest.Must(t, s.Admit(t.Context(), storetest.Admission(2, other, orders)))
	gone := storetest.Deleted("node", "web-1", storetest.Now.UnixMilli())
	gone.ForgetAgent, gone.ForgetTargets = first, []identity.Target{orders}
	if err := db.Unchanged(t, func() error { return commit(t, s, gone) }); !errors.Is(err, admin.ErrMoved) {
		t.Errorf("got %v", err)
	}
}

// asOrdered makes changes that revoke somebody, and others between them that don't; it returns the orders.
func asOrdered(t *testing.T, s storetest.Store, users ...string) (all []revoked.Order) {
	t.Helper()
	for _, user := range users {
		storetest.Must(t, commit(t, s, storetest.Written("role", user, 0, &resource.RoleSpec{})))
		c := storetest.Written("user", user, 0, &resource.UserSpec{Mapping: "m"})
		o := revoked.Order{Ref: identity.Record("m", user), Group: identity.Ref{Target: "mapping", Value: "m"}, Reserve: user == "bob", Until: storetest.Now.Add(time.Hour)}
		c.Revoke = &o
		storetest.Must(t, commit(t, s, c))
		o.Seq = int64(len(all) + 1)
		all = append(all, o)
	}
	return all
}

func TestARevocationIsWrittenWithItsChangeAndHasTheNextNumber(t *testing.T) {
	db, s := storetest.New()
	all := asOrdered(t, s, "bob", "eve", "mallory")
	if got, err := s.Counters(t.Context()); got != (document.Counters{Input: 6, Orders: 3}) || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for after := range 4 {
		for upto := range 4 {
			run, err := s.Orders(t.Context(), int64(after), int64(upto))
			want := revoked.Run{Orders: slices.Clone(all[min(after, upto):upto])}
			if d := cmp.Diff(want, run, cmpopts.EquateEmpty()); d != "" || err != nil {
				t.Errorf("after %d, up to %d: %v: %s", after, upto, err, d)
			}
		}
	}
	got, err := s.AllOrders(t.Context())
	if d := cmp.Diff(all, got); d != "" || err != nil {
		t.Errorf("%v: %s", err, d)
	}
	if d := cmp.Diff([]string{"0000000000000001", "0000000000000002", "0000000000000003"}, db.Of(names.Order)); d != "" {
		t.Error(d)
	}
}

// Of two changes that revoke at once, one has the number, and the other is judged again and has the next.
func TestSec_S71_TwoOrdersNeverShareANumber(t *testing.T) {
	db, s := storetest.New()
	judged, err := s.Counters(t.Context())
	storetest.Must(t, err)
	change := func(user string) admin.Change {
		c := storetest.Written("user", user, 0, &resource.UserSpec{Mapping: "m"})
		c.Counters, c.Revoke = judged, &revoked.Order{Ref: identity.Record("m", user), Until: storetest.Now}
		return c
	}
	storetest.Must(t, s.Commit(t.Context(), change("bob")))
	if err := db.Unchanged(t, func() error { return s.Commit(t.Context(), change("eve")) }); !errors.Is(err, admin.ErrRaced) {
		t.Errorf("the second: %v", err)
	}
	storetest.Must(t, commit(t, s, change("eve")))
	if run, err := s.Orders(t.Context(), 0, 2); len(run.Orders) != 2 || run.Orders[1].Ref != identity.Record("m", "eve") || err != nil {
		t.Errorf("%+v, %v", run, err)
	}
}

// A restored table may have an order of a change that it doesn't have. It keeps nobody from revoking.
func TestSec_S71_AnOrderThatARestoreLeftIsInNobodysWay(t *testing.T) {
	db, s := storetest.New()
	asOrdered(t, s, "bob")
	db.Put(names.Order, "0000000000000002", table.Item{"target": table.String("user"), "value": table.String("torn")})
	all := asOrdered(t, s, "eve")
	all[0].Seq = 2
	if run, err := s.Orders(t.Context(), 1, 2); err != nil || !cmp.Equal(run.Orders, all) {
		t.Errorf("%+v, %v", run, err)
	}
}

// TestSec_S62_ATokenIsTheSameUntilItIsDeleted, however often it is changed, and another one after that.
func TestSec_S62_ATokenIsTheSameUntilItIsDeleted(t *testing.T) {
	_, s := storetest.New()
	write := func(c admin.Change) string {
		t.Helper()
		storetest.Must(t, commit(t, s, c))
		token, _, err := s.Token(t.Context(), "nodes")
		storetest.Must(t, err)
		return token.UID
	}
	spec := &tokenSpec
	was := write(storetest.Written("token", "nodes", 0, spec))
	now := write(storetest.Written("token", "nodes", 1, spec))
	if was == "" || now != was {
		t.Fatalf("%q, then %q", was, now)
	}
	a := storetest.Admission(1, first, web)
	a.Token = was
	storetest.Must(t, s.Admit(t.Context(), a))
	a = storetest.Admission(2, first, web)
	a.Token, a.Renewal, a.Same, a.Shown = was, true, true, storetest.ID("crt", 1)
	storetest.Must(t, s.Admit(t.Context(), a))
	write(storetest.Deleted("token", "nodes", 2))
	third := write(storetest.Written("token", "nodes", 0, spec))
	if third == "" || third == was {
		t.Fatalf("%q again", third)
	}
	a = storetest.Admission(3, first, web)
	a.Token, a.Renewal, a.Same, a.Shown = third, true, true, storetest.ID("crt", 2)
	if err := s.Admit(t.Context(), a); !errors.Is(err, issue.ErrRecord) {
		t.Errorf("an agent of the old one: %v", err)
	}
	a.Same = false // with a new secret
	storetest.Must(t, s.Admit(t.Context(), a))
	a = storetest.Admission(4, first, web)
	a.Token, a.Renewal, a.Same, a.Shown = third, true, true, storetest.ID("crt", 3)
	storetest.Must(t, s.Admit(t.Context(), a))
}

// TestSec_S62_ARemovedAgentLeavesItsPlacesAndNobodyElses, such as that of who took a place that was not kept.
func TestSec_S62_ARemovedAgentLeavesItsPlacesAndNobodyElses(t *testing.T) {
	db, s := storetest.New()
	bounds := []issue.Bound{{Of: "nodes#u", Most: 1}, {Of: "nodes#u#A", Most: 1}}
	a := storetest.Admission(1, first, web)
	a.Bounds, a.Places = bounds, storetest.Now.Add(time.Hour)
	storetest.Must(t, s.Admit(t.Context(), a))
	held := func() (all []string) {
		for _, b := range bounds {
			for _, sk := range db.Of(names.Place + "#" + b.Of) {
				all = append(all, db.Items["state|"+names.Place+"#"+b.Of+"|"+sk].Text("held_by"))
			}
		}
		return all
	}
	late := storetest.Admission(2, other, orders)
	late.Intent.At, late.Bounds, late.Places = storetest.Now.Add(2*time.Hour), bounds[:1], storetest.Now.Add(9*time.Hour)
	storetest.Must(t, s.Admit(t.Context(), late))
	if d := cmp.Diff([]string{other, first}, held()); d != "" {
		t.Fatal(d)
	}
	gone := storetest.Deleted("node", web.Name, storetest.Now.UnixMilli())
	gone.ForgetAgent = first
	storetest.Must(t, commit(t, s, gone))
	if d := cmp.Diff([]string{other}, held()); d != "" {
		t.Error(d)
	}
	gone = storetest.Deleted("db", orders.Name, storetest.Now.Add(2*time.Hour).UnixMilli())
	gone.ForgetAgent = other
	storetest.Must(t, commit(t, s, gone))
	if left := held(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// Roles are read with what is being written to them, or not at all.
func TestSec_S72_HeldRolesAreAsTheyAreWritten(t *testing.T) {
	db, s := storetest.New()
	spec := &resource.RoleSpec{Allow: resource.RoleBlock{Logins: []string{"ubuntu"}}}
	for _, name := range []string{"dev", "ops", "other"} {
		storetest.Must(t, commit(t, s, storetest.Written("role", name, 0, spec)))
	}
	db.Put(names.Role, "later", table.Item{"spec": table.String("{")})
	got, err := s.Held(t.Context(), []string{"dev", "later", "none", "ops"})
	var held []string
	for _, r := range got {
		_, unknown := r.Unknown()
		held = append(held, fmt.Sprint(r.Metadata.Name, " ", unknown, " ", r.Spec.Allow.Logins))
	}
	if d := cmp.Diff([]string{"dev false [ubuntu]", "later true []", "ops false [ubuntu]"}, held); d != "" || err != nil {
		t.Errorf("%v: %s", err, d)
	}
	db.Late = map[string]bool{"state|" + names.Role + "|ops": true}
	if got, err := s.Held(t.Context(), []string{"dev", "ops"}); !errors.Is(err, admin.ErrRaced) || got != nil {
		t.Errorf("%+v, %v", got, err)
	}
	db.Fail = errDown
	if _, err := s.Held(t.Context(), []string{"dev"}); !errors.Is(err, errDown) {
		t.Error(err)
	}
}
