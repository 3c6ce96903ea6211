package session

import (
	"sync"
	"time"
)

// How many denials of one user are recorded in a span of time.
const (
	denialsEach = 10
	denialsSpan = time.Minute
)

// denials keeps users who are refused again and again from filling the journal, in which the sessions of others need
// room.
type denials struct {
	mu sync.Mutex
	of map[string]*tries // by user, as proven by a certificate
}

type tries struct {
	since               time.Time
	recorded, forgotten int
}

// next reports whether to record a denial, and how many of the user's went unrecorded since the last one that was.
func (d *denials) next(user string, now time.Time) (forgotten int, record bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.of[user]
	if t == nil {
		d.sweep(now)
		t = &tries{since: now}
		d.of[user] = t
	}
	if now.Sub(t.since) >= denialsSpan {
		t.since, t.recorded = now, 0
	}
	if t.recorded >= denialsEach {
		t.forgotten++
		return 0, false
	}
	t.recorded++
	forgotten, t.forgotten = t.forgotten, 0
	return forgotten, true
}

// sweep forgets users who were quiet, except those with unrecorded denials still to be reported.
func (d *denials) sweep(now time.Time) {
	if d.of == nil {
		d.of = map[string]*tries{}
	}
	for user, t := range d.of {
		if t.forgotten == 0 && now.Sub(t.since) >= denialsSpan {
			delete(d.of, user)
		}
	}
}
