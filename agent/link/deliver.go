package link

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/frame"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tunnel"
)

const (
	batchBytes    = 40 << 10 // of events in one frame, which has room for their signatures beside them
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
	if err := k.hand(limit, k.sign(batch, events)); err != nil {
		if ctx.Err() == nil {
			k.log.DebugContext(ctx, "Audit events not acknowledged", "error", err)
		}
		return false
	}
	return true
}

// sign makes a batch of events, each signed by the key of the certificate that the tunnel was opened with. They are the
// agent's as it is now; what happened when it had another id has no number, since those are counted for each id. One that
// can't be read can't be delivered, ever.
func (k *link) sign(batch uint64, events [][]byte) *frame.Events {
	m := &frame.Events{Batch: batch}
	for _, line := range events {
		e, err := audit.Parse(line)
		if err != nil {
			k.log.Error("Audit event in the spool not readable", "error", err)
			continue
		}
		if e.Source != "agent/"+k.self.ID {
			e.SourceEpoch, e.Seq, e.SourceAfter = "", 0, ""
		}
		e.Source, e.Cluster, e.Scope = "agent/"+k.self.ID, k.self.Cluster, k.self.Scope
		body, err := json.Marshal(e)
		if err != nil {
			k.log.Error("Audit event in the spool not readable", "error", err)
			continue
		}
		signature, err := audit.Sign(rand.Reader, k.key, k.self.ID, body)
		if err != nil {
			k.log.Error("Audit event not signed", "error", err)
			continue
		}
		m.Events, m.Signatures = append(m.Events, body), append(m.Signatures, signature)
	}
	return m
}

// own returns whose certificate this is, and its key. Whether it is in force is the proxy's to judge.
func own(c *tls.Certificate, trust document.Trust) (identity.Host, crypto.Signer, error) {
	if c == nil || len(c.Certificate) == 0 {
		return identity.Host{}, nil, errNotJoined
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return identity.Host{}, nil, fmt.Errorf("reading the agent's certificate: %w", err)
	}
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return identity.Host{}, nil, errNotJoined
	}
	host, err := certs.VerifyX509Host(c.Certificate[:1], trust.CA(names.KeyHostX509), leaf.NotBefore, identity.KindAgent)
	if err != nil {
		return identity.Host{}, nil, fmt.Errorf("reading the agent's certificate: %w", err)
	}
	return host, key, nil
}

var errNotJoined = fault.New(fault.Unauthenticated, "the agent has no certificate", "check the agent's log for why it did not join")

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
