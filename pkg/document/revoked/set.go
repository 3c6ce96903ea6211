// Package revoked is the list of what was revoked, in a compact form that agents hold, pass on and search as it is: a
// sorted run of entries of [Size] bytes, each saying that what was issued to somebody or something before a version is
// good no more. An entry is keyed by what it revokes, so that a newer one takes the place of an older one.
//
// A change of a list has the same form as a list, with entries of version zero for what is no longer in it. Applied to a
// list that is neither older than the change's beginning nor newer than its end, it gives the list at its end; whoever
// applies one compares the result with the [Sum] in the signed document. Its entry points are [Parse], [Set.Apply] and
// [Set.With].
package revoked

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
)

// The lists: what is judged by whom is kept apart. Agents judge users; proxies and the API judge both.
const (
	Users  = identity.Users
	Agents = identity.Agents
)

// Size is the size of an entry, in bytes: key, key of its group, epoch (16 bits), counter (64 bits), end (40 bits, Unix
// seconds), numbers in big-endian order.
const Size = 2*keySize + 15

// keySize is a byte for the kind of what is revoked, and 16 of a hash of its value.
const keySize = 17

// Room is how many entries a list holds at most, which is 3 MiB of them.
const Room = 1 << 16

// MaxBytes bounds a list and a change, in bytes: all entries of a full list may be replaced by others.
const MaxBytes = 2 * Room * Size

// ErrMalformed is in the chain when bytes are not a list or a change of one.
var ErrMalformed = errors.New("the list of what was revoked is malformed")

// Key says what an entry revokes. The zero Key is nothing.
type Key [keySize]byte

// kinds numbers what can be revoked. Numbers are never used again for something else.
var kinds = map[string]byte{
	identity.RefEverybody: 1, "mapping": 2, "record": 3, "user": 4, "uid": 5, "certificate": 6, "request": 7, "agent": 8, "token": 9, "records": 10,
}

// KeyOf returns the key of what can be revoked, and false for what can't.
func KeyOf(r identity.Ref) (Key, bool) {
	kind, ok := kinds[r.Target]
	if !ok {
		return Key{}, false
	}
	sum := sha256.Sum256([]byte("stile-revoked-v1\n" + r.Target + "\n" + r.Value))
	k := Key{kind}
	copy(k[1:], sum[:])
	return k, true
}

// Sum is what the signed document says about a list. Its zero value is the empty list's.
type Sum struct {
	SHA256 []byte `json:"sha256,omitempty"` // over the list's bytes
	Count  int    `json:"count,omitempty"`  // its entries
}

// Set is a list that doesn't change any more. Its zero value is the empty one.
type Set struct {
	entries []byte
	sum     [sha256.Size]byte // of entries, unless there are none
}

// Parse reads a list. It keeps b.
func Parse(b []byte) (Set, error) {
	if err := check(b, false); err != nil {
		return Set{}, err
	}
	return set(b), nil
}

// CheckChange reports whether b is a change of a list.
func CheckChange(b []byte) error { return check(b, true) }

// set is a list of entries that are known to be in order.
func set(b []byte) Set {
	if len(b) == 0 {
		return Set{}
	}
	return Set{b, sha256.Sum256(b)}
}

