package link

import (
	"context"
	"time"

	"github.com/stile-dev/stile/pkg/frame"
)

const (
	batchBytes    = 48 << 10 // of events in one frame
	batchRetry    = time.Second
	batchPatience = 15 * time.Second // for the ledger to hold a batch
)

// deliver sends audit events, one batch at a time over any tunnel, until the ledger holds them.
func (l *Links) deliver(ctx context.Context) {
	var batch uint64
	for ctx.Err() == nil {
		events, at, err := l.config.Spool.Next(batchBytes)
		if err != nil {
			l.config.Log.ErrorContext(ctx, "Audit spool not read", "error", err)
			pause(ctx, batchPatience)
			continue
		}
		if len(events) == 0 {
			select {
			case <-l.config.Spool.Ready():
			case <-ctx.Done():
			}
			continue
		}
		batch++
		if !l.send(ctx, batch, events) {
			pause(ctx, batchRetry)
			continue
		}
		if err := l.config.Spool.Acknowledge(at); err != nil {
			l.config.Log.ErrorContext(ctx, "Audit spool not cleared", "error", err)
		}
	}
}

// send hands one batch to a proxy and waits for its acknowledgement.
func (l *Links) send(ctx context.Context, batch uint64, events [][]byte) bool {
	k := l.any()
	if k == nil {
		return false
	}
	held := make(chan struct{})
	k.mu.Lock()
	k.heldBatch = func(b uint64) {
		if b == batch {
			k.mu.Lock()
			k.heldBatch = nil
			k.mu.Unlock()
			close(held)
		}
	}
	k.mu.Unlock()
	if k.control.Send(&frame.Control{Body: &frame.Control_Events{Events: &frame.Events{Batch: batch, Events: events}}}) != nil {
		return false
	}
	limit := time.NewTimer(batchPatience)
	defer limit.Stop()
	select {
	case <-held:
		return true
	case <-k.session.Done():
	case <-limit.C:
	case <-ctx.Done():
	}
	return false
}

// any gives a tunnel, one that stays if there is one.
func (l *Links) any() *link {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found *link
	for k := range l.held {
		if found == nil || k.state == staying {
			found = k
		}
	}
	return found
}
