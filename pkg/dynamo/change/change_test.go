package change_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/access"
	"github.com/stile-dev/stile/pkg/bundle"
	"github.com/stile-dev/stile/pkg/dynamo/dynamotest"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

var (
	web       = identity.Target{Kind: "node", Name: "web-1"}
	orders    = identity.Target{Kind: "db", Name: "orders"}
	first     = dynamotest.ID("agt", 1)
	other     = dynamotest.ID("agt", 2)
	errDown   = errors.New("down")
	tokenSpec = access.TokenSpec{Method: access.MethodToken, Resources: []string{"node"}, Names: []string{"*"}}
)

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	_, s := dynamotest.New()
	role := access.Role{Metadata: access.Metadata{Name: "dev", Scope: "/prod", Revision: 1}, Spec: access.RoleSpec{Allow: access.RoleBlock{Logins: []string{"ubuntu"}}}}
	mapping := access.Mapping{Metadata: access.Metadata{Name: "m", Scope: "/prod", Revision: 1}, Spec: access.MappingSpec{Match: access.IAMMatch{Account: "111122223333", Role: "R"}, User: "u"}}
	user := access.User{Metadata: access.Metadata{Name: "bob", Scope: "/prod", Revision: 1}, Spec: access.UserSpec{Mapping: "m", Roles: []string{"dev"}}}
	kept := access.Token{Metadata: access.Metadata{Name: "nodes", Scope: "/prod", Revision: 1}, Spec: tokenSpec}
	for _, c := range []resource.Change{dynamotest.Written("role", "dev", 0, &role.Spec), dynamotest.Written("iam_mapping", "m", 0, &mapping.Spec), dynamotest.Written("user", "bob", 0, &user.Spec), dynamotest.Token(1, dynamotest.Now)} {
		dynamotest.Must(t, s.Commit(t.Context(), c))
		got, found, err := s.Get(t.Context(), c.Resource.Kind, c.Resource.Metadata.Name)
		if d := cmp.Diff(c.Resource, got); d != "" || !found || err != nil {
			t.Errorf("%v, %v: %s", found, err, d)
		}
		all, err := s.List(t.Context(), c.Resource.Kind)
		if d := cmp.Diff([]access.Resource{c.Resource}, all); d != "" || err != nil {
			t.Errorf("%v: %s", err, d)
		}
		if _, found, err := s.Get(t.Context(), c.Resource.Kind, "another"); found || err != nil {
			t.Errorf("another: %v, %v", found, err)
		}
	}
	dynamotest.Must(t, s.Admit(t.Context(), dynamotest.Admission(1, first, web)))
	roles, err := s.Roles(t.Context())
	dynamotest.Must(t, err)
	mappings, err := s.Mappings(t.Context())
	dynamotest.Must(t, err)
	bob, _, err := s.User(t.Context(), "bob")
	dynamotest.Must(t, err)
	nodes, _, err := s.Token(t.Context(), "nodes")
	dynamotest.Must(t, err)
	held, _, err := s.Get(t.Context(), "node", web.Name)
	dynamotest.Must(t, err)
	if d := cmp.Diff([]any{[]access.Role{role}, []access.Mapping{mapping}, user, kept, access.Spec(&access.TargetSpec{
		Agent: first, Labels: map[string]string{"env": "prod"}, Token: "nodes",
	})}, []any{roles, mappings, bob, nodes, held.Spec}); d != "" {
		t.Error(d)
	}
	if _, found, err := s.User(t.Context(), "eve"); found || err != nil {
		t.Errorf("somebody without a record: %v, %v", found, err)
	}
}

