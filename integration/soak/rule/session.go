package rule

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Session is one that a client saw begin.
type Session struct {
	ID, User, Target string
	From, To         time.Time // when the client saw it begin and end
}

// Entry is what the ledger says of a session.
type Entry struct {
	SessionID, User, Target string
	Start                   bool // else it is the end
	At                      time.Time
}

// Kill is the end of an agent without notice: it was killed, or revoked and not heard any more. How the sessions ended
// that it had then it can't tell.
type Kill struct {
	Target   string
	From, To time.Time // the signal, and when the agent was seen to be gone
}

// lostWithin is how long before its end an agent may have taken notice of something that it never wrote down: the
// spool is synced within a tenth of a second, and delivered from there.
const lostWithin = time.Second

// overlaps reports whether the kill may have kept the agent from writing something of what went on at that time.
func (k Kill) overlaps(target string, from, to time.Time) bool {
	return k.Target == target && !from.After(k.To) && !to.Before(k.From.Add(-lostWithin))
}

// Ledger holds sessions against the entries: each session has exactly one start and one end, of the same user and
// target. It returns how many sessions were whole, how many a kill excuses, and what is wrong.
func Ledger(seen []Session, entries []Entry, kills []Kill) (whole, excused int, faults []string) {
	found := pairs(entries)
	for _, s := range seen {
		p := found[s.ID]
		switch {
		case p == nil && killed(kills, s.Target, s.From, s.To):
			excused++
		case p == nil:
			faults = append(faults, fmt.Sprintf("the ledger doesn't know session %s of %s on %s", s.ID, s.User, s.Target))
		case p.user != s.User || p.target != s.Target:
			faults = append(faults, fmt.Sprintf("session %s of %s on %s is one of %s on %s in the ledger", s.ID, s.User, s.Target, p.user, p.target))
		default:
			p.until = s.To
		}
	}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		switch p := found[id]; {
		case p.starts == 1 && p.ends == 1:
			whole++
		case p.starts == 1 && p.ends == 0 && killed(kills, p.target, p.began, p.until):
			excused++
		default:
			faults = append(faults, fmt.Sprintf("session %s of %s on %s has %d starts and %d ends", id, p.user, p.target, p.starts, p.ends))
		}
	}
	return whole, excused, faults
}

func killed(kills []Kill, target string, from, to time.Time) bool {
	return slices.ContainsFunc(kills, func(k Kill) bool { return k.overlaps(target, from, to) })
}

// pair is what the ledger holds of one session.
type pair struct {
	starts, ends int
	user, target string
	began        time.Time
	until        time.Time // as the client saw it; of a session that no client saw, the end of time
}

// forever is after everything.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func pairs(entries []Entry) map[string]*pair {
	found := map[string]*pair{}
	for _, e := range entries {
		p := found[e.SessionID]
		if p == nil {
			p = &pair{until: forever}
			found[e.SessionID] = p
		}
		p.user, p.target = e.User, e.Target
		if e.Start {
			p.starts++
			p.began = e.At
		} else {
			p.ends++
		}
	}
	return found
}
