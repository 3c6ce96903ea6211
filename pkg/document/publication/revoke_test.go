package publication_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// until is when the orders of these tests are over.
var until = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// revoke is what functions/admin does with the deletion of a record of the mapping m.
func (p *place) revoke(user string) {
	p.order(revoked.Order{Ref: identity.Record("m", user), Group: identity.Ref{Target: "mapping", Value: "m"}})
}

// order is what functions/admin does with a change that takes something away.
func (p *place) order(o revoked.Order) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.input++
	p.given++
	o.Seq, o.Until = p.given, until
	p.orders = append(p.orders, o)
}

// standing judges a user of the mapping m, with a certificate that was issued under a version of the revocations.
func standing(state document.State, user string, counter uint64) error {
	u := identity.User{Name: user, Mapping: "m", Record: "/", Versions: identity.Versions{Revocations: identity.Version{Epoch: 1, Counter: counter}}}
	return state.Standing(u, document.Use{Now: state.ClockFloor()})
}

// barred reports whether a certificate of eve's is refused that was issued under a version of the revocations.
func barred(state document.State, counter uint64) bool {
	return fault.Is(standing(state, "eve", counter), fault.Unauthenticated)
}

func TestARevocationEndsWhatWasIssuedBeforeAndNothingAfter(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	was := s.publish(t)
	s.revoke("eve")
	h := s.publish(t)
	agent := document.NewHolder(s.ID, "")
	state := s.accept(t, agent)
	if !barred(state, was.Revocations.Counter) || barred(state, h.Revocations.Counter) || standing(state, "bob", was.Revocations.Counter) != nil {
		t.Errorf("%+v after %+v and %+v", state.Revocations.Users, was, h)
	}
	if h.Policy != was.Policy {
		t.Errorf("policy %+v after %+v: it goes to every agent, and says nothing new", h.Policy, was.Policy)
	}
	s.change(role("dev"))
	s.publish(t)
	if again := s.accept(t, agent); !cmp.Equal(again.Revocations.Users, state.Revocations.Users) {
		t.Error("a version that was given is not kept")
	}
	s.revoke("eve") // she was let in again, and is deleted again
	later := s.publish(t)
	state = s.accept(t, agent)
	if !barred(state, h.Revocations.Counter) || barred(state, later.Revocations.Counter) || state.Revocations.Users.Count != 1 {
		t.Errorf("%+v", state.Revocations.Users)
	}
}

func TestAnOrderWrittenWhileItSignsIsTakenIn(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	was := s.publish(t)
	s.change(role("dev"))
	s.meanwhile = func() { s.revoke("eve") }
	s.publish(t)
	if state := s.accept(t, document.NewHolder(s.ID, "")); !barred(state, was.Revocations.Counter) || len(s.heads) != 2 {
		t.Errorf("%d heads, %+v", len(s.heads), state.Revocations.Users)
	}
}

// Whoever changes something all the time holds up the policy for as long, and nothing else.
func TestSec_S59_ChangesThatNeverStopDoNotStopRevocations(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	s.change(role("dev"))
	was := s.publish(t)
	busy := 0
	var flood func()
	flood = func() {
		busy++
		s.mu.Lock()
		s.input++
		s.mu.Unlock()
		s.next = flood
	}
	s.change(role("dev"), role("more"))
	s.revoke("eve")
	s.meanwhile = flood
	h, err := s.publisher.Publish(t.Context())
	if !fault.Is(err, fault.Unavailable) || busy < 2 {
		t.Errorf("%v after %d changes", err, busy)
	}
	state := s.accept(t, document.NewHolder(s.ID, ""))
	if !barred(state, was.Revocations.Counter) || h.Policy != was.Policy {
		t.Errorf("%+v, policy %+v after %+v", state.Revocations.Users, h.Policy, was.Policy)
	}
	s.meanwhile, s.next = nil, nil
	if h = s.publish(t); !was.Policy.Less(h.Policy) {
		t.Errorf("the flood is over: %+v", h.Policy)
	}
}

