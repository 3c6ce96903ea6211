package gap

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger/reader"
)

// Bounds of what is kept of one source. Beyond them an agent harms what is known of itself alone.
const (
	mostEpochs = 32
	mostGaps   = 32
	mostName   = 64 // bytes of an epoch's name
)

// Gap is events of an epoch that the ledger lacks, both ends included.
type Gap struct {
	Epoch string    `json:"epoch"`
	First uint64    `json:"first"`
	Last  uint64    `json:"last"`
	After time.Time `json:"after,omitzero"` // receipt of the newest event below it; zero when there is none
	Seen  time.Time `json:"seen"`           // receipt of the event that showed it
}

// telling is a gap that an event tells of.
type telling struct {
	Gap

	At   time.Time `json:"at"`             // of the event
	More int       `json:"more,omitempty"` // gaps that no event tells of
}

// epoch is one run of a source: each number up to Top is in the ledger, or in a gap, or was told as missing.
type epoch struct {
	Name  string    `json:"name"`
	Top   uint64    `json:"top"`
	At    time.Time `json:"at,omitzero"` // receipt of the event with that number; zero when it didn't arrive
	Heard time.Time `json:"heard"`       // receipt of the newest event that said something of the epoch
}

// source is what is kept of an agent's numbers.
type source struct {
	Scope  string    `json:"scope"`
	Heard  time.Time `json:"heard"`           // receipt of its newest event
	Forgot time.Time `json:"forgot,omitzero"` // what was received until then, of an epoch that isn't kept, says nothing
	Epochs []epoch   `json:"epochs"`          // the one that was heard of last is the last
	Gaps   []Gap     `json:"gaps,omitempty"`  // that weren't told yet
	More   int       `json:"more,omitempty"`  // gaps that there was no room for
	Owed   []telling `json:"owed,omitempty"`  // what is being told: an event of each may be in the ledger already
	Due    string    `json:"due,omitempty"`   // when to look at the gaps: the key of an item that says so
}

// take learns from an event that is proven to be the source's. An event that it knows of changes nothing. All says that each
// number since the source began must be in the ledger: of one that is older, what was before the first event isn't asked for.
func (s *source) take(e audit.Event, received time.Time, all bool) {
	if e.Seq == 0 || e.SourceEpoch == "" {
		return
	}
	name := short(e.SourceEpoch)
	known := slices.ContainsFunc(s.Epochs, func(o epoch) bool { return o.Name == name })
	switch {
	case !known && !received.After(s.Forgot):
		return
	case len(s.Epochs) == 0 && !all:
		s.Epochs = []epoch{{Name: name, Top: e.Seq, At: received, Heard: received}}
	case !s.arrive(s.epoch(name, received), e.Seq, received):
		return
	default:
		if before, last, ok := reader.Before(e); ok && before != e.SourceEpoch {
			s.end(s.epoch(short(before), received), last, received)
			s.epoch(name, received)
		}
	}
	s.Scope = e.Scope
	if received.After(s.Heard) {
		s.Heard = received
	}
}

// epoch returns the epoch of a name, which is then the last, and forgets one when there are too many.
func (s *source) epoch(name string, heard time.Time) *epoch {
	o := epoch{Name: name}
	if i := slices.IndexFunc(s.Epochs, func(o epoch) bool { return o.Name == name }); i >= 0 {
		o = s.Epochs[i]
		s.Epochs = slices.Delete(s.Epochs, i, i+1)
	}
	if heard.After(o.Heard) {
		o.Heard = heard
	}
	if len(s.Epochs) == mostEpochs {
		if last := s.Epochs[0].Heard; last.After(s.Forgot) {
			s.Forgot = last
		}
		s.Epochs = slices.Delete(s.Epochs, 0, 1)
	}
	s.Epochs = append(s.Epochs, o)
	return &s.Epochs[len(s.Epochs)-1]
}

// arrive counts a number of an epoch, and reports whether it was missing or is the highest so far.
func (s *source) arrive(o *epoch, n uint64, received time.Time) bool {
	if n <= o.Top {
		return s.fill(o.Name, n)
	}
	if n-o.Top > 1 {
		s.open(Gap{o.Name, o.Top + 1, n - 1, o.At, received})
	}
	o.Top, o.At = n, received
	return true
}

// end learns that an epoch had so many numbers.
func (s *source) end(o *epoch, last uint64, received time.Time) {
	if last > o.Top {
		s.open(Gap{o.Name, o.Top + 1, last, o.At, received})
		o.Top = last
	}
}

// open keeps a gap, or counts it when there are too many.
func (s *source) open(g Gap) {
	if len(s.Gaps) < mostGaps {
		s.Gaps = append(s.Gaps, g)
	} else {
		s.More++
	}
}

// fill takes a number out of the gap that it is in, and reports whether it is in one.
func (s *source) fill(epoch string, n uint64) bool {
	i := slices.IndexFunc(s.Gaps, func(g Gap) bool { return g.Epoch == epoch && g.First <= n && n <= g.Last })
	if i < 0 {
		return false
	}
	below, above := s.Gaps[i], s.Gaps[i]
	s.Gaps = slices.Delete(s.Gaps, i, i+1)
	if n > below.First {
		below.Last = n - 1
		s.open(below)
	}
	if n < above.Last {
		above.First = n + 1
		s.open(above)
	}
	return true
}

// tell moves the gaps that were seen at a time or before into what is owed: some of them, and the number of the others.
func (s *source) tell(until, now time.Time, most int) {
	var old, young []Gap
	for _, g := range s.Gaps {
		if g.Seen.After(until) {
			young = append(young, g)
		} else {
			old = append(old, g)
		}
	}
	if len(old) == 0 {
		return
	}
	slices.SortStableFunc(old, func(a, b Gap) int { return cmp.Or(a.Seen.Compare(b.Seen), cmp.Compare(a.First, b.First)) })
	told := old[:min(len(old), most)]
	for _, g := range told {
		s.Owed = append(s.Owed, telling{Gap: g, At: now})
	}
	s.Owed[len(s.Owed)-1].More = len(old) - len(told) + s.More
	s.Gaps, s.More = young, 0
}

// first is when the oldest gap was seen; there is one.
func (s *source) first() time.Time {
	return slices.MinFunc(s.Gaps, func(a, b Gap) int { return a.Seen.Compare(b.Seen) }).Seen
}

// short is the name under which an epoch is kept.
func short(name string) string {
	if len(name) <= mostName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "sha256:" + hex.EncodeToString(sum[:16])
}
