// Package ration limits how often somebody may have something done that costs others: a token bucket for each of a
// bounded number of parties, and one that all others share, with a count of what was refused.
//
// It doesn't know what is rationed and reads no clock. Its entry points are [New], and [NewLines] for lines of a log.
package ration

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Ration is a token bucket for each party. It is safe for concurrent use.
type Ration[K comparable] struct {
	every time.Duration
	burst int
	most  int

	mu     sync.Mutex
	of     map[K]*bucket
	others bucket
}

type bucket struct {
	*rate.Limiter
	refused int // since the last that was let through
}

// New makes a ration of burst at once for each party, and one more each time that every has passed. Most parties have a
// bucket of their own; those who come when so many have used some of theirs share one, so that their number costs no memory.
func New[K comparable](every time.Duration, burst, most int) *Ration[K] {
	r := &Ration[K]{every: every, burst: burst, most: most, of: map[K]*bucket{}}
	r.others = r.bucket()
	return r
}

func (r *Ration[K]) bucket() bucket {
	return bucket{Limiter: rate.NewLimiter(rate.Every(r.every), r.burst)}
}

// Take takes one of a party's ration and reports whether there was one; if so, also how often there was none since the
// last time that there was.
func (r *Ration[K]) Take(party K, now time.Time) (refused int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.find(party, now)
	if !b.AllowN(now, 1) {
		b.refused++
		return 0, false
	}
	refused, b.refused = b.refused, 0
	return refused, true
}

// find returns a party's bucket, or that of the others when there is no place for one.
func (r *Ration[K]) find(party K, now time.Time) *bucket {
	if b := r.of[party]; b != nil {
		return b
	}
	if len(r.of) >= r.most {
		r.sweep(now)
	}
	if len(r.of) >= r.most {
		return &r.others
	}
	b := r.bucket()
	r.of[party] = &b
	return &b
}

// sweep forgets parties whose buckets are full again; what they were refused is added to the others'.
func (r *Ration[K]) sweep(now time.Time) {
	for party, b := range r.of {
		if b.TokensAt(now) >= float64(r.burst) {
			r.others.refused += b.refused
			delete(r.of, party)
		}
	}
}

// Of one user so many denials are recorded at once, and one more each time that denialEvery has passed; for so many users
// apart.
const (
	denialBurst = 10
	denialEvery = 30 * time.Second
	denialUsers = 256
)

// NewDenials makes a ration of the events that say that a user was denied something, by uid, which nobody can choose.
func NewDenials() *Ration[string] { return New[string](denialEvery, denialBurst, denialUsers) }
