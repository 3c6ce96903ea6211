package feed

import "time"

// complainEvery is how often it is said again that something is still wrong.
const complainEvery = time.Minute

// complaint says when a log has to hear that something is wrong, once a minute at most, and then that it is well again.
type complaint struct {
	after time.Duration // how long it may be wrong before that is said

	since time.Time // when it went wrong; zero while it is well
	last  time.Time // when it was last said to be wrong
	said  bool      // since it went wrong
}

// note notes how it is now, and returns what to say.
func (c *complaint) note(err error, now time.Time) (wrong, well bool) {
	if err == nil {
		well = c.said
		c.since, c.said = time.Time{}, false
		return false, well
	}
	if c.since.IsZero() {
		c.since = now
	}
	if now.Sub(c.since) < c.after || !c.last.IsZero() && now.Sub(c.last) < complainEvery {
		return false, false
	}
	c.last, c.said = now, true
	return true, false
}

// persists reports whether it has been wrong for longer than may be.
func (c *complaint) persists(now time.Time) bool {
	return !c.since.IsZero() && now.Sub(c.since) >= c.after
}
