package publication_test

import (
	"context"
	"slices"
	"testing"
)

// Whatever becomes of a run, what it asked KMS for is claimed: what nobody claims looks as if somebody else had signed.
func TestWhateverIsSignedIsClaimed(t *testing.T) {
	s := newSite(t)
	claimed := func(step string) {
		t.Helper()
		if len(s.asked) == 0 || !slices.Equal(s.asked, s.claimed) {
			t.Errorf("%s: signed by %q, claimed %q", step, s.asked, s.claimed)
		}
	}
	s.rotate(t)
	claimed("rotate")
	s.change(role("dev"))
	s.publish(t)
	claimed("policy and revocations")
	s.publish(t)
	claimed("revocations alone")
	s.meanwhile = func() { s.change(role("ops")) }
	s.publish(t)
	claimed("twice, since an input changed meanwhile")
	for _, call := range []string{"PutPolicy", "Advance"} {
		s.change(role(call))
		s.fail = call
		if _, err := s.publisher.Publish(t.Context()); err == nil {
			t.Errorf("published though %s failed", call)
		}
		claimed(call)
	}
	s.deploy(2)
	s.fail = "PutTrust"
	if _, err := s.rotator.Rotate(t.Context()); err == nil {
		t.Error("rotated though PutTrust failed")
	}
	claimed("PutTrust")
	s.fail = "Claim"
	if _, err := s.publisher.Publish(t.Context()); err == nil {
		t.Error("nobody hears that a claim wasn't written")
	}
}

// The end of a call's time comes after a signature as well.
func TestWhatIsSignedAtTheEndOfTheTimeIsClaimed(t *testing.T) {
	s := newSite(t)
	s.rotate(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.meanwhile = cancel
	s.change(role("dev"))
	if _, err := s.publisher.Publish(ctx); err != nil { // the place takes no notice
		t.Error(err)
	}
	if !slices.Equal(s.asked, s.claimed) || len(s.asked) < 3 {
		t.Errorf("signed by %q, claimed %q", s.asked, s.claimed)
	}
}
