package revoked_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
)

var (
	now   = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	until = now.Add(time.Hour)
)

func v(counter uint64) identity.Version { return identity.Version{Epoch: 1, Counter: counter} }

func record(user string) identity.Ref { return identity.Record("m", user) }

func mapping(name string) identity.Ref { return identity.Ref{Target: "mapping", Value: name} }

func key(t testing.TB, r identity.Ref) revoked.Key {
	t.Helper()
	k, ok := revoked.KeyOf(r)
	if !ok {
		t.Fatalf("%+v has no key", r)
	}
	return k
}

// of settles orders for records of a mapping.
func of(s revoked.Set, at uint64, group string, users ...string) revoked.Set {
	var orders []revoked.Order
	for _, u := range users {
		orders = append(orders, revoked.Order{Ref: identity.Record(group, u), Group: mapping(group), Until: until})
	}
	s, _ = s.Settle(revoked.Users, orders, v(at), now)
	return s
}

func TestAListSaysBeforeWhichVersionEachIsRevoked(t *testing.T) {
	s := of(of(of(revoked.Set{}, 3, "m", "eve", "bob"), 4, "m", "mallory"), 5, "m", "eve")
	for who, want := range map[string]identity.Version{"eve": v(5), "bob": v(3), "mallory": v(4), "ada": {}} {
		if got := s.Before(key(t, record(who))); got != want {
			t.Errorf("%s: before %v", who, got)
		}
	}
	if s.Len() != 3 || len(s.Bytes()) != 3*revoked.Size {
		t.Errorf("%d entries of %d bytes: a newer one takes the older one's place", s.Len(), len(s.Bytes()))
	}
	if got := s.Before(revoked.Key{}); got != (identity.Version{}) {
		t.Errorf("nobody: before %v", got)
	}
}

func TestKeysAreApart(t *testing.T) {
	seen := map[revoked.Key]string{}
	for _, r := range []identity.Ref{
		record("eve"), identity.Record("n", "eve"), identity.Record("m", "bob"), mapping("m"), mapping("m/eve"),
		{Target: "user", Value: "m/eve"},
		{Target: "agent", Value: "m"},
		{Target: "token", Value: "m"},
		identity.Everybody(identity.Users), identity.Everybody(identity.Agents),
		{Target: "record"},
	} {
		k := key(t, r)
		if other, taken := seen[k]; taken {
			t.Errorf("%+v and %s", r, other)
		}
		seen[k] = fmt.Sprint(r)
	}
	for _, target := range []string{"", "login", "role", "session", "target", "planet"} {
		if _, ok := revoked.KeyOf(identity.Ref{Target: target, Value: "m"}); ok {
			t.Errorf("%q can be revoked", target)
		}
	}
}

func TestWhatIsOverLeavesTheList(t *testing.T) {
	s := of(revoked.Set{}, 3, "m", "eve")
	if got, _ := s.Settle(revoked.Users, nil, v(4), until.Add(-time.Second)); !got.Is(s.Sum()) {
		t.Error("too early")
	}
	if got, _ := s.Settle(revoked.Users, nil, v(4), until); got.Len() != 0 {
		t.Error("it stays")
	}
	late := revoked.Order{Ref: record("bob"), Until: now}
	if got, _ := s.Settle(revoked.Users, []revoked.Order{late}, v(4), now); !got.Is(s.Sum()) {
		t.Error("an order that is over is taken in")
	}
	// A renewed entry stays as long as the longer of the two.
	short := revoked.Order{Ref: record("eve"), Until: now.Add(time.Minute)}
	got, _ := s.Settle(revoked.Users, []revoked.Order{short}, v(4), now)
	if got, _ = got.Settle(revoked.Users, nil, v(5), until.Add(-time.Second)); got.Before(key(t, record("eve"))) != v(4) {
		t.Errorf("%d entries", got.Len())
	}
}

