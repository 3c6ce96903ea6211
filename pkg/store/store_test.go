package store_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/store/storetest"
	"github.com/stile-dev/stile/pkg/table"
)

var (
	errDown = errors.New("down")
	first   = storetest.ID("agt", 1)
)

// A newer release may write a kind of lock that this one has never heard of. It takes something away, whatever it is.
func TestALockOfAnUnknownKindStands(t *testing.T) {
	db, s := storetest.New()
	want := []document.Lock{}
	for i, kind := range []string{"lock", "freeze", ""} {
		l := document.Lock{ID: storetest.ID("lck", i), Target: "user", Value: "bob", Reason: "stolen"}
		db.Put(names.Lock, l.ID, table.Item{"kind": table.String(kind), "target": table.String(l.Target), "value": table.String(l.Value), "reason": table.String(l.Reason)})
		want = append(want, l)
	}
	locks, err := s.Locks(t.Context())
	if d := cmp.Diff(want, locks); d != "" || err != nil {
		t.Errorf("%v: %s", err, d)
	}
}

// A role that is left out would deny nothing. It stays, and denies its holders everything.
func TestARoleThatCanNotBeReadIsUnreadableAndNotLeftOut(t *testing.T) {
	for name, spec := range map[string]string{"a field of a later release": `{"allow":{"planets":["mars"]}}`, "no JSON": `{`, "nothing": ``} {
		db, s := storetest.New()
		db.Put(names.Role, "a", table.Item{"spec": table.String(spec), "revision": table.Int(7)})
		storetest.Must(t, s.Commit(t.Context(), storetest.Written("role", "b", 0, &resource.RoleSpec{})))
		roles, err := s.Roles(t.Context())
		if err != nil || len(roles) != 2 || roles[1].Metadata.Name != "b" {
			t.Fatalf("%s: %+v, %v", name, roles, err)
		}
		if d := cmp.Diff(resource.Unreadable(resource.Metadata{Name: "a", Scope: "/", Revision: 7}), roles[0]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if _, found, err := s.Get(t.Context(), "role", "a"); found || err == nil {
			t.Errorf("%s: read all the same: %v, %v", name, found, err)
		}
	}
}

// Who comes in by what can't be read must not come in by what is left.
func TestOfMappingsUsersAndTokensNoneIsLeftOut(t *testing.T) {
	db, s := storetest.New()
	for name, spec := range map[string]string{
		"later":  `{"match":{"account":"111122223333","role":"R"},"user":"u","planets":["mars"]}`,
		"nulled": `{"match":{"account":"111122223333","role":"S","phase":"new"},"user":"u","traits":{"logins":null}}`,
	} {
		db.Put(names.Mapping, name, table.Item{"spec": table.String(spec)})
	}
	mappings, err := s.Mappings(t.Context())
	if err != nil || len(mappings) != 2 {
		t.Fatalf("%+v, %v", mappings, err)
	}
	for i, role := range []string{"R", "S"} {
		m := mappings[i]
		if !m.Unreadable || m.Spec.Match.Role != role || m.Spec.User != "" {
			t.Errorf("%+v", m)
		}
	}
	for _, kind := range []string{names.Mapping, names.User, names.Token, names.Target + "#node"} {
		db.Put(kind, "x", table.Item{"spec": table.String(`{"later":1}`)})
	}
	db.Put(names.Agent, first, table.Item{"identity": table.String(`{}`)})
	for name, read := range map[string]func() error{
		"mappings": func() error { _, err := s.Mappings(t.Context()); return err },
		"a user":   func() error { _, _, err := s.User(t.Context(), "x"); return err },
		"a token":  func() error { _, _, err := s.Token(t.Context(), "x"); return err },
		"targets":  func() error { _, err := s.List(t.Context(), "node"); return err },
		"an agent": func() error { _, err := s.Targets(t.Context(), first); return err },
		"a list":   func() error { _, err := s.List(t.Context(), names.User); return err },
	} {
		if read() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestANameIsReleasedForItsHolderAlone(t *testing.T) {
	db, s := storetest.New()
	web := identity.Target{Kind: "node", Name: "web-1"}
	db.Put(names.Target+"#node", web.Name, table.Item{"held_by": table.String(first)})
	release := func(agent string) error { return table.Transact(t.Context(), db, s.Release(web, agent)) }
	if _, refused := errors.AsType[*table.Conflict](db.Unchanged(t, func() error { return release("agt_2") })); !refused {
		t.Error("released for another agent")
	}
	storetest.Must(t, release(first))
	storetest.Must(t, release("agt_2")) // what is free already
	if left := db.Of(names.Target + "#node"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// An answer that is missing must not look like nothing: nobody would be barred.
func TestATableThatCanNotBeReadIsNotEmpty(t *testing.T) {
	db, s := storetest.New()
	for name, read := range map[string]func() error{
		"get":      func() error { _, _, err := s.Get(t.Context(), "role", "dev"); return err },
		"list":     func() error { _, err := s.List(t.Context(), "role"); return err },
		"roles":    func() error { _, err := s.Roles(t.Context()); return err },
		"mappings": func() error { _, err := s.Mappings(t.Context()); return err },
		"orders":   func() error { _, err := s.Orders(t.Context(), 0, 1); return err },
		"all":      func() error { _, err := s.AllOrders(t.Context()); return err },
		"locks":    func() error { _, err := s.Locks(t.Context()); return err },
		"counters": func() error { _, err := s.Counters(t.Context()); return err },
		"secret":   func() error { _, err := s.Secret(t.Context(), "nodes"); return err },
		"targets":  func() error { _, err := s.Targets(t.Context(), first); return err },
		"intend":   func() error { return s.Intend(t.Context(), issue.Intent{}) },
	} {
		db.Fail = errDown
		if err := read(); !errors.Is(err, errDown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
