package publication_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/pkg/app/clustertest"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
)

// backup is what is in the table at one time. The bucket isn't restored with it.
func (s *site) backup() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	head, revocations, input, given := s.head, s.revocations, s.input, s.given
	roles, orders, lists := slices.Clone(s.roles), slices.Clone(s.orders), maps.Clone(s.lists)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.head, s.revocations, s.input, s.given, s.roles, s.orders, s.lists = head, revocations, input, given, roles, orders, lists
		s.head.CopyOf = "stile-state-1"
	}
}

// past is a cluster whose agent went on after a backup, with a key that has been replaced since, and the table as it was then.
func past(t *testing.T) (*site, *document.Holder) {
	t.Helper()
	s := newSite(t)
	s.rotate(t)
	s.change(role("dev"))
	s.publish(t)
	restore := s.backup()
	agent := document.NewHolder(s.ID, document.KeyID(s.Keys[names.KeyRoot].Public()))
	s.Keys[names.KeyHostSSH] = clustertest.Key(t)
	s.rotate(t)
	for range 5 {
		s.change(role("later"))
		s.publish(t)
	}
	s.accept(t, agent)
	restore()
	return s, agent
}

func TestSec_S89_ARestoredTableIsNotPublishedFromBeforeAnEpochBegins(t *testing.T) {
	s, _ := past(t)
	before := s.head
	_, rotated := s.rotator.Rotate(t.Context())
	_, published := s.publisher.Publish(t.Context())
	for what, err := range map[string]error{"rotate": rotated, "publish": published} {
		f := fault.From(err)
		if f == nil || f.Code != fault.Conflict || !strings.Contains(f.Hint, "stile:epoch=2") || !strings.Contains(f.Message, "copy of stile-state-1") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if s.head != before {
		t.Errorf("the head moved from %+v to %+v", before, s.head)
	}
}

func TestSec_S89_ANewEpochsDocumentsReplaceThoseOfALaterTimeAndRevokeEveryUser(t *testing.T) {
	s, agent := past(t)
	held := agent.Versions()
	s.deploy(2)
	began := s.rotate(t)
	if began.Trust != (identity.Version{Epoch: 2, Counter: 1}) || began.Revocations.Epoch != 1 {
		t.Errorf("the head of the beginning is %+v", began)
	}
	h := s.publish(t)
	for _, v := range []identity.Version{h.Trust, h.Policy, h.Revocations} {
		if v.Epoch != 2 {
			t.Errorf("the head has version %v", v)
		}
	}
	state := s.accept(t, agent)
	if got := state.Policy.Roles; !slices.ContainsFunc(got, func(r resource.Role) bool { return r.Metadata.Name == "dev" }) {
		t.Errorf("the agent has the roles %v", got)
	}
	use := document.Use{Now: s.Now}
	for what, issued := range map[string]identity.Versions{"before the restore": held, "while it was deployed": began.Versions()} {
		if err := state.Standing(identity.User{Name: "ada", Versions: issued}, use); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("who logged in %s: %v", what, err)
		}
		if err := state.Standing(identity.Host{ID: "agt_1", Versions: issued}, use); err != nil {
			t.Errorf("an agent that joined %s: %v", what, err)
		}
	}
	if err := state.Standing(identity.User{Name: "ada", Versions: h.Versions()}, use); err != nil {
		t.Errorf("who logs in again: %v", err)
	}
	if e := s.events[len(s.events)-2]; e.Type != audit.ListCoarsened || e.Data["epoch"] != "2" || e.Data["list"] != revoked.Users {
		t.Errorf("what is recorded is %+v", e)
	}
	again := s.publish(t)
	if err := s.accept(t, agent).Standing(identity.User{Name: "ada", Versions: h.Versions()}, use); err != nil || again.Policy != h.Policy {
		t.Errorf("the publication after: %+v, %v", again, err)
	}
	if same := s.rotate(t); same.Trust != began.Trust {
		t.Errorf("the next deployment made %v", same.Trust)
	}
}

// Each restore needs a later epoch: whoever has seen an epoch holds documents of it.
func TestSec_S89_AnEpochIsBegunOnce(t *testing.T) {
	s, _ := past(t)
	restore := s.backup()
	s.deploy(2)
	s.rotate(t)
	s.publish(t)
	restore()
	before := s.head
	if _, err := s.rotator.Rotate(t.Context()); !fault.Is(err, fault.Conflict) || !strings.Contains(fault.From(err).Hint, "stile:epoch=3") {
		t.Errorf("begun again: %v", err)
	}
	if s.head != before {
		t.Errorf("the head moved to %+v", s.head)
	}
	s.deploy(3)
	if h := s.rotate(t); h.Trust != (identity.Version{Epoch: 3, Counter: 1}) {
		t.Errorf("the third epoch's is %v", h.Trust)
	}
}

