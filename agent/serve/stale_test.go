package serve

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
)

// watched runs a freshness whose newest stamp is what the test says, and returns what it told and recorded.
type watched struct {
	*freshness
	mu     sync.Mutex // guards what follows
	newest time.Time
	told   []bool
	events []audit.Type
}

// bring has the tunnels bring a stamp.
func (w *watched) bring(stamp time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.newest = stamp
}

// seen returns what was told and recorded so far.
func (w *watched) seen() (told []bool, events []audit.Type) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told), slices.Clone(w.events)
}

func watch(t *testing.T, stamp time.Time) *watched {
	t.Helper()
	w := &watched{newest: stamp}
	w.freshness = &freshness{
		newest: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.newest },
		tell:   func(stale bool) { w.mu.Lock(); defer w.mu.Unlock(); w.told = append(w.told, stale) },
		record: func(e audit.Event) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			e.Cluster, e.Source = "c", e.Actor
			w.events = append(w.events, e.Type)
			return e.Validate()
		},
		self: func() string { return "agt_1" }, log: slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { defer close(over); w.watch(ctx) }()
	t.Cleanup(func() { cancel(); <-over })
	return w
}

// pass lets time go by; synctest's clock stands still otherwise.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestSec_S63_DocumentsThatAProxyKeepsBackAreNoticedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, time.Now())
		for range 10 {
			pass(time.Minute)
			w.bring(time.Now())
		}
		last := time.Now()
		if _, events := w.seen(); w.stale() != nil || len(events) != 0 {
			t.Fatalf("while documents come: %v, %v", w.stale(), events)
		}
		pass(time.Hour)
		told, events := w.seen()
		if w.stale() == nil || time.Since(*w.stale()) < 56*time.Minute || !slices.Equal(told, []bool{true}) || !slices.Equal(events, []audit.Type{audit.DocumentsStale}) {
			t.Fatalf("after an hour without: since %v, told %v, events %v", w.stale(), told, events)
		}
		w.bring(last.Add(time.Minute)) // newer than what was held, and as stale
		pass(time.Minute)
		if _, events := w.seen(); w.stale() == nil || len(events) != 1 {
			t.Fatalf("a stamp of an hour ago: %v, %v", w.stale(), events)
		}
		w.bring(time.Now())
		pass(time.Minute)
		told, events = w.seen()
		if w.stale() != nil || !slices.Equal(told, []bool{true, false}) || !slices.Equal(events, []audit.Type{audit.DocumentsStale, audit.DocumentsFresh}) {
			t.Fatalf("fresh again: %v, %v, %v", w.stale(), told, events)
		}
	})
}

// A node whose clock is an hour behind takes every stamp for one of the future.
func TestSec_S63_AClockThatIsBehindHidesNoStaleDocuments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, time.Now().Add(time.Hour))
		pass(10 * time.Minute)
		if w.stale() == nil {
			t.Error("nothing new for ten minutes, and nobody notices")
		}
	})
}

func TestAnAgentThatWasOffHasMinutesToCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, time.Now().Add(-24*time.Hour))
		pass(2 * time.Minute)
		if w.bring(time.Now()); w.stale() != nil {
			t.Error("stale before a tunnel can have brought anything")
		}
		pass(2 * time.Minute)
		if _, events := w.seen(); w.stale() != nil || len(events) != 0 {
			t.Errorf("%v, %v", w.stale(), events)
		}
	})
}
