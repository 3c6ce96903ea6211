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
	"github.com/stile-dev/stile/pkg/document/revoked"
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
	Lists(context.Context, head.Lacking, document.Signed) (document.Signed, error)
}

// Documents are those held so far.
type Documents interface {
	Accept(...document.Signed) error
	Lacks(document.Signed) (map[string]revoked.Sum, error)
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
	away, lists := complaint{}, complaint{after: lackFor}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		lacking, err := h.look(ctx)
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		switch wrong, well := away.note(err, now); {
		case wrong:
			h.Log.WarnContext(ctx, "Head not read; continuing with the documents held", "error", err, "since", away.since)
		case well:
			h.Log.InfoContext(ctx, "Head read again")
		}
		if err == nil || lacking != nil { // else it isn't known
			h.complain(ctx, &lists, lacking, now)
		}
		if err != nil || lists.persists(now) {
			pause(ctx, 3*every) // once a second: questions don't help a service that is down
		}
	}
}

// lookLimit bounds one look, so that a hanging call doesn't stop the feed.
const lookLimit = 5 * time.Second

// complain says that a list is missing, or no longer is.
func (h *Head) complain(ctx context.Context, lists *complaint, lacking error, now time.Time) {
	switch wrong, well := lists.note(lacking, now); {
	case wrong:
		h.Log.WarnContext(ctx, "A list of revocations is missing in the document store, or is not the one that the document names; continuing with the revocations held",
			"error", lacking, "since", lists.since)
	case well:
		h.Log.InfoContext(ctx, "Lists of revocations are complete again")
	}
}

// lackFor is how long a list may be missing before that is a complaint: one that was written after its document was read
// is there at the next look, which reads both.
const lackFor = 5 * time.Second

// look fetches what is newer than what is held. It returns apart that the revocations lack one of their lists.
func (h *Head) look(ctx context.Context) (lacking, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	newest, err := h.Store.Glance(ctx)
	if err != nil {
		return nil, err
	}
	want, held := newest.Versions(), h.Documents.Versions()
	if !held.Trust.Less(want.Trust) && !held.Policy.Less(want.Policy) && !held.Revocations.Less(want.Revocations) {
		return nil, h.older(want, held)
	}
	var refusals error
	for _, fetch := range []func(context.Context, head.Head, identity.Versions) ([]document.Signed, error){h.trust, h.policy, h.revocations} {
		documents, err := fetch(ctx, newest, held)
		if err != nil {
			return nil, errors.Join(refusals, err)
		}
		if err = h.Documents.Accept(documents...); errors.Is(err, document.ErrLists) {
			lacking = err
		} else {
			refusals = errors.Join(refusals, err)
		}
	}
	if h.Documents.Versions() != held {
		h.Changed()
	}
	if refusals != nil {
		h.Refused(refusals)
	}
	return lacking, refusals
}

func (h *Head) trust(ctx context.Context, newest head.Head, held identity.Versions) ([]document.Signed, error) {
	if !held.Trust.Less(newest.Trust) {
		return nil, nil
	}
	return h.Store.Trust(ctx, newest)
}

func (h *Head) policy(ctx context.Context, newest head.Head, held identity.Versions) ([]document.Signed, error) {
	if !held.Policy.Less(newest.Policy) {
		return nil, nil
	}
	policy, err := h.Store.Policy(ctx, newest)
	return []document.Signed{policy}, err
}

func (h *Head) revocations(ctx context.Context, newest head.Head, held identity.Versions) ([]document.Signed, error) {
	if !held.Revocations.Less(newest.Revocations) {
		return nil, nil
	}
	revocations, err := h.Store.Revocations(ctx)
	if err != nil {
		return nil, err
	}
	revocations, err = h.Store.Lists(ctx, h.Documents, revocations)
	return []document.Signed{revocations}, err
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
