// Package feed connects a proxy with the control plane's tables: it follows the head item and fetches newer
// documents, keeps the proxy's lease and its set of tunnels in presence, and writes audit events to the
// ledger.
//
// It doesn't know what a connection is. Its entry points are [Head], [Presence] and [Events].
package feed

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/identity"
)

// HeadEvery is how often the head item is looked at.
const HeadEvery = 250 * time.Millisecond

// Store is where documents are published. Glance may be some milliseconds behind.
type Store interface {
	Glance(context.Context) (head.Head, error)
	Trust(context.Context, head.Head) ([]document.Signed, error)
	Policy(context.Context, head.Head) (document.Signed, error)
	Revocations(context.Context) (document.Signed, error)
}

// Documents are those held so far.
type Documents interface {
	Accept(...document.Signed) error
	Versions() identity.Versions
}

// Head follows the head item.
type Head struct {
	Store     Store
	Documents Documents
	Changed   func()      // called after newer documents were accepted
	Refused   func(error) // called when a published document was refused
	Log       *slog.Logger
	Every     time.Duration // 0 is HeadEvery
}

// Run looks until the context ends. While the control plane is away the proxy goes on with what it holds.
func (h *Head) Run(ctx context.Context) {
	every := h.Every
	if every == 0 {
		every = HeadEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	away := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := h.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !away:
			h.Log.WarnContext(ctx, "Head not read; continuing with the documents held", "error", err)
		case err == nil && away:
			h.Log.InfoContext(ctx, "Head read again")
		}
		away = err != nil
		if away {
			pause(ctx, 3*every) // once a second: questions don't help a service that is down
		}
	}
}

// lookLimit bounds one look, so that a hanging call doesn't stop the feed.
const lookLimit = 5 * time.Second

// look fetches what is newer than what is held.
func (h *Head) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	newest, err := h.Store.Glance(ctx)
	if err != nil {
		return err
	}
	want, held := newest.Versions(), h.Documents.Versions()
	var documents []document.Signed
	if held.Trust.Less(want.Trust) {
		chain, err := h.Store.Trust(ctx, newest)
		if err != nil {
			return err
		}
		documents = append(documents, chain...)
	}
	if held.Policy.Less(want.Policy) {
		policy, err := h.Store.Policy(ctx, newest)
		if err != nil {
			return err
		}
		documents = append(documents, policy)
	}
	if held.Revocations.Less(want.Revocations) {
		revocations, err := h.Store.Revocations(ctx)
		if err != nil {
			return err
		}
		documents = append(documents, revocations)
	}
	if len(documents) == 0 {
		return h.older(want, held)
	}
	err = h.Documents.Accept(documents...)
	if h.Documents.Versions() != held {
		h.Changed()
	}
	if err != nil {
		h.Refused(err)
	}
	return err
}

// older notices a head that names older documents than were seen: a restored table, or one that was tampered with.
func (h *Head) older(newest, held identity.Versions) error {
	zero := identity.Versions{}
	if newest == zero || !(newest.Trust.Less(held.Trust) || newest.Policy.Less(held.Policy)) {
		return nil // the revocations held may be newer than an eventually consistent head says
	}
	h.Refused(errOlderHead)
	return errOlderHead
}

var errOlderHead = errors.Join(document.ErrOlder, errors.New("the head item names documents older than those held"))

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
