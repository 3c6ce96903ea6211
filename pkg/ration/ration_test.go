package ration_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/ration"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func take(t *testing.T, r *ration.Ration[string], party string, at time.Time, refused int, ok bool) {
	t.Helper()
	if gotRefused, gotOK := r.Take(party, at); gotRefused != refused || gotOK != ok {
		t.Errorf("%s at %s: %d, %v; want %d, %v", party, at.Sub(now), gotRefused, gotOK, refused, ok)
	}
}

func TestEachPartyHasItsOwnAndIsToldHowOftenThereWasNone(t *testing.T) {
	r := ration.New[string](time.Minute, 2, 10)
	take(t, r, "a", now, 0, true)
	take(t, r, "a", now, 0, true)
	take(t, r, "a", now, 0, false)
	take(t, r, "a", now, 0, false)
	take(t, r, "b", now, 0, true)
	take(t, r, "a", now.Add(time.Minute), 2, true)
	take(t, r, "a", now.Add(time.Minute), 0, false)
	take(t, r, "a", now.Add(2*time.Minute), 1, true)
	take(t, r, "a", now.Add(time.Hour), 0, true)
}

func TestThoseWithoutAPlaceShareOneUntilSomebodyIsForgotten(t *testing.T) {
	r := ration.New[string](time.Minute, 1, 2)
	take(t, r, "a", now, 0, true)
	take(t, r, "a", now, 0, false)
	take(t, r, "b", now, 0, true)
	take(t, r, "c", now, 0, true)
	take(t, r, "d", now, 0, false)
	take(t, r, "c", now, 0, false)
	take(t, r, "b", now.Add(30*time.Second), 0, false)
	// A minute later b has just used what it had, so c and d still share one; a is forgotten with what it was refused,
	// and c takes its place.
	take(t, r, "b", now.Add(time.Minute), 1, true)
	take(t, r, "c", now.Add(time.Minute), 0, true)
	take(t, r, "d", now.Add(time.Minute), 3, true)
	take(t, r, "c", now.Add(time.Minute), 0, false)
}

func TestANetworkOfIPv6IsOneParty(t *testing.T) {
	for a, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::", "2001:db8:0:0:ffff::2": "2001:db8::",
		"2001:db8:0:1::1": "2001:db8:0:1::", "fe80::1%eth0": "fe80::",
	} {
		if got := ration.Network(netip.MustParseAddr(a)); got.String() != want {
			t.Errorf("%s belongs to %s", a, got)
		}
	}
	if got := ration.Network(netip.Addr{}); got.IsValid() {
		t.Errorf("no address belongs to %s", got)
	}
}