func TestEachListTakesItsOwn(t *testing.T) {
	orders := []revoked.Order{{Ref: record("eve"), Until: until}, {Ref: mapping("m"), Until: until}, {Ref: identity.Ref{Target: "agent", Value: "a"}, Until: until}, {Ref: identity.Ref{Target: "token", Value: "t"}, Until: until}}
	for _, list := range []string{revoked.Users, revoked.Agents} {
		if s, _ := (revoked.Set{}).Settle(list, orders, v(1), now); s.Len() != 2 {
			t.Errorf("%s: %d entries", list, s.Len())
		}
	}
}

// What can't be keyed must not be let go: everybody is revoked.
func TestAnOrderForSomethingUnknownRevokesEverybody(t *testing.T) {
	s, _ := revoked.Set{}.Settle(revoked.Users, []revoked.Order{{Ref: identity.Ref{Target: "planet", Value: "mars"}, Until: until}}, v(7), now)
	if got := s.Before(key(t, identity.Everybody(revoked.Users))); got != v(7) {
		t.Errorf("before %v", got)
	}
}

// fill makes orders for n users of a group.
func fill(n int, group string, reserve bool) []revoked.Order {
	orders := make([]revoked.Order, n)
	for i := range orders {
		orders[i] = revoked.Order{Ref: identity.Record(group, fmt.Sprint(i)), Group: mapping(group), Reserve: reserve, Until: until}
	}
	return orders
}

func TestSec_S59_AFullListRevokesTheLargestGroupAsAWhole(t *testing.T) {
	const free = revoked.Room - revoked.Room/10
	s, c := revoked.Set{}.Settle(revoked.Users, append(fill(free-100, "flooded", false), fill(100, "honest", false)...), v(3), now)
	if s.Len() != free || c != (revoked.Coarse{}) {
		t.Fatalf("%d entries, %+v", s.Len(), c)
	}
	s, c = s.Settle(revoked.Users, []revoked.Order{{Ref: identity.Record("honest", "eve"), Group: mapping("honest"), Until: until}}, v(4), now)
	if c != (revoked.Coarse{Groups: 1, Entries: free - 100}) || s.Len() != 102 {
		t.Errorf("%+v, %d entries", c, s.Len())
	}
	for r, want := range map[identity.Ref]identity.Version{
		mapping("flooded"): v(3), mapping("honest"): {}, identity.Record("honest", "eve"): v(4), identity.Record("honest", "0"): v(3), identity.Everybody(revoked.Users): {},
	} {
		if got := s.Before(key(t, r)); got != want {
			t.Errorf("%+v: before %v, want %v", r, got, want)
		}
	}
}

// Who was revoked last in the group stays so.
func TestSec_S59_ACoarseEntryRevokesAsMuchAsTheNewestThatItReplaces(t *testing.T) {
	const free = revoked.Room - revoked.Room/10
	s, _ := revoked.Set{}.Settle(revoked.Users, fill(free-1, "flooded", false), v(3), now)
	s = of(s, 5, "flooded", "eve")
	if s = of(s, 9, "honest", "bob"); s.Before(key(t, mapping("flooded"))) != v(5) || s.Len() != 2 {
		t.Errorf("before %v, %d entries", s.Before(key(t, mapping("flooded"))), s.Len())
	}
}

func TestSec_S59_ATenthOfTheRoomIsKeptForAdministratorsOfEverything(t *testing.T) {
	const free = revoked.Room - revoked.Room/10
	s, _ := revoked.Set{}.Settle(revoked.Users, fill(free, "flooded", false), v(3), now)
	s, c := s.Settle(revoked.Users, fill(revoked.Room/10, "company", true), v(4), now)
	if s.Len() != revoked.Room || c != (revoked.Coarse{}) {
		t.Errorf("%d entries, %+v", s.Len(), c)
	}
	if s, c = s.Settle(revoked.Users, fill(1, "more", true), v(5), now); c.Groups != 1 || s.Before(key(t, mapping("flooded"))) != v(3) || s.Before(key(t, identity.Record("company", "0"))) != v(4) {
		t.Errorf("%+v", c)
	}
}

