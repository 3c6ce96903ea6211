package document_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// listing is a world whose policy is there, so that people can be judged.
func listing(t *testing.T, lists ...string) world {
	t.Helper()
	w := newWorld(t)
	w.holder = document.NewHolder(cluster, "", lists...)
	accept(t, w.holder, w.first, seal(t, document.KindPolicy, policy(5), w.policy))
	return w
}

// named gives revocations that name the lists, and sends them with some.
func (w world) named(t *testing.T, counter uint64, users, agents revoked.Set, sent map[string]revoked.Records) document.Signed {
	t.Helper()
	r := revocations(counter, now)
	r.Users, r.Agents = users.Sum(), agents.Sum()
	s := seal(t, document.KindRevocations, r, w.policy)
	s.Lists = sent
	return s
}

func whole(s revoked.Set) revoked.Records { return revoked.Records{Whole: true, Entries: s.Bytes()} }

// after adds somebody to a list as of a version.
func after(s revoked.Set, at uint64, refs ...identity.Ref) revoked.Set {
	list := revoked.Users
	var orders []revoked.Order
	for _, ref := range refs {
		orders = append(orders, revoked.Order{Ref: ref, Until: now.Add(time.Hour)})
		list = orders[0].List()
	}
	s, _ = s.Settle(list, orders, v(at), now)
	return s
}

func eve(issued uint64) identity.User {
	return identity.User{Name: "eve", Mapping: "m", Record: "/", Versions: identity.Versions{Revocations: v(issued)}}
}

// A document counts with its lists or not at all: whoever holds one back, or puts another in its place, must not make it
// look as if nobody were revoked.
func TestSec_S59_ADocumentIsNotTakenWithoutItsLists(t *testing.T) {
	w := listing(t)
	first := after(revoked.Set{}, 3, identity.Record("m", "eve"))
	second := after(first, 4, identity.Record("m", "bob"))
	other := after(revoked.Set{}, 3, identity.Record("m", "ada"))
	agents := after(revoked.Set{}, 3, identity.Ref{Target: "agent", Value: "agt_1"})
	refuse(t, w.holder, document.ErrLists, w.named(t, 3, first, agents, nil))
	refuse(t, w.holder, document.ErrLists, w.named(t, 3, first, agents, map[string]revoked.Records{revoked.Users: whole(first)}))
	refuse(t, w.holder, document.ErrMalformed, w.named(t, 3, first, agents, map[string]revoked.Records{revoked.Users: whole(other), revoked.Agents: whole(agents)}))
	refuse(t, w.holder, document.ErrMalformed, w.named(t, 3, first, agents, map[string]revoked.Records{revoked.Users: {Entries: first.Bytes()[1:]}, revoked.Agents: whole(agents)}))
	accept(t, w.holder, w.named(t, 3, first, agents, map[string]revoked.Records{revoked.Users: whole(first), revoked.Agents: whole(agents)}))

	change := map[string]revoked.Records{revoked.Users: {Entries: revoked.Diff(first, second)}}
	refuse(t, w.holder, document.ErrLists, w.named(t, 4, second, agents, nil))
	refuse(t, w.holder, document.ErrLists, w.named(t, 4, second, agents, map[string]revoked.Records{revoked.Users: {Entries: revoked.Diff(first, other)}}))
	if err := w.holder.State().Standing(eve(2), document.Use{Now: now}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("eve after what was refused: %v", err)
	}
	accept(t, w.holder, w.named(t, 4, second, agents, change))
	accept(t, w.holder, w.named(t, 5, second, agents, nil)) // the stamp alone
	accept(t, w.holder, w.named(t, 6, second, agents, change))
	state := w.holder.State()
	bob := eve(3)
	bob.Name = "bob"
	for who, is := range map[document.Subject]bool{subjectOf(eve(2)): true, subjectOf(eve(3)): false, subjectOf(bob): true} {
		if err := state.Standing(who, document.Use{Now: now}); fault.Is(err, fault.Unauthenticated) != is {
			t.Errorf("%+v: %v", who, err)
		}
	}
	again := document.NewHolder(cluster, "")
	accept(t, again, w.holder.Documents()...)
	if d := cmp.Diff(w.holder.Versions(), again.Versions()); d != "" || !again.State().Revoked(revoked.Users).Is(second.Sum()) {
		t.Error("what is held is not taken again:", d)
	}
}