// check reports whether b is whole entries in order, each key once.
func check(b []byte, change bool) error {
	if len(b)%Size != 0 || len(b) > MaxBytes {
		return fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	var last []byte
	for e := range slices.Chunk(b, Size) {
		if bytes.Compare(last, e[:keySize]) >= 0 {
			return fmt.Errorf("%w: entries are out of order", ErrMalformed)
		}
		if last = e[:keySize]; !change && gone(e) {
			return fmt.Errorf("%w: an entry has no version", ErrMalformed)
		}
	}
	return nil
}

// Len returns the number of entries.
func (s Set) Len() int { return len(s.entries) / Size }

// Bytes returns the list as it is kept and sent. Nobody changes it.
func (s Set) Bytes() []byte { return s.entries }

// Sum returns what a signed document says about the list.
func (s Set) Sum() Sum {
	if len(s.entries) == 0 {
		return Sum{}
	}
	return Sum{s.sum[:], s.Len()}
}

// Is reports whether this is the list that a signed document names.
func (s Set) Is(want Sum) bool {
	have := s.Sum()
	return have.Count == want.Count && bytes.Equal(have.SHA256, want.SHA256)
}

// Before returns the version before which what was issued to the key is good no more; the zero Version when nothing is
// revoked.
func (s Set) Before(k Key) identity.Version {
	i := sort.Search(s.Len(), func(i int) bool { return bytes.Compare(s.entries[i*Size:i*Size+keySize], k[:]) >= 0 })
	if i == s.Len() || !bytes.Equal(s.entries[i*Size:i*Size+keySize], k[:]) {
		return identity.Version{}
	}
	return version(s.entries[i*Size:])
}

// Apply returns the list after a change.
func (s Set) Apply(change []byte) (Set, error) {
	if err := CheckChange(change); err != nil {
		return Set{}, err
	}
	merged := merge(s.entries, change, false)
	if len(merged) > MaxBytes {
		return Set{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(merged))
	}
	return set(merged), nil
}

// Diff returns the change that leads from one list to another.
func Diff(from, to Set) []byte {
	var change []byte
	for a, b := range pairs(from.entries, to.entries) {
		switch {
		case b == nil:
			change = append(append(change, a[:keySize]...), make([]byte, Size-keySize)...)
		case !bytes.Equal(a, b):
			change = append(change, b...)
		}
	}
	return change
}

// Compose returns the change that does what two do one after the other.
func Compose(first, second []byte) []byte { return merge(first, second, true) }

// merge lays one run over another, and leaves out what is gone unless that is to be told to others.
func merge(under, over []byte, tell bool) []byte {
	out := make([]byte, 0, len(under)+len(over))
	for a, b := range pairs(under, over) {
		if b == nil {
			b = a
		}
		if tell || !gone(b) {
			out = append(out, b...)
		}
	}
	return out
}

// pairs goes through the keys of two runs in order: the entries that have it, nil for a run that hasn't.
func pairs(a, b []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(x, y []byte) bool) {
		for len(a) > 0 || len(b) > 0 {
			var x, y []byte
			var order int
			switch {
			case len(a) == 0:
				order = 1
			case len(b) == 0:
				order = -1
			default:
				order = bytes.Compare(a[:keySize], b[:keySize])
			}
			if order <= 0 {
				x, a = a[:Size], a[Size:]
			}
			if order >= 0 {
				y, b = b[:Size], b[Size:]
			}
			if !yield(x, y) {
				return
			}
		}
	}
}

// gone reports whether an entry of a change says that there is none any more.
func gone(e []byte) bool { return version(e) == identity.Version{} }

func version(e []byte) identity.Version {
	return identity.Version{Epoch: uint64(binary.BigEndian.Uint16(e[2*keySize:])), Counter: binary.BigEndian.Uint64(e[2*keySize+2:])}
}

// entry is an entry that is being written.
type entry struct {
	key, group Key // group: the coarser entry that may take its place; zero for none
	version    identity.Version
	until      time.Time
}

func parseEntry(b []byte) entry {
	e := entry{key: Key(b[:keySize]), group: Key(b[keySize : 2*keySize]), version: version(b)}
	var until [8]byte
	copy(until[3:], b[2*keySize+10:Size])
	e.until = time.Unix(int64(binary.BigEndian.Uint64(until[:])), 0)
	return e
}

func (e entry) append(b []byte) []byte {
	b = append(append(b, e.key[:]...), e.group[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(e.version.Epoch))
	b = binary.BigEndian.AppendUint64(b, e.version.Counter)
	var until [8]byte
	binary.BigEndian.PutUint64(until[:], uint64(e.until.Unix()))
	return append(b, until[3:]...)
}
