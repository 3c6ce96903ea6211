package session

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/ration"
)

const (
	// maxUsers is of how many users at once denials are counted, and sessions rationed, apart from others'.
	maxUsers = 256
	// denialSize is how many bytes the event of a denial may take.
	denialSize = 4 << 10
	// countEvery is how often it is recorded how many denials weren't.
	countEvery = 5 * time.Minute
)

// others stands for the users who aren't counted apart. No user has this uid.
const others = ""

// denials keeps users who are refused again and again from filling the journal, in which the sessions of others need
// room, and counts what it leaves out.
type denials struct {
	ration *ration.Ration[string] // by uid: what a user is called is the user's choice at some mappings

	mu     sync.Mutex
	left   map[string]*count // out of the journal, by uid
	timer  *time.Timer       // nil when nothing is to be counted
	closed bool
}

type count struct {
	name  string // of the user, when counting began
	since time.Time
	n     int
}

// deny records the denial of a user, or counts it. It reports whether there is an event.
func (r *Register) deny(user identity.User, e audit.Event) bool {
	if _, ok := r.denied.ration.Take(user.UID, time.Now()); ok {
		err := r.config.Journal.Note(fit(e, denialSize))
		if err == nil {
			return true
		}
		r.config.Log.Warn("Denial not recorded, only counted", "user", user.Name, "uid", user.UID, "error", err)
	}
	r.leaveOut(user)
	return false
}

// leaveOut counts a denial that isn't recorded.
func (r *Register) leaveOut(user identity.User) {
	d := &r.denied
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		r.config.Log.Warn("Denial neither recorded nor counted, as the agent is stopping", "user", user.Name, "uid", user.UID)
		return
	}
	uid := user.UID
	c := d.left[uid]
	if c == nil && len(d.left) >= maxUsers {
		uid = others
		c = d.left[others]
	}
	if c == nil {
		c = &count{name: user.Name, since: r.config.Gate.Now()}
		d.left[uid] = c
	}
	c.n++
	if d.timer == nil {
		d.timer = time.AfterFunc(countEvery, r.count)
	}
}

// count records how many denials of whom weren't recorded. What finds no room is counted on.
func (r *Register) count() {
	d := &r.denied
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer = nil
	if d.closed {
		return
	}
	for uid, c := range d.left {
		if err := r.config.Journal.Note(r.counted(uid, *c)); err != nil {
			r.config.Log.Warn("Number of unrecorded denials not recorded yet", "uid", uid, "denials", c.n, "error", err)
			continue
		}
		delete(d.left, uid)
	}
	if len(d.left) > 0 {
		d.timer = time.AfterFunc(countEvery, r.count)
	}
}

// counted is the event that says how many denials of a user weren't recorded.
func (r *Register) counted(uid string, c count) audit.Event {
	e := audit.New(audit.SessionDenialsCounted, r.config.Entropy, r.config.Gate.Now())
	whom := "other users"
	e.Actor = "agent/" + r.config.Host().ID
	if uid != others {
		whom, e.Actor = "user "+c.name, "user/"+c.name
	}
	e.Outcome, e.Reason = audit.Denied, fmt.Sprintf("%d refusals of %s were not written one by one", c.n, whom)
	if c.n == 1 {
		e.Reason = fmt.Sprintf("1 refusal of %s was not written", whom)
	}
	e.Data = map[string]string{"denials": strconv.Itoa(c.n), "since": c.since.UTC().Format(time.RFC3339)}
	if uid != others {
		e.Data["uid"] = uid
	}
	return e
}

// Close records what has been counted and not been recorded yet. Denials that come later are only logged.
func (r *Register) Close() {
	d := &r.denied
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.closed = true
	for uid, c := range d.left {
		r.record(r.counted(uid, *c))
	}
	clear(d.left)
}
