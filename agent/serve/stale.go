package serve

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
)

const (
	// staleAfter is how old the newest revocations may be, which are stamped every minute.
	staleAfter = 3 * time.Minute
	// staleLook is how often that is looked at.
	staleLook = 10 * time.Second
)

// freshness watches for how long the tunnels have brought nothing new. A proxy can keep documents back, and say that all
// is well; what it can't do is to make a newer stamp.
type freshness struct {
	newest func() time.Time // the stamp of the newest revocations held
	tell   func(stale bool) // whoever looks for another proxy
	record func(audit.Event) error
	self   func() string // the agent's id
	log    *slog.Logger

	mu    sync.Mutex
	stamp time.Time
	came  time.Time // when that stamp was first seen
	since time.Time // when the documents were found stale; zero while they are fresh
}

// watch looks until the context ends. An agent that was off has some minutes to catch up first.
func (f *freshness) watch(ctx context.Context) {
	tick := time.NewTicker(staleLook)
	defer tick.Stop()
	began := time.Now()
	for {
		select {
		case now := <-tick.C:
			if now.Sub(began) > staleAfter {
				f.look(now)
			}
		case <-ctx.Done():
			return
		}
	}
}

// look says that documents have become stale, or fresh again: once each, however long it lasts.
func (f *freshness) look(now time.Time) {
	age, changed := f.judge(now, f.newest())
	if !changed {
		return
	}
	stale := f.stale() != nil
	f.tell(stale)
	e := audit.New(audit.DocumentsFresh, rand.Reader, now)
	if stale {
		f.log.Warn("Documents are stale: looking for another proxy", "age", age.Truncate(time.Second).String())
		e = audit.New(audit.DocumentsStale, rand.Reader, now)
		e.Outcome = audit.Failure
		e.Reason = fmt.Sprintf("no newer revocations for %s: proxies keep them back, none are published, or this node's clock is wrong",
			age.Truncate(time.Second))
	} else {
		f.log.Info("Documents are fresh again")
	}
	e.Actor = "agent/" + f.self()
	if err := f.record(e); err != nil {
		f.log.Error("Audit event not kept", "type", string(e.Type), "error", err)
	}
}

// judge reports how old the newest stamp is, and whether documents have become stale or fresh by that. A clock that is
// behind the stamps, which makes them look young for ever, still counts the time since the last one came.
func (f *freshness) judge(now, stamp time.Time) (age time.Duration, changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.came.IsZero() || stamp.After(f.stamp) {
		f.stamp, f.came = stamp, now
	}
	age = max(now.Sub(f.came), now.Sub(stamp))
	stale := age > staleAfter
	if stale != f.since.IsZero() {
		return age, false
	}
	if f.since = now; !stale {
		f.since = time.Time{}
	}
	return age, true
}

// stale returns since when the documents are stale, nil when they are fresh.
func (f *freshness) stale() *time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since.IsZero() {
		return nil
	}
	since := f.since.UTC()
	return &since
}