// Many groups of one are no group: then everybody has to log in again, and there is room again.
func TestSec_S59_AtLastEverybodyIsRevoked(t *testing.T) {
	var orders []revoked.Order
	for i := range revoked.Room {
		orders = append(orders, revoked.Order{Ref: mapping(fmt.Sprint(i)), Until: until})
	}
	s, c := revoked.Set{}.Settle(revoked.Users, orders, v(3), now)
	if !c.Everybody || s.Before(key(t, identity.Everybody(revoked.Users))) != v(3) || s.Len() != 1 {
		t.Errorf("%+v, %d entries: what comes with it is within it", c, s.Len())
	}
	if s = of(s, 4, "m", "eve"); s.Len() != 2 || s.Before(key(t, record("eve"))) != v(4) {
		t.Errorf("%d entries", s.Len())
	}
}

func TestSec_S59_BytesThatAreNoListAreRefused(t *testing.T) {
	s := of(revoked.Set{}, 3, "m", "eve", "bob")
	good := s.Bytes()
	swapped := append(bytes.Clone(good[revoked.Size:]), good[:revoked.Size]...)
	twice := append(bytes.Clone(good[:revoked.Size]), good[:revoked.Size]...)
	gone := revoked.Diff(s, revoked.Set{})
	for name, b := range map[string][]byte{"cut": good[:len(good)-1], "out of order": swapped, "twice the same": twice, "too long": make([]byte, revoked.MaxBytes+revoked.Size)} {
		if _, err := revoked.Parse(b); !errors.Is(err, revoked.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.Apply(b); !errors.Is(err, revoked.ErrMalformed) {
			t.Errorf("%s, as a change: %v", name, err)
		}
	}
	if _, err := revoked.Parse(gone); !errors.Is(err, revoked.ErrMalformed) {
		t.Errorf("a change as a list: %v", err)
	}
	if after, err := s.Apply(gone); err != nil || after.Len() != 0 {
		t.Errorf("a change: %v", err)
	}
}

// lists draws a history of a list.
func lists(t *rapid.T) []revoked.Set {
	all := []revoked.Set{{}}
	at := now
	for i := range rapid.IntRange(1, 12).Draw(t, "steps") {
		var orders []revoked.Order
		for range rapid.IntRange(0, 5).Draw(t, "orders") {
			orders = append(orders, revoked.Order{Ref: record(fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "user"))), Until: at.Add(time.Duration(rapid.IntRange(1, 4).Draw(t, "life")) * time.Minute)})
		}
		s, _ := all[len(all)-1].Settle(revoked.Users, orders, v(uint64(i+1)), at)
		all, at = append(all, s), at.Add(time.Minute)
	}
	return all
}

// A change leads from any list between its ends to its end, so that whoever was told of a part of it by somebody else
// gets there as well.
func TestChangesLeadFromAnyListBetween(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := lists(t)
		from := rapid.IntRange(0, len(all)-1).Draw(t, "from")
		var change []byte
		for i := from + 1; i < len(all); i++ {
			change = revoked.Compose(change, revoked.Diff(all[i-1], all[i]))
		}
		last := all[len(all)-1]
		for i := from; i < len(all); i++ {
			got, err := all[i].Apply(change)
			if err != nil || !got.Is(last.Sum()) {
				t.Fatalf("from %d, applied at %d of %d: %v", from, i, len(all)-1, err)
			}
		}
		if again, err := revoked.Parse(last.Bytes()); err != nil || !again.Is(last.Sum()) {
			t.Fatal(err)
		}
	})
}

