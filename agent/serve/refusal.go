package serve

import (
	"crypto/rand"
	"errors"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
)

// accept takes documents that a proxy pushed. A refusal is recorded, because somebody offered the document.
func (a *agent) accept(documents []document.Signed) {
	err := a.shelf.Accept(documents...)
	a.documentsArrived()
	// Of lists that did not come along the proxy hears by what is held, and sends them.
	if err == nil || document.Overtaken(err) || errors.Is(err, document.ErrLists) {
		return
	}
	left, record := a.refusals.next(err, time.Now())
	if !record {
		return
	}
	a.log.Warn("Document refused", "error", err, "refused_between", left)
	e := audit.New(audit.DocumentRefused, rand.Reader, time.Now())
	e.Actor, e.Outcome, e.Reason = "agent/"+a.host().ID, audit.Denied, err.Error()
	if left > 0 {
		e.Data = map[string]string{"refused_between": strconv.Itoa(left)}
	}
	if err := a.spool.Note(e); err != nil {
		a.log.Error("Audit event not kept", "type", string(e.Type), "error", err)
	}
}

// refusals keeps a proxy that offers documents on and on from filling the spool and the log.
type refusals struct {
	mu    sync.Mutex
	seen  map[string]time.Time
	limit *rate.Limiter // of those that aren't repetitions
	left  int           // out since the last that was recorded
}

const (
	// repeat is for how long the same refusal isn't recorded again.
	repeat = time.Minute
	// So many different refusals are recorded at once, and one more each time that repeat has passed.
	refusalBurst = 10
)

// next reports whether to record a refusal, and how many weren't since the last one that was.
func (r *refusals) next(err error, now time.Time) (left int, record bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit == nil {
		r.limit, r.seen = rate.NewLimiter(rate.Every(repeat), refusalBurst), map[string]time.Time{}
	}
	at, again := r.seen[err.Error()]
	if again && now.Sub(at) < repeat || !r.limit.AllowN(now, 1) {
		r.left++
		return 0, false
	}
	if len(r.seen) > refusalBurst {
		clear(r.seen)
	}
	r.seen[err.Error()] = now
	left, r.left = r.left, 0
	return left, true
}
