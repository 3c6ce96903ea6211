package link

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
)

const (
	// maxOwn is how many of its own streams an agent may have open at once.
	maxOwn = 8
	// purposeLimit is how long it may take to say what one is for, and to close it when it is over.
	purposeLimit = 10 * time.Second
	// maxRest is how much may still come over a stream that is over, in bytes.
	maxRest = 1 << 20
)

// purposes are what an agent may open a stream for. A new one gets its line here.
var purposes = map[string]func(*link, context.Context, tunnel.Stream){
	names.StreamEvents: (*link).serveEvents,
}

// accept serves the streams that the agent opens beside its control stream, until the tunnel ends. An agent that opens
// too many, or does not close what is over, loses the tunnel: a stream holds memory until both sides have closed it.
func (n *link) accept(ctx context.Context) {
	for {
		s, err := n.session.Accept(ctx)
		if err != nil {
			return
		}
		if n.own.Add(1) > maxOwn {
			n.limited("an agent may have eight streams of its own open; its tunnel was closed")
			n.cut("the agent has too many of its own streams open")
			return
		}
		n.writing.Go(func() {
			defer n.own.Add(-1)
			n.serve(ctx, s)
			if err := finish(s); err != nil && ctx.Err() == nil && !over(n.session) {
				n.cut("the agent does not close a stream that is over: " + err.Error())
			}
		})
	}
}

// refused is told of each stream that nobody had accepted when too many were open.
func (n *link) refused() {
	if n.agent.ID != "" {
		n.limited("an agent may have ten streams open before the proxy takes them; what came beyond was reset")
	}
}

// finish closes a stream once the other side has closed it, and ignores what still came.
func finish(s tunnel.Stream) error {
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(purposeLimit))
	_ = s.CloseWrite()
	if _, err := io.Copy(io.Discard, io.LimitReader(s, maxRest)); err != nil {
		return err
	}
	if _, err := s.Read(make([]byte, 1)); err == nil {
		return fmt.Errorf("more than %d bytes followed", maxRest)
	}
	return nil
}

// over reports whether the tunnel has ended.
func over(s tunnel.Session) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// serve reads the stream's purpose and serves it.
func (n *link) serve(ctx context.Context, s tunnel.Stream) {
	_ = s.SetDeadline(time.Now().Add(purposeLimit))
	var p frame.Purpose
	if err := frame.Read(s, &p); err != nil {
		return
	}
	serve := purposes[p.GetName()]
	if serve == nil {
		_ = frame.WriteRefusal(s, fault.Newf(fault.BadInput, "update the cluster's proxies", "streams for %q are not accepted here", clip(p.GetName())))
		return
	}
	if frame.WriteOpen(s) != nil {
		return
	}
	_ = s.SetDeadline(time.Time{})
	serve(n, ctx, s)
}

// heldLimit is how long an agent may take to read that its events are stored.
const heldLimit = 10 * time.Second

// serveEvents hands batches to the ledger, one at a time, and acknowledges what it holds. A batch that the ledger did not
// take ends the stream: unacknowledged, it comes again. One such stream of an agent is served at once.
func (n *link) serveEvents(ctx context.Context, s tunnel.Stream) {
	if n.delivering.Swap(true) {
		return
	}
	defer n.delivering.Store(false)
	for {
		var batch frame.Events
		if err := frame.Read(s, &batch); err != nil {
			return
		}
		if err := n.deliver(ctx, &batch); err != nil {
			n.log.WarnContext(ctx, "Audit events not yet in the ledger", "events", len(batch.GetEvents()), "error", err)
			return
		}
		_ = s.SetWriteDeadline(time.Now().Add(heldLimit))
		if err := frame.Write(s, &frame.EventsHeld{Batch: batch.GetBatch()}); err != nil {
			return
		}
	}
}

// deliver writes the events that the agent may report. Others are dropped and logged: sending them again would not
// help.
func (n *link) deliver(ctx context.Context, batch *frame.Events) error {
	d := audit.Delivery{}
	signatures := batch.GetSignatures()
	if len(signatures) > 0 {
		if len(signatures) != len(batch.GetEvents()) {
			return fmt.Errorf("%w: %d signatures of %d events", frame.ErrMalformed, len(signatures), len(batch.GetEvents()))
		}
		if !n.links.config.Now().Before(n.certificate.NotAfter) {
			return errors.New("the agent's certificate has expired: what it signs now proves nothing")
		}
		d.Certificate = n.certificate.Raw
	}
	for i, b := range batch.GetEvents() {
		s := audit.Signed{Body: b}
		var err error
		if len(signatures) > 0 {
			s.Signature = signatures[i]
			err = n.signed(&s)
		} else {
			err = n.unsigned(&s)
		}
		if err != nil {
			n.log.WarnContext(ctx, "Audit event of the agent dropped", "error", err)
			continue
		}
		d.Events = append(d.Events, s)
	}
	err := n.links.config.Deliver(ctx, d)
	if errors.Is(err, audit.ErrTaken) {
		n.log.ErrorContext(ctx, "Audit events of the agent lost: something else is in their place", "error", err)
		return nil
	}
	return err
}

// signed checks what the agent signed, which must be about itself.
func (n *link) signed(s *audit.Signed) (err error) {
	if s.Event, err = audit.Parse(s.Body); err != nil {
		return err
	}
	key, ok := n.certificate.PublicKey.(*ecdsa.PublicKey)
	switch {
	case len(s.Body) > audit.MaxSize:
		return fmt.Errorf("it takes %d bytes", len(s.Body))
	case !ok || !s.Verify(key, n.agent.ID):
		return errors.New("its signature is not of the agent's key")
	}
	return audit.Report(s.Event, n.agent)
}

// unsigned takes an event of an agent of an earlier release, and says who delivered it, in which the agent has no say.
func (n *link) unsigned(s *audit.Signed) (err error) {
	if s.Event, err = audit.Parse(s.Body); err != nil {
		return err
	}
	s.Event.Source, s.Event.Cluster, s.Event.Scope = "agent/"+n.agent.ID, n.agent.Cluster, n.agent.Scope
	if err := audit.Report(s.Event, n.agent); err != nil {
		return err
	}
	s.Body, err = json.Marshal(s.Event)
	return err
}

func clip(s string) string { return s[:min(len(s), 64)] }

// counted counts the streams to targets, which are open until both their ends are closed here: what the agent keeps open
// on its side holds up no one.
type counted struct {
	tunnel.Session
	pays []*tunnel.Account
	open atomic.Int64
}

// Open opens a stream to a target.
func (c *counted) Open(ctx context.Context, pays ...*tunnel.Account) (tunnel.Stream, error) {
	s, err := c.Session.Open(ctx, append(slices.Clip(c.pays), pays...)...)
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	return &countedStream{Stream: s, closed: sync.OnceFunc(func() { c.open.Add(-1) })}, nil
}

// Streams returns how many are open.
func (c *counted) Streams() int { return int(c.open.Load()) }

type countedStream struct {
	tunnel.Stream
	closed func()
}

// Close closes both directions.
func (s *countedStream) Close() error {
	s.closed()
	return s.Stream.Close()
}

// Reset gives up both directions.
func (s *countedStream) Reset() error {
	s.closed()
	return s.Stream.Reset()
}