func TestLocksAndRevocationsLastUntilTheyAreOver(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	over := s.Now.Add(time.Hour)
	s.locks = []document.Lock{{ID: "lck_1", Target: "role", Value: "dba", Reason: "audit", Expires: &over}, {ID: "lck_2", Target: "user", Value: "eve"}}
	s.revoke("eve")
	h := s.publish(t)
	agent := document.NewHolder(s.ID, "")
	got := s.accept(t, agent).Revocations
	if d := cmp.Diff(s.locks, got.Locks); d != "" || got.Users.Count != 1 {
		t.Error(d, got.Users)
	}
	s.Now = over
	s.publish(t)
	got = s.accept(t, agent).Revocations
	if d := cmp.Diff(s.locks[1:], got.Locks); d != "" || got.Users.Count != 1 {
		t.Error(d, got.Users)
	}
	s.Now = until
	last := s.publish(t)
	if got = s.accept(t, agent).Revocations; got.Users.Count != 0 || last.Policy != h.Policy {
		t.Errorf("%+v under %+v", got.Users, last)
	}
}

// What is lost or can't be verified may have been anything: all orders get the new version, which revokes more, never less.
func TestAListThatIsLostLosesNoRevocation(t *testing.T) {
	for name, lose := range map[string]func(*site, document.Head){
		"a forged document": func(s *site, h document.Head) {
			forged, err := document.Seal(document.KindRevocations, document.Revocations{Cluster: s.ID, Version: h.Revocations, IssuedAt: s.Now}, clustertest.Key(t))
			if err != nil {
				t.Fatal(err)
			}
			s.revocations = forged
		},
		"an empty list": func(s *site, _ document.Head) { clear(s.lists) },
		"another list": func(s *site, _ document.Head) {
			set, _ := revoked.Set{}.Settle(revoked.Users, []revoked.Order{{Ref: identity.Record("m", "bob"), Until: until}}, identity.Version{Counter: 1}, s.Now)
			s.lists[revoked.Users] = document.Stored{Set: set}
		},
		"a list that can't be read": func(s *site, _ document.Head) {
			s.fail, s.failure = "Stored", fmt.Errorf("%w: rubbish", revoked.ErrMalformed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.rotate(t)
			s.publish(t)
			s.revoke("eve")
			h := s.publish(t)
			lose(s, h)
			next := s.publish(t)
			if state := s.accept(t, document.NewHolder(s.ID, "")); !barred(state, h.Revocations.Counter) || barred(state, next.Revocations.Counter) || state.Revocations.Users.Count != 1 {
				t.Errorf("%+v", state.Revocations.Users)
			}
		})
	}
}