func TestATrailGivesTheChangeWhileItRemembersIt(t *testing.T) {
	var trail revoked.Trail
	if _, known := trail.Since(v(1), v(1)); known {
		t.Error("an empty trail knows something")
	}
	s := of(revoked.Set{}, 2, "m", "eve")
	trail.Note(v(2), s)
	held := s
	for i := uint64(3); i < 6; i++ {
		s = of(s, i, "m", fmt.Sprint(i))
		trail.Note(v(i), s)
	}
	trail.Note(v(6), s) // a stamp alone
	trail.Note(v(4), held)
	for from, entries := range map[uint64]int{2: 3, 3: 2, 5: 0, 6: 0} {
		r, known := trail.Since(v(from), v(6))
		if !known || r.Whole || len(r.Entries) != entries*revoked.Size {
			t.Errorf("since %d: %d bytes, %t", from, len(r.Entries), known)
		}
		if from == 2 {
			if got, err := r.Of(held); err != nil || !got.Is(s.Sum()) {
				t.Errorf("it doesn't lead there: %v", err)
			}
		}
	}
	for _, c := range [][2]uint64{{1, 6}, {2, 5}, {2, 7}} {
		if _, known := trail.Since(v(c[0]), v(c[1])); known {
			t.Errorf("from %d to %d", c[0], c[1])
		}
	}
	// A flood makes it forget, and not grow.
	for i := range uint64(4) {
		s, _ = s.Settle(revoked.Users, fill(4000, fmt.Sprint(i), true), v(7+i), now)
		trail.Note(v(7+i), s)
	}
	if _, known := trail.Since(v(6), v(10)); known {
		t.Error("it remembers a flood")
	}
	if r, known := trail.Since(v(8), v(10)); !known || len(r.Entries) != 8000*revoked.Size {
		t.Errorf("%t, %d bytes", known, len(r.Entries))
	}
}

func BenchmarkAnAgentTakesAChange(b *testing.B) {
	for _, n := range []int{1_000, 10_000, revoked.Room - 1} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, _ := revoked.Set{}.Settle(revoked.Users, fill(n, "m", true), v(3), now)
			change := revoked.Diff(s, of(s, 4, "n", "eve"))
			for b.Loop() {
				if _, err := s.Apply(change); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(change)), "sent_bytes/op")
			b.ReportMetric(float64(len(s.Bytes()))/1024, "held_KiB")
		})
	}
}

func BenchmarkAPublicationSettlesAnOrder(b *testing.B) {
	for _, n := range []int{1_000, 10_000, revoked.Room - 1} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, _ := revoked.Set{}.Settle(revoked.Users, fill(n, "m", true), v(3), now)
			o := []revoked.Order{{Ref: record("eve"), Reserve: true, Until: until}}
			for b.Loop() {
				_, _ = s.Settle(revoked.Users, o, v(4), now)
			}
		})
	}
}

// Whoever was in a list, alone or by a group, is revoked with everybody, also when there is no room, and nobody after that.
func TestEverybodyIsEverybodyOfBothLists(t *testing.T) {
	both := revoked.Everybody(now)
	for _, list := range []string{revoked.Users, revoked.Agents} {
		full, _ := revoked.Set{}.Settle(list, fill(revoked.Room, "m", true), v(3), now)
		for _, was := range []revoked.Set{{}, full} {
			s, _ := was.Settle(list, both, v(9), now)
			k, _ := revoked.KeyOf(identity.Everybody(list))
			if got := s.Before(k); got != v(9) || s.Len() > revoked.Room {
				t.Errorf("%s after %d entries: %+v of %d", list, was.Len(), got, s.Len())
			}
			if over, _ := s.Settle(list, nil, v(10), now.Add(revoked.Life(list))); over.Len() != 0 {
				t.Errorf("%s: %d entries stay", list, over.Len())
			}
		}
	}
	if len(both) != 2 || both[0].List() != revoked.Users || both[1].List() != revoked.Agents {
		t.Errorf("%+v", both)
	}
}

// What can have left the table since it is over isn't lost. A user's order leaves first.
func TestAnOrderThatIsOverIsNotLost(t *testing.T) {
	for since, lost := range map[time.Duration]bool{0: true, 13*time.Hour - 1: true, 13 * time.Hour: false, 26 * time.Hour: false} {
		if got := revoked.Lost(now.Add(-since), now); got != lost {
			t.Errorf("published %s ago: %v", since, got)
		}
	}
	if !revoked.Lost(time.Time{}, now) {
		t.Error("nobody knows when it was published")
	}
}
