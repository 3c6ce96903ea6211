package feed

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ration"
)

// maxWaiting is how many of the proxy's own events wait for the ledger; a proxy has no disk that would outlive it.
const maxWaiting = 10_000

// mostSeen is of how many things at once it is known apart when they were recorded last.
const mostSeen = 1000

// Events are the proxy's own audit events on their way into the ledger.
type Events struct {
	Append func(context.Context, ...audit.Event) error
	Source func() (cluster, proxy string)
	Log    *slog.Logger

	mu      sync.Mutex
	waiting []audit.Event
	lost    int
	seq     uint64
	epoch   string
	seen    *ration.Ration[string] // what is recorded once a minute
	wake    chan struct{}
	once    sync.Once
}

func (e *Events) init() {
	e.once.Do(func() {
		e.wake, e.epoch = make(chan struct{}, 1), strings.ToLower(rand.Text()[:13])
		e.seen = ration.New[string](time.Minute, 1, mostSeen)
	})
}

// Record queues an event to be written soon.
func (e *Events) Record(event audit.Event) {
	e.init()
	cluster, proxy := e.Source()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seq++
	event.Cluster, event.Source, event.SourceEpoch, event.Seq = cluster, "proxy/"+proxy, e.epoch, e.seq
	if err := event.Validate(); err != nil {
		e.Log.Error("Audit event is invalid", "type", string(event.Type), "error", err)
		return
	}
	if len(e.waiting) >= maxWaiting {
		e.lost++ // the gap shows in seq
		return
	}
	e.waiting = append(e.waiting, event)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Refused records that a published document was refused, the same reason once a minute.
func (e *Events) Refused(err error) {
	e.init()
	now := time.Now()
	if _, ok := e.seen.Take(err.Error(), now); !ok {
		return
	}
	e.Log.Warn("Document refused", "error", err)
	_, proxy := e.Source()
	event := audit.New(audit.DocumentRefused, rand.Reader, now)
	event.Actor, event.Outcome, event.Reason = "proxy/"+proxy, audit.Denied, err.Error()
	e.Record(event)
}

// Limited records that a limit ended something, the same actor and reason once a minute. The next event, and the log,
// say how often it happened in between.
func (e *Events) Limited(event audit.Event) {
	e.init()
	left, ok := e.seen.Take(event.Actor+" "+event.Reason, event.Time)
	if !ok {
		return
	}
	e.Log.Warn("Limit reached", "actor", event.Actor, "reason", event.Reason, "unrecorded", left)
	if left > 0 {
		event.Data = map[string]string{"unrecorded": strconv.Itoa(left)}
	}
	e.Record(event)
}

// Run writes events until the context ends.
func (e *Events) Run(ctx context.Context) {
	e.init()
	for {
		select {
		case <-e.wake:
		case <-ctx.Done():
			return
		}
		for e.Flush(ctx) != nil && ctx.Err() == nil {
			pause(ctx, again)
		}
	}
}

// Flush writes what is waiting, in batches.
func (e *Events) Flush(ctx context.Context) error {
	e.init()
	for {
		e.mu.Lock()
		batch := e.waiting[:min(len(e.waiting), 100)]
		lost := e.lost
		e.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		limited, cancel := context.WithTimeout(ctx, writeLimit*5)
		err := e.Append(limited, batch...)
		cancel()
		if errors.Is(err, audit.ErrTaken) {
			e.Log.ErrorContext(ctx, "Audit events lost: others have their ids", "error", err)
			err = nil
		}
		if err != nil {
			e.Log.WarnContext(ctx, "Audit events not yet in the ledger", "events", len(batch), "lost", lost, "error", err)
			return err
		}
		e.mu.Lock()
		e.waiting = e.waiting[len(batch):]
		e.mu.Unlock()
	}
}