func TestPublicationsAtOnceLoseNoOrder(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	was := s.publish(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s.revoke(fmt.Sprintf("eve-%d", i))
			if _, err := s.publisher.Publish(t.Context()); err != nil && fault.From(err).Code != fault.Unavailable {
				t.Errorf("run %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	s.publish(t)
	state := s.accept(t, document.NewHolder(s.ID, ""))
	for i := range 8 {
		if who := fmt.Sprintf("eve-%d", i); standing(state, who, was.Revocations.Counter) == nil || standing(state, who, s.head.Revocations.Counter) != nil {
			t.Errorf("%s: %+v under %+v", who, state.Revocations.Users, s.head)
		}
	}
}

// A hundred thousand in a day, of which a delegate's flood is a part: each is in force with its publication, the head item
// and the stamp stay as small as ever, and a list is written whole only now and then.
func TestSec_S59_RevocationsCanNotBeFilled(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	was := s.publish(t)
	const many, rounds = 100_000, 20
	for round := range rounds {
		for i := range many / rounds {
			o := revoked.Order{Ref: identity.Record("flooded", fmt.Sprintf("user-%d-%d", round, i)), Group: identity.Ref{Target: "mapping", Value: "flooded"}}
			if i%4 == 0 {
				o = revoked.Order{Ref: identity.Ref{Target: "agent", Value: fmt.Sprintf("agt_%d_%d", round, i)}, Group: identity.Ref{Target: "token", Value: "nodes"}, Reserve: true}
			}
			s.order(o)
		}
		s.revoke(fmt.Sprintf("eve-%d", round))
		before := s.head.Revocations.Counter
		s.publish(t)
		state := s.accept(t, document.NewHolder(s.ID, ""))
		if who := fmt.Sprintf("eve-%d", round); standing(state, who, before) == nil || standing(state, who, s.head.Revocations.Counter) != nil {
			t.Fatalf("%s is not revoked", who)
		}
		// Nobody pays for another group's flood, and nobody who was revoked gets away.
		if standing(state, "bob", was.Revocations.Counter) != nil || standing(state, "eve-0", was.Revocations.Counter) == nil {
			t.Fatalf("round %d: %+v", round, state.Revocations.Users)
		}
		if n := len(s.revocations.Body); n > 1<<10 {
			t.Fatalf("the stamp has %d bytes", n)
		}
		for list, stored := range s.lists {
			if stored.Set.Len() > revoked.Room || len(revoked.Diff(stored.From, stored.Set)) > 32<<10 {
				t.Fatalf("%s: %d entries, a change of %d bytes", list, stored.Set.Len(), len(revoked.Diff(stored.From, stored.Set)))
			}
		}
	}
	coarse := 0
	for _, e := range s.events {
		if e.Type == audit.ListCoarsened {
			if coarse++; e.Data["everybody"] != "" || e.Data["list"] != revoked.Users || !strings.Contains(e.Reason, "no room") {
				t.Errorf("%+v", e)
			}
		}
	}
	if coarse != 1 {
		t.Errorf("%d events of a full list", coarse)
	}
}

func TestLocksThatDoNotFitAreAFaultThatSaysSo(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	h := s.publish(t)
	for i := range 1000 {
		s.locks = append(s.locks, document.Lock{ID: fmt.Sprintf("lck_%026d", i), Target: "user", Value: fmt.Sprintf("user-%026d", i)})
	}
	if _, err := s.publisher.Publish(t.Context()); !fault.Is(err, fault.TooLarge) || s.head != h {
		t.Errorf("%v, head %+v", err, s.head)
	}
}

// in is how many entries the lists of the newest publication have for users and for agents.
func (s *site) in() [2]int {
	return [2]int{s.lists[revoked.Users].Set.Len(), s.lists[revoked.Agents].Set.Len()}
}

// The counter can show a change whose order can't be read yet. It is waited for a little.
func TestSec_S71_AnOrderThatIsBeingWrittenIsWaitedFor(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	was := s.publish(t)
	s.revoke("eve")
	s.written[1] = 3
	h := s.publish(t)
	if state := s.accept(t, document.NewHolder(s.ID, "")); !barred(state, was.Revocations.Counter) || h.Orders != 1 || len(s.heads) != 2 {
		t.Errorf("%+v under %+v, %d heads", state.Revocations.Users, h, len(s.heads))
	}
}

// If it takes longer, what can be published is, the run says that something isn't in force, and a later one takes it in.
func TestSec_S71_AnOrderThatTakesLongIsNotPassedOver(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	was := s.publish(t)
	s.revoke("ada")
	s.revoke("eve")
	s.revoke("bob")
	s.change(role("dev"))
	s.written[2] = -1
	for range 2 {
		h, err := s.publisher.Publish(t.Context())
		if last := s.events[len(s.events)-1]; !fault.Is(err, fault.Unavailable) || h.Orders != 1 || h.Input != 4 || last.Type != audit.PolicyPublished {
			t.Fatalf("%v, head %+v, %+v", err, h, last)
		}
		state := s.accept(t, document.NewHolder(s.ID, ""))
		for who, barred := range map[string]bool{"ada": true, "eve": false, "bob": true} {
			if err := standing(state, who, was.Revocations.Counter); barred != fault.Is(err, fault.Unauthenticated) {
				t.Errorf("%s: %v", who, err)
			}
		}
	}
	before := s.head.Revocations.Counter
	delete(s.written, 2)
	h := s.publish(t)
	if state := s.accept(t, document.NewHolder(s.ID, "")); !barred(state, before) || barred(state, h.Revocations.Counter) || h.Orders != 3 {
		t.Errorf("%+v under %+v", state.Revocations.Users, h)
	}
}

// An order that was given, is not there and should be may have been about anybody.
func TestSec_S71_AnOrderThatIsLostRevokesEverybody(t *testing.T) {
	for name, c := range map[string]struct {
		later     time.Duration
		everybody bool
	}{
		"since a moment":                    {time.Minute, true},
		"since it can just not be over yet": {revoked.Life(revoked.Users) - time.Minute, true},
		"as it is over":                     {revoked.Life(revoked.Users) + time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.rotate(t)
			was := s.publish(t)
			s.revoke("eve")
			s.revoke("bob")
			s.orders = s.orders[1:]
			s.Now = s.Now.Add(c.later)
			s.orders[0].Until = s.Now.Add(time.Hour)
			h := s.publish(t)
			want, events := [2]int{1, 0}, 0
			if c.everybody {
				want, events = [2]int{1 + 1, 1}, 2
			}
			state := s.accept(t, document.NewHolder(s.ID, ""))
			if who := standing(state, "ada", was.Revocations.Counter); s.in() != want || c.everybody != (who != nil) || h.Orders != 2 {
				t.Errorf("%v entries, head %+v, ada: %v", s.in(), h, who)
			}
			if err := standing(state, "ada", h.Revocations.Counter); err != nil {
				t.Errorf("who logged in again: %v", err)
			}
			again := s.publish(t)
			if state = s.accept(t, document.NewHolder(s.ID, "")); standing(state, "ada", h.Revocations.Counter) != nil || again.Orders != 2 {
				t.Errorf("once more: %+v", state.Revocations.Users)
			}
			told := 0
			for _, e := range s.events {
				if e.Type == audit.ListCoarsened {
					if told++; e.Data["everybody"] != "true" || e.Data["lost"] != "1" || !strings.Contains(e.Reason, "number 1") {
						t.Errorf("%+v", e)
					}
				}
			}
			if told != events {
				t.Errorf("%d events", told)
			}
		})
	}
}

// While an order is waited for, one after it that is gone is not judged yet: it would be again in each publication.
func TestAnOrderThatIsGoneBehindOneThatIsBeingWrittenIsJudgedOnce(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	s.publish(t)
	s.revoke("eve")
	s.revoke("bob")
	s.orders, s.written[1] = s.orders[:1], -1
	if _, err := s.publisher.Publish(t.Context()); !fault.Is(err, fault.Unavailable) || s.in() != [2]int{} {
		t.Errorf("%v, %v", err, s.in())
	}
	delete(s.written, 1)
	if s.publish(t); s.in() != [2]int{2, 1} {
		t.Errorf("%v", s.in())
	}
}

// A restored counter is behind what was published, and a restored head behind its documents, or before them. Then all orders
// that there are count again.
func TestSec_S71_WhatARestoreTearsApartLosesNoOrder(t *testing.T) {
	for name, tear := range map[string]func(*site, document.Head){
		"the counter is behind": func(s *site, _ document.Head) { s.given = 1 },
		"the head is ahead":     func(s *site, _ document.Head) { s.head.Revocations.Counter++ },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.rotate(t)
			s.revoke("bob")
			s.revoke("eve")
			h := s.publish(t)
			s.lists[revoked.Users] = document.Stored{} // as if the list were of before
			s.revocations = s.stamp(t, h)
			tear(s, h)
			next := s.publish(t)
			state := s.accept(t, document.NewHolder(s.ID, ""))
			if !barred(state, h.Revocations.Counter) || barred(state, next.Revocations.Counter) || next.Orders != s.given {
				t.Errorf("%+v under %+v", state.Revocations.Users, next)
			}
		})
	}
}

// stamp signs revocations that name empty lists.
func (s *site) stamp(t *testing.T, h document.Head) document.Signed {
	t.Helper()
	doc, err := document.Seal(document.KindRevocations, document.Revocations{
		Cluster: s.ID, Version: h.Revocations, IssuedAt: s.Now, Trust: h.Trust, Policy: h.Policy,
		Users: revoked.Set{}.Sum(), Agents: revoked.Set{}.Sum(),
	}, s.Keys[names.KeyPolicy])
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