func TestSec_S89_EpochsOnlyGoUpward(t *testing.T) {
	s, _ := past(t)
	s.deploy(3)
	s.rotate(t)
	s.publish(t)
	s.deploy(2)
	if _, err := s.rotator.Rotate(t.Context()); !fault.Is(err, fault.Conflict) || !strings.Contains(fault.From(err).Hint, "stile:epoch=3") {
		t.Errorf("got %v", err)
	}
}

// A policy that can't be made in the new epoch's first publication leaves the one of the backup, and revokes all the same.
func TestEveryUserIsRevokedInANewEpochThoughThePolicyCannotBeMade(t *testing.T) {
	s, _ := past(t)
	s.deploy(2)
	s.rotate(t)
	s.fail = "PutPolicy"
	h, err := s.publisher.Publish(t.Context())
	if err == nil || h.Policy.Epoch != 1 || h.Revocations.Epoch != 2 {
		t.Errorf("the head is %+v: %v", h, err)
	}
	if got := s.lists[revoked.Users].Set.Len(); got != 1 {
		t.Errorf("%d entries", got)
	}
	first := s.lists[revoked.Users].Set.Sum()
	if h = s.publish(t); h.Policy.Epoch != 2 || !s.lists[revoked.Users].Set.Is(first) {
		t.Errorf("the next publication: %+v, and those who logged in meanwhile are revoked", h)
	}
}

// What an epoch revoked is in no order. A policy key that is replaced meanwhile takes nothing of it back.
func TestSec_S96_AReplacedPolicyKeyTakesNoRevocationBack(t *testing.T) {
	s, agent := past(t)
	held := agent.Versions()
	s.deploy(2)
	s.rotate(t)
	s.publish(t)
	s.revoke("eve")
	h := s.publish(t)
	s.orders = nil // a list keeps what it has taken in
	s.Keys[names.KeyPolicy] = clustertest.Key(t)
	s.rotate(t)
	s.publish(t)
	state := s.accept(t, document.NewHolder(s.ID, ""))
	use := document.Use{Now: s.Now}
	if err := state.Standing(identity.User{Name: "ada", Versions: held}, use); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("who logged in before the restore: %v", err)
	}
	before := h.Versions()
	before.Revocations.Counter--
	if err := state.Standing(identity.User{Name: "eve", Mapping: "m", Record: "/", Versions: before}, use); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("who was revoked in the new epoch: %v", err)
	}
	if err := state.Standing(identity.User{Name: "ada", Versions: h.Versions()}, use); err != nil {
		t.Errorf("who logged in since: %v", err)
	}
}

// Somebody who could use the key may have left out a revocation: the orders say it again.
func TestSec_S96_WhatAReplacedPolicyKeyLeftOutIsRevoked(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	was := s.publish(t)
	s.revoke("eve")
	h := s.publish(t)
	clear(s.lists)
	forged := document.Revocations{Cluster: s.ID, Version: h.Revocations, IssuedAt: s.Now, Trust: h.Trust, Policy: h.Policy}
	var err error
	if s.revocations, err = document.Seal(document.KindRevocations, forged, s.Keys[names.KeyPolicy]); err != nil {
		t.Fatal(err)
	}
	s.publish(t)
	if barred(s.accept(t, document.NewHolder(s.ID, "")), was.Revocations.Counter) {
		t.Fatal("the forgery didn't let eve in, which this test is about")
	}
	s.Keys[names.KeyPolicy] = clustertest.Key(t)
	s.rotate(t)
	s.publish(t)
	if !barred(s.accept(t, document.NewHolder(s.ID, "")), was.Revocations.Counter) {
		t.Error("eve is in")
	}
}

// A list that is lost in a new epoch may have said that everybody is revoked, as no order does.
func TestSec_S96_AListThatIsLostAfterARestoreLosesNoRevocation(t *testing.T) {
	s, agent := past(t)
	held := agent.Versions()
	s.deploy(2)
	s.rotate(t)
	s.Keys[names.KeyUserSSH] = clustertest.Key(t) // another document of the epoch
	s.rotate(t)
	s.publish(t)
	began := s.Now
	in := func(logged identity.Versions) bool {
		t.Helper()
		clear(s.lists)
		s.publish(t)
		return s.accept(t, document.NewHolder(s.ID, "")).Standing(identity.User{Name: "ada", Versions: logged}, document.Use{Now: s.Now}) == nil
	}
	if in(held) {
		t.Error("who logged in before the restore is in")
	}
	since := s.head.Versions()
	s.Now = began.Add(revoked.Life(revoked.Users))
	s.publish(t)
	if !in(since) {
		t.Error("whoever logs in is thrown out for ever")
	}
}