func TestAHolderLacksOnlyWhatItKeepsAndDoesNotHave(t *testing.T) {
	users := after(revoked.Set{}, 3, identity.Record("m", "eve"))
	agents := after(revoked.Set{}, 3, identity.Ref{Target: "agent", Value: "agt_1"})
	for _, c := range []struct{ keeps, first, then []string }{
		{nil, []string{revoked.Users, revoked.Agents}, []string{revoked.Agents}},
		{[]string{revoked.Users}, []string{revoked.Users}, nil},
		{[]string{revoked.Agents}, []string{revoked.Agents}, []string{revoked.Agents}},
	} {
		w := listing(t, c.keeps...)
		doc := w.named(t, 3, users, agents, map[string]revoked.Records{revoked.Users: whole(users), revoked.Agents: whole(agents)})
		if lacks, err := w.holder.Lacks(doc); err != nil || !slices.Equal(slices.Sorted(maps.Keys(lacks)), slices.Sorted(slices.Values(c.first))) {
			t.Errorf("keeping %v: lacks %v, %v", c.keeps, lacks, err)
		}
		accept(t, w.holder, doc)
		more := after(agents, 4, identity.Ref{Target: "agent", Value: "agt_2"})
		if lacks, err := w.holder.Lacks(w.named(t, 4, users, more, nil)); err != nil || !slices.Equal(slices.Sorted(maps.Keys(lacks)), slices.Sorted(slices.Values(c.then))) {
			t.Errorf("keeping %v, later: lacks %v, %v", c.keeps, lacks, err)
		}
		forged := doc
		forged.Signature = slices.Clone(doc.Signature)
		forged.Signature[len(forged.Signature)-1] ^= 1
		if _, err := w.holder.Lacks(forged); err == nil {
			t.Error("a forged document says what is lacking")
		}
	}
}

// An agent keeps no list of agents. If it were asked about one, it would not know; it doesn't say yes.
func TestSec_S59_NobodyIsJudgedWithoutTheirList(t *testing.T) {
	w := listing(t, revoked.Users)
	accept(t, w.holder, w.named(t, 3, revoked.Set{}, revoked.Set{}, nil))
	state := w.holder.State()
	if err := state.Standing(eve(3), document.Use{Now: now}); err != nil {
		t.Error(err)
	}
	if err := state.Standing(identity.Host{ID: "agt_1", Kind: identity.KindAgent}, document.Use{Now: now}); !fault.Is(err, fault.Internal) {
		t.Errorf("a host: %v", err)
	}
}

func TestWhoeverIsRevokedWithEverybodyIsToldSo(t *testing.T) {
	w := listing(t)
	users := after(revoked.Set{}, 3, identity.Ref{Target: "planet"}) // what can't be keyed revokes everybody
	accept(t, w.holder, w.named(t, 3, users, revoked.Set{}, map[string]revoked.Records{revoked.Users: whole(users)}))
	wantFault(t, w.holder.State().Standing(eve(2), document.Use{Now: now}), fault.Unauthenticated, "as are all that were issued before")
	if err := w.holder.State().Standing(eve(3), document.Use{Now: now}); err != nil {
		t.Error(err)
	}
}

// TestWhatAnAgentKeepsAndIsSent holds the sizes that docs/decisions/0016 gives.
func TestWhatAnAgentKeepsAndIsSent(t *testing.T) {
	w := listing(t, revoked.Users)
	var refs []identity.Ref
	for i := range 10_000 {
		refs = append(refs, identity.Record("m", fmt.Sprint(i)))
	}
	users := after(revoked.Set{}, 3, refs...)
	accept(t, w.holder, w.named(t, 3, users, revoked.Set{}, map[string]revoked.Records{revoked.Users: whole(users)}))
	one := after(users, 4, identity.Record("m", "eve"))
	sent := w.named(t, 4, one, revoked.Set{}, map[string]revoked.Records{revoked.Users: {Entries: revoked.Diff(users, one)}})
	if n := len(sent.Body) + len(sent.Lists[revoked.Users].Entries); n > 600 {
		t.Errorf("%d bytes for one revocation", n)
	}
	accept(t, w.holder, sent)
}
