package publication_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// revoke is what functions/admin does with a deletion; the entry is kept for a day.
func (p *place) revoke(id, target, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	until := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	p.revoked = append(p.revoked, document.Lock{ID: id, Target: target, Value: value, Expires: &until})
	p.input++
}

// revoked reports whether a certificate of eve's is refused that was issued under a policy.
func revoked(state document.State, counter uint64) bool {
	eve := identity.User{Name: "eve", Versions: identity.Versions{Policy: identity.Version{Epoch: 1, Counter: counter}}}
	return fault.Is(state.Standing(eve, document.Use{Now: state.ClockFloor()}), fault.Unauthenticated)
}

func TestARevocationEndsWhatWasIssuedBeforeAndNothingAfter(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	was := s.publish(t)
	s.revoke("lck_1", "user", "eve")
	h := s.publish(t)
	agent := document.NewHolder(s.ID, "")
	if state := s.accept(t, agent); !revoked(state, was.Policy.Counter) || revoked(state, h.Policy.Counter) {
		t.Errorf("entries %+v after %+v and %+v", state.Revocations.Before, was, h)
	}
	want := []document.Before{{ID: "lck_1", Target: "user", Value: "eve", Version: h.Policy}}
	s.change(role("dev"))
	s.publish(t)
	if d := cmp.Diff(want, s.accept(t, agent).Revocations.Before); d != "" {
		t.Error("a version that was given is kept:", d)
	}
	s.revoke("lck_2", "user", "eve") // she was let in again, and is deleted again
	later := s.publish(t)
	want = append(want, document.Before{ID: "lck_2", Target: "user", Value: "eve", Version: later.Policy})
	state := s.accept(t, agent)
	if d := cmp.Diff(want, state.Revocations.Before); d != "" {
		t.Error(d)
	}
	if !revoked(state, h.Policy.Counter) || revoked(state, later.Policy.Counter) {
		t.Errorf("entries %+v", state.Revocations.Before)
	}
}

// The input counter goes up with each entry; should it not, the policy goes up all the same.
func TestANewEntryCountsThePolicyUpWithoutAnotherChange(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	was := s.publish(t)
	s.revoke("lck_1", "user", "eve")
	s.input--
	h := s.publish(t)
	if !was.Policy.Less(h.Policy) || !revoked(s.accept(t, document.NewHolder(s.ID, "")), was.Policy.Counter) {
		t.Errorf("%+v after %+v", h, was)
	}
	if again := s.publish(t); again.Policy != h.Policy {
		t.Errorf("%+v after %+v: an entry that has its version is no change", again, h)
	}
}

func TestAnEntryWrittenWhileItSignsIsTakenIn(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	was := s.publish(t)
	s.change(role("dev"))
	s.meanwhile = func() { s.revoke("lck_1", "user", "eve") }
	s.publish(t)
	if state := s.accept(t, document.NewHolder(s.ID, "")); !revoked(state, was.Policy.Counter) || len(s.heads) != 2 {
		t.Errorf("%d heads, entries %+v", len(s.heads), state.Revocations.Before)
	}
}

func TestLocksAndEntriesLastUntilTheyExpire(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	until := s.Now.Add(time.Hour)
	s.locks = []document.Lock{{ID: "lck_1", Target: "role", Value: "dba", Reason: "audit", Expires: &until}, {ID: "lck_2", Target: "user", Value: "eve"}}
	s.revoke("lck_3", "user", "eve")
	h := s.publish(t)
	agent := document.NewHolder(s.ID, "")
	got := s.accept(t, agent).Revocations
	if d := cmp.Diff(s.locks, got.Locks); d != "" || len(got.Before) != 1 {
		t.Error(d, got.Before)
	}
	s.Now = until
	s.publish(t)
	got = s.accept(t, agent).Revocations
	if d := cmp.Diff(s.locks[1:], got.Locks); d != "" || len(got.Before) != 1 {
		t.Error(d, got.Before)
	}
	s.Now = *s.revoked[0].Expires
	last := s.publish(t)
	if got = s.accept(t, agent).Revocations; len(got.Before) != 0 || last.Policy != h.Policy {
		t.Errorf("%+v under %+v", got.Before, last)
	}
}

// What can't be verified may have been anything: all get the new version, which revokes more, never less.
func TestRevocationsThatCannotBeVerifiedLoseNoEntry(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	s.publish(t)
	s.revoke("lck_1", "user", "eve")
	h := s.publish(t)
	forged, err := document.Seal(document.KindRevocations, document.Revocations{
		Cluster: s.ID, Version: h.Revocations, IssuedAt: s.Now, Before: []document.Before{{ID: "lck_1", Target: "user", Value: "eve"}},
	}, clustertest.Key(t))
	if err != nil {
		t.Fatal(err)
	}
	s.revocations = forged
	next := s.publish(t)
	if state := s.accept(t, document.NewHolder(s.ID, "")); !revoked(state, h.Policy.Counter) || revoked(state, next.Policy.Counter) {
		t.Errorf("entries %+v", state.Revocations.Before)
	}
}

func TestPublicationsAtOnceGiveEachEntryOneVersion(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	s.publish(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s.revoke(fmt.Sprintf("lck_%d", i), "user", "eve")
			if _, err := s.publisher.Publish(t.Context()); err != nil && fault.From(err).Code != fault.Unavailable {
				t.Errorf("run %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	s.publish(t)
	first := s.accept(t, document.NewHolder(s.ID, "")).Revocations.Before
	s.publish(t)
	if d := cmp.Diff(first, s.accept(t, document.NewHolder(s.ID, "")).Revocations.Before); d != "" || len(first) != 8 {
		t.Errorf("%d entries: %s", len(first), d)
	}
	for _, b := range first {
		if b.Version.Counter < 2 || s.head.Policy.Less(b.Version) {
			t.Errorf("%+v under policy %+v", b, s.head.Policy)
		}
	}
}

func TestMoreThanTheDocumentHoldsIsRefusedAndLeavesNothing(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	h := s.publish(t)
	for i := range 700 {
		s.revoke(fmt.Sprintf("lck_%026d", i), "agent", fmt.Sprintf("agt_%026d", i))
	}
	_, err := s.publisher.Publish(t.Context())
	f := fault.From(err)
	if f.Code != fault.TooLarge || f.Hint == "" || !errors.Is(err, document.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if s.head != h || len(s.objects) != 1 {
		t.Errorf("head %+v, %d policies", s.head, len(s.objects))
	}
	s.revoked = s.revoked[:300]
	s.publish(t)
	if got := s.accept(t, document.NewHolder(s.ID, "")).Revocations.Before; len(got) != 300 {
		t.Errorf("%d entries", len(got))
	}
	if s.head.PolicySHA256 == h.PolicySHA256 {
		t.Error("the policy did not move")
	}
}
