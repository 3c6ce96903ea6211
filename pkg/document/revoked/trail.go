package revoked

import (
	"sync"

	"github.com/stile-dev/stile/pkg/identity"
)

// How many entries a trail keeps, and in how many changes, which are put together for whoever asks.
const (
	trailEntries = 1 << 13
	trailSteps   = 128
)

// Trail remembers how a list changed lately, so that those who hold an earlier one are sent the change alone. Its zero
// value is ready, and it may be used by several goroutines.
type Trail struct {
	mu    sync.Mutex
	from  identity.Version // where the first step begins
	last  identity.Version
	set   Set
	steps []step // oldest first
	size  int    // entries in steps
}

type step struct {
	to     identity.Version
	change []byte
}

// Note says which list is in force with a version of the document. Versions that are not above the last are ignored.
func (t *Trail) Note(v identity.Version, s Set) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.last.Less(v) {
		return
	}
	if t.last == (identity.Version{}) {
		t.from, t.last, t.set = v, v, s
		return
	}
	if change := Diff(t.set, s); len(change) > 0 {
		t.steps = append(t.steps, step{v, change})
		t.size += len(change) / Size
	}
	t.last, t.set = v, s
	for t.size > trailEntries || len(t.steps) > trailSteps {
		t.from, t.size = t.steps[0].to, t.size-len(t.steps[0].change)/Size
		t.steps = t.steps[1:]
	}
}

// Since returns what leads from the list of one version to that of another, which must be the newest; false if that can't
// be said any more.
func (t *Trail) Since(from, to identity.Version) (Records, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last != to || from.Less(t.from) {
		return Records{}, false
	}
	var change []byte
	for _, s := range t.steps {
		if from.Less(s.to) {
			change = Compose(change, s.change)
		}
	}
	return Records{Entries: change}, true
}

// Records is a list on its way: the whole of it, or a change of the one that the receiver holds.
type Records struct {
	Whole   bool   `json:"whole,omitempty"`
	Entries []byte `json:"entries,omitempty"`
}

// Of returns the list that results from what is held.
func (r Records) Of(held Set) (Set, error) {
	if r.Whole {
		return Parse(r.Entries)
	}
	return held.Apply(r.Entries)
}
