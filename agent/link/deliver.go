package link

import (
	"context"
	"time"

	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
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

// send hands one batch to a proxy, on its own stream, and waits for the acknowledgement.
func (l *Links) send(ctx context.Context, batch uint64, events [][]byte) bool {
	k := l.any()
	if k == nil {
		return false
	}
	limit, cancel := context.WithTimeout(ctx, batchPatience)
	defer cancel()
	if err := k.hand(limit, &frame.Events{Batch: batch, Events: events}); err != nil {
		if ctx.Err() == nil {
			k.log.DebugContext(ctx, "Audit events not acknowledged", "error", err)
		}
		return false
	}
	return true
}

// hand writes a batch and reads until the proxy says that it is held. A stream on which that went wrong is given up.
func (k *link) hand(limit context.Context, batch *frame.Events) (err error) {
	if k.events == nil {
		if k.events, err = k.upstream(limit, names.StreamEvents); err != nil {
			return err
		}
	}
	s := k.events
	defer func() {
		if err != nil {
			_ = s.Close()
			k.events = nil
		}
	}()
	until, _ := limit.Deadline()
	_ = s.SetDeadline(until)
	stop := context.AfterFunc(limit, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := frame.Write(s, batch); err != nil {
		return err
	}
	for {
		var held frame.EventsHeld
		if err := frame.Read(s, &held); err != nil {
			return err
		}
		if held.GetBatch() == batch.GetBatch() {
			return nil
		}
	}
}

// upstream opens a stream to the proxy for a purpose.
func (k *link) upstream(limit context.Context, purpose string) (tunnel.Stream, error) {
	s, err := k.session.Open(limit)
	if err != nil {
		return nil, err
	}
	if until, ok := limit.Deadline(); ok {
		_ = s.SetDeadline(until)
	}
	if err = frame.Write(s, &frame.Purpose{Name: purpose}); err == nil {
		err = frame.ReadAnswer(s)
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	_ = s.SetDeadline(time.Time{})
	return s, nil
}

// any returns a tunnel, one that stays if there is one.
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
