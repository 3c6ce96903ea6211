package rule

import (
	"regexp"
	"sync"
	"time"
)

// Troubles are the times at which something was broken on purpose: from just before until everything was seen to be
// well again. The zero Troubles are none. They are safe for concurrent use.
type Troubles struct {
	mu   sync.Mutex
	list []span
}

type span struct{ from, to time.Time } // to is zero while the trouble lasts

// Begin notes that a trouble begins.
func (t *Troubles) Begin(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, span{from: at})
}

// End notes that the last trouble is over.
func (t *Troubles) End(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.list); n > 0 && t.list[n-1].to.IsZero() {
		t.list[n-1].to = at
	}
}

// Explain reports whether a trouble fell into what went on from one time to another.
func (t *Troubles) Explain(from, to time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.list {
		if !to.Before(s.from) && (s.to.IsZero() || !from.After(s.to)) {
			return true
		}
	}
	return false
}

// denial are the words of a refusal that is about the person. No trouble excuses that somebody allowed meets one.
var denial = regexp.MustCompile(`revoked|denied|do not let you|don't let you|may not|locked:`)

// Denies reports whether a program's words say that its user has no right to something.
func Denies(said string) bool { return denial.MatchString(said) }
