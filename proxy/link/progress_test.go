package link_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/proxy/link"
)

// lacking returns what of the newest documents isn't held: what a batch holds.
func lacking(held, newest identity.Versions) (sent identity.Versions) {
	if held.Trust.Less(newest.Trust) {
		sent.Trust = newest.Trust
	}
	if held.Policy.Less(newest.Policy) {
		sent.Policy = newest.Policy
	}
	if held.Revocations.Less(newest.Revocations) {
		sent.Revocations = newest.Revocations
	}
	return sent
}

func versionsOf(trust, policy, revocations uint64) identity.Versions {
	return identity.Versions{
		Trust: identity.Version{Counter: trust}, Policy: identity.Version{Counter: policy}, Revocations: identity.Version{Counter: revocations},
	}
}

// TestSec_S60_WhateverAnAgentSaysItHoldsLeadsToFewBatches: forwards, backwards, alternating or beyond what there is.
func TestSec_S60_WhateverAnAgentSaysItHoldsLeadsToFewBatches(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var p link.Progress
		version := rapid.Uint64Range(0, 120)
		for publication := range uint64(4) {
			newest, batches := versionsOf(100+publication, 100+publication, 100+publication), 0
			for more := true; more; {
				sent := lacking(p.Held(), newest)
				if sent == (identity.Versions{}) {
					break
				}
				if batches++; batches > 4 {
					r.Fatalf("%d batches for a publication", batches)
				}
				batch, before := p.Begin(sent, newest), p.Held()
				claimed := versionsOf(version.Draw(r, "trust"), version.Draw(r, "policy"), version.Draw(r, "revocations"))
				more = p.Acknowledge(batch, claimed, newest)
				held := p.Held()
				if held.Trust.Less(before.Trust) || held.Policy.Less(before.Policy) || held.Revocations.Less(before.Revocations) {
					r.Fatalf("it went back from %v to %v", before, held)
				}
				if p.Acknowledge(batch, versionsOf(0, 0, 0), newest) || p.Acknowledge(batch-1, newest, newest) {
					r.Fatal("a second acknowledgement, or one of an earlier batch, leads to another")
				}
			}
		}
	})
}

func TestAnAgentThatTookSomethingIsSentTheRest(t *testing.T) {
	newest := versionsOf(5, 5, 5)
	for name, c := range map[string]struct {
		claimed, newest identity.Versions
		more            bool
	}{
		"nothing":                 {versionsOf(1, 1, 1), newest, false},
		"the revocations alone":   {versionsOf(1, 1, 5), newest, true},
		"the trust alone":         {versionsOf(5, 1, 1), newest, true},
		"the policy alone":        {versionsOf(1, 5, 1), newest, true},
		"more, of another proxy":  {versionsOf(9, 9, 9), newest, true},
		"nothing, and newer came": {versionsOf(1, 1, 1), versionsOf(6, 5, 5), true},
	} {
		var p link.Progress
		p.Acknowledge(p.Begin(newest, newest), versionsOf(1, 1, 1), newest) // so that it isn't sent all once more for the list's sake
		batch := p.Begin(newest, newest)
		if got := p.Acknowledge(batch, c.claimed, c.newest); got != c.more {
			t.Errorf("%s: %v", name, got)
		}
	}
	var p link.Progress // a change of the list was not enough: the whole, once
	for i, want := range []bool{true, false} {
		if got := p.Acknowledge(p.Begin(newest, newest), versionsOf(4, 4, 4), newest); got != want {
			t.Errorf("after refusal %d: %v", i+1, got)
		}
	}
}
