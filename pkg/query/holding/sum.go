package holding

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Width is how long a span of receipts is: those whose first characters are the same.
const (
	Width = 1 << 15 * time.Millisecond
	same  = 7 // characters; a receipt has ten of milliseconds, of five bits each
)

// Span is the beginning that all receipts of a span have; of what is shorter, all of it.
func Span(receipt string) string { return receipt[:min(len(receipt), same)] }

// SpanAt is the span of the receipts of a time.
func SpanAt(t time.Time) string { return begin(t)[:same] }

// begin is how the receipts of a time begin, which is less than all of them and all later ones.
func begin(t time.Time) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(max(t.UnixMilli(), 0))) // it fails from the year 10889 on
	return strings.ToLower(id.String())[:10]
}

// Key is what of an event is compared: under which receipt it stands, in whose partition, and its id.
func Key(receipt, writer, id string) string { return receipt + " " + writer + " " + id }

// Sum makes the digest of keys, in any order, of which each counts once.
type Sum struct{ of [][sha256.Size]byte }

// Add adds a key.
func (s *Sum) Add(key string) { s.of = append(s.of, sha256.Sum256([]byte(key))) }

// Digest is how many keys were added and their digest, as [Digests] finds both.
func (s *Sum) Digest() (keys int, digest string) {
	slices.SortFunc(s.of, func(a, b [sha256.Size]byte) int { return strings.Compare(string(a[:]), string(b[:])) })
	s.of = slices.Compact(s.of)
	all := sha256.New()
	for _, one := range s.of {
		all.Write([]byte(strings.ToUpper(hex.EncodeToString(one[:]))))
	}
	return len(s.of), strings.ToUpper(hex.EncodeToString(all.Sum(nil)))
}
