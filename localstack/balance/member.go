package balance

import (
	"maps"
	"slices"
	"time"
)

// member is a target of one port, from its registration until the balancer has forgotten it.
type member struct {
	from  time.Time // when it gets its first connection
	until time.Time // when it has got its last; zero while it is registered
}

// members are the targets of one port by address.
type members map[string]member

// change registers and deregisters targets. One that comes back before it was forgotten starts over, as on AWS.
func (m members) change(targets []string, late Late, now time.Time) {
	for _, target := range targets {
		if known, ok := m[target]; !ok || !known.until.IsZero() {
			m[target] = member{from: now.Add(late.Register)}
		}
	}
	for target, known := range m {
		if known.until.IsZero() && !slices.Contains(targets, target) {
			m[target] = member{from: known.from, until: now.Add(late.Deregister)}
		}
	}
}

// serving lists the targets that get connections now: those that are registered, and those that are gone. It forgets
// whose time is over.
func (m members) serving(now time.Time) (here, gone []string) {
	for _, target := range slices.Sorted(maps.Keys(m)) {
		switch known := m[target]; {
		case !known.until.IsZero() && !now.Before(known.until):
			delete(m, target)
		case now.Before(known.from):
		case known.until.IsZero():
			here = append(here, target)
		default:
			gone = append(gone, target)
		}
	}
	return here, gone
}
