package revoked

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
)

// Order asks that what was issued to somebody or something before it be good no more.
type Order struct {
	Seq     int64        // its number: one more than that of the order before
	Ref     identity.Ref // mapping | record | user | agent | token | everybody
	Group   identity.Ref // what may be revoked in its place when the list is full: the records of a scope, the token; zero for nothing
	Reserve bool         // it may use the last tenth of the room, which is kept for administrators of everything
	Until   time.Time    // nothing that it ends can be alive then
}

// List returns the list that the order is for.
func (o Order) List() string {
	switch o.Ref.Target {
	case identity.RefEverybody:
		return o.Ref.Value
	case "agent", "token":
		return Agents
	}
	return Users
}

// Coarse says what became of entries for which there was no room.
type Coarse struct {
	Groups    int  // whose entries were replaced by one that revokes the whole group
	Entries   int  // that were replaced
	Everybody bool // at last: one entry that revokes everybody
}

// Settle returns the list with those that are over left out and the orders of the list added, as of a version: what was
// issued before that version is good no more. It always has room. When it is full, the group with the most entries
// is revoked as a whole, and when that doesn't help, everybody.
func (s Set) Settle(list string, orders []Order, at identity.Version, now time.Time) (Set, Coarse) {
	b := builder{list: list, at: at, entries: map[Key]entry{}}
	for raw := range slices.Chunk(s.entries, Size) {
		if e := parseEntry(raw); e.until.After(now) {
			b.entries[e.key] = e
		}
	}
	for _, o := range orders {
		if o.List() == list && o.Until.After(now) {
			b.add(o)
		}
	}
	return b.set(s), b.coarse
}

type builder struct {
	list    string
	at      identity.Version
	entries map[Key]entry
	coarse  Coarse
}

func (b *builder) add(o Order) {
	key, ok := KeyOf(o.Ref)
	if !ok || b.at.Epoch > math.MaxUint16 {
		// Nothing writes such an order; whatever it asks for is within what everybody is.
		key, _ = KeyOf(identity.Everybody(b.list))
	}
	group, _ := KeyOf(o.Group)
	limit := Room
	if !o.Reserve {
		limit -= Room / 10
	}
	_, there := b.entries[key]
	for !there && len(b.entries) >= limit && !b.revoked(group) && !b.revoked(b.everybody()) {
		b.coarsen()
	}
	switch { // what is published with it may be more than it asks for
	case b.revoked(b.everybody()):
		key, group = b.everybody(), Key{}
	case b.revoked(group):
		key, group = group, Key{}
	}
	b.put(entry{key, group, b.at, o.Until})
}

// revoked reports whether the key is revoked as of the version that is being made.
func (b *builder) revoked(k Key) bool {
	e, there := b.entries[k]
	return there && e.version == b.at
}

// put adds an entry, or renews the one that is there.
func (b *builder) put(e entry) {
	if was, there := b.entries[e.key]; there && was.until.After(e.until) {
		e.until = was.until
	}
	b.entries[e.key] = e
}

func (b *builder) everybody() Key {
	k, _ := KeyOf(identity.Everybody(b.list))
	return k
}

// coarsen makes room: the largest group's entries become one, or all do.
func (b *builder) coarsen() {
	sizes := map[Key]int{}
	for _, e := range b.entries {
		if e.group != (Key{}) {
			sizes[e.group]++
		}
	}
	var largest Key
	for group, n := range sizes {
		if n > sizes[largest] || n == sizes[largest] && bytes.Compare(group[:], largest[:]) < 0 {
			largest = group
		}
	}
	if sizes[largest] < 2 { // one for one makes no room
		b.coarse.Everybody = true
		b.replace(b.everybody(), func(entry) bool { return true })
		return
	}
	b.coarse.Groups++
	b.replace(largest, func(e entry) bool { return e.group == largest })
}

// replace puts one entry in the place of others. It revokes what was issued before the newest of them, and no more.
func (b *builder) replace(key Key, others func(entry) bool) {
	one := b.entries[key]
	one.key, one.group = key, Key{}
	for k, e := range b.entries {
		if k == key || !others(e) {
			continue
		}
		if one.version.Less(e.version) {
			one.version = e.version
		}
		if e.until.After(one.until) {
			one.until = e.until
		}
		delete(b.entries, k)
		b.coarse.Entries++
	}
	b.entries[key] = one
}

// set returns what was built; was, when that is the same.
func (b *builder) set(was Set) Set {
	out := make([]byte, 0, len(b.entries)*Size)
	for _, k := range slices.SortedFunc(maps.Keys(b.entries), func(x, y Key) int { return bytes.Compare(x[:], y[:]) }) {
		out = b.entries[k].append(out)
	}
	if bytes.Equal(out, was.entries) {
		return was
	}
	return set(out)
}
