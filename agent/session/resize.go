package session

import (
	"strconv"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
)

// resizeEvery is how long a session is silent about its terminal's size after it told of one: who drags a window's corner, or
// sends sizes without end, costs no more.
const resizeEvery = 10 * time.Second

// sizes are those of a session's terminal. What isn't told when the session ends its end tells, so nothing has to wait for time.
type sizes struct {
	columns, rows int
	untold        int       // changes that no event has told of
	told          time.Time // when an event last did, or was to
}

// change keeps another size, and reports whether an event is to tell of it now.
func (z *sizes) change(columns, rows int, now time.Time) bool {
	if columns == z.columns && rows == z.rows {
		return false
	}
	z.columns, z.rows = columns, rows
	z.untold++
	if !z.told.IsZero() && now.Sub(z.told) < resizeEvery {
		return false
	}
	z.told = now
	return true
}

// tell says in an event what none has said.
func (z *sizes) tell(e *audit.Event) {
	e.Data["columns"], e.Data["rows"], e.Data["resizes"] = strconv.Itoa(z.columns), strconv.Itoa(z.rows), strconv.Itoa(z.untold)
}

// Resized keeps that the terminal has another size, and journals it now and then.
func (s *Session) Resized(width, height int) {
	if r := s.recorded(); r != nil {
		r.Resize(width, height)
	}
	s.mu.Lock()
	now := s.started && s.sizes.change(width, height, time.Now())
	s.mu.Unlock()
	if now {
		s.tellSize()
	}
}

// tellSize journals the terminal's size where that takes no room which sessions may need. Otherwise a later event tells it.
func (s *Session) tellSize() {
	r := s.access.register
	e := r.event(audit.SessionResize, s.access.request)
	e.SessionID = s.id
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended { // its end tells it
		return
	}
	s.sizes.tell(&e)
	if r.config.Journal.Note(fit(e, audit.MaxSize)) == nil {
		s.sizes.untold = 0
	}
}