func TestAChangeIsMadeOnlyOfWhatWasReadAndThenCounts(t *testing.T) {
	db, s := dynamotest.New()
	spec := &access.RoleSpec{}
	if n, err := s.Input(t.Context()); n != 0 || err != nil {
		t.Errorf("before the first change: %d, %v", n, err)
	}
	moved := func(c resource.Change) {
		t.Helper()
		if err := db.Unchanged(t, func() error { return s.Commit(t.Context(), c) }); !errors.Is(err, resource.ErrMoved) {
			t.Errorf("got %v", err)
		}
	}
	moved(dynamotest.Written("role", "dev", 1, spec)) // what is not there
	moved(dynamotest.Deleted("role", "dev", 0))
	dynamotest.Must(t, s.Commit(t.Context(), dynamotest.Written("role", "dev", 0, spec)))
	moved(dynamotest.Written("role", "dev", 0, spec)) // what is there already
	dynamotest.Must(t, s.Commit(t.Context(), dynamotest.Written("role", "dev", 1, spec)))
	moved(dynamotest.Written("role", "dev", 1, spec))
	moved(dynamotest.Deleted("role", "dev", 1))
	dynamotest.Must(t, s.Commit(t.Context(), dynamotest.Deleted("role", "dev", 2)))
	if _, found, err := s.Get(t.Context(), "role", "dev"); found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	if n, err := s.Input(t.Context()); n != 3 || err != nil {
		t.Errorf("after three changes: %d, %v", n, err)
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
	db, s := dynamotest.New()
	dynamotest.Must(t, s.Commit(t.Context(), dynamotest.Token(2, dynamotest.Now.Add(time.Hour))))
	hash, err := s.Secret(t.Context(), "nodes")
	if err != nil || hash != "hash" || len(db.Of(names.TokenHash+"#hash")) != 1 {
		t.Fatalf("%q, %v", hash, err)
	}
	c := dynamotest.Deleted("token", "nodes", 1)
	c.ForgetSecret = hash
	dynamotest.Must(t, s.Commit(t.Context(), c))
	if left := db.Of(names.TokenHash + "#hash"); len(left) != 0 {
		t.Errorf("still good: %v", left)
	}
}

func TestACallIsCarriedOutOnceAndItsEventIsOfIt(t *testing.T) {
	db, s := dynamotest.New()
	c := dynamotest.Written("role", "dev", 0, &access.RoleSpec{})
	invalid := c
	invalid.Event.Actor = ""
	_ = db.Unchanged(t, func() error { return s.Commit(t.Context(), invalid) })
	dynamotest.Must(t, s.Commit(t.Context(), c))
	replay := dynamotest.Written("role", "dev", 1, &access.RoleSpec{})
	replay.Nonce = c.Nonce
	if err := db.Unchanged(t, func() error { return s.Commit(t.Context(), replay) }); !errors.Is(err, resource.ErrReplayed) {
		t.Errorf("got %v", err)
	}
	twice := dynamotest.Written("role", "dev", 1, &access.RoleSpec{})
	twice.Event.ID = c.Event.ID // an event that was said is not overwritten
	if err := db.Unchanged(t, func() error { return s.Commit(t.Context(), twice) }); !errors.Is(err, resource.ErrMoved) {
		t.Errorf("got %v", err)
	}
	db.Fail = errDown
	if err := s.Commit(t.Context(), replay); !errors.Is(err, errDown) || errors.Is(err, resource.ErrMoved) {
		t.Errorf("a table that is away: %v", err)
	}
}

// What an agent held goes with it, but what another agent holds by dynamotest.Now is not the agent's to give up.
func TestWhatAnotherAgentHoldsIsNotFreedByADeletion(t *testing.T) {
	db, s := dynamotest.New()
	dynamotest.Must(t, s.Admit(t.Context(), dynamotest.Admission(1, first, web)))
	dynamotest.Must(t, s.Admit(t.Context(), dynamotest.Admission(2, other, orders)))
	gone := dynamotest.Deleted("node", "web-1", dynamotest.Now.UnixMilli())
	gone.ForgetAgent, gone.ForgetTargets = first, []identity.Target{orders}
	if err := db.Unchanged(t, func() error { return s.Commit(t.Context(), gone) }); !errors.Is(err, resource.ErrMoved) {
		t.Errorf("got %v", err)
	}
}

func TestARevocationIsWrittenWithItsChangeAndReadAsOne(t *testing.T) {
	_, s := dynamotest.New()
	until := dynamotest.Now.Add(time.Hour)
	c := dynamotest.Written("user", "bob", 0, &access.UserSpec{Mapping: "m"})
	c.Revoke = &bundle.Lock{ID: dynamotest.ID("lck", 1), Target: "user", Value: "bob", Expires: &until}
	dynamotest.Must(t, s.Commit(t.Context(), c))
	locks, revoked, err := s.Locks(t.Context())
	if d := cmp.Diff([]bundle.Lock{*c.Revoke}, revoked); d != "" || len(locks) != 0 || err != nil {
		t.Errorf("%v, %v: %s", locks, err, d)
	}
}
