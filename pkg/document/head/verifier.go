package head

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
)

// Verifier keeps the verified documents of a head from one request to the next and checks at each whether there
// are newer ones. It trusts the first chain that it is given: IAM says who may write it.
// It may be used by several goroutines.
type Verifier struct {
	store *Store

	mu     sync.Mutex
	holder *document.Holder
	view   document.View
}

// NewVerifier returns a verifier for a cluster.
func NewVerifier(s *Store, cluster string) *Verifier {
	return &Verifier{store: s, holder: document.NewHolder(cluster, "")}
}

// torn bounds how often a read that fell between the two writes of one publication is repeated.
const torn = 4

// Fresh returns the documents in force now, by a strongly consistent read.
func (v *Verifier) Fresh(ctx context.Context) (document.View, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for range torn {
		h, revocations, err := v.store.Current(ctx)
		if err != nil {
			return document.View{}, err
		}
		switch err := v.take(ctx, h, revocations); {
		case errors.Is(err, document.ErrLists): // a list was written since the document was read
		case err != nil:
			return document.View{}, err
		case v.view.State.Revocations.Version == h.Revocations:
			return v.view, nil
		}
		// Head and revocations are written in one transaction, but a query may see one without the other.
	}
	return document.View{}, fault.New(fault.Unavailable, "the documents are being published right now", "try again")
}

func (v *Verifier) take(ctx context.Context, h Head, revocations *document.Signed) error {
	next := document.View{Head: h}
	var err error
	if next.Trust, err = v.store.Trust(ctx, h); err != nil {
		return none(err)
	}
	documents := append([]document.Signed{}, next.Trust...)
	if next.Policy, err = v.store.Policy(ctx, h); err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	if err == nil {
		documents = append(documents, next.Policy)
	}
	err = v.holder.Accept(documents...)
	if revocations != nil {
		doc, unread := v.store.Lists(ctx, v.holder, *revocations)
		if unread != nil {
			return unread
		}
		next.Revocations = *revocations
		err = errors.Join(err, v.holder.Accept(doc))
	}
	if errors.Is(err, document.ErrLists) {
		return document.ErrLists
	}
	if err != nil {
		return fault.New(fault.Unavailable, "the documents behind every decision don't verify, so nothing can be decided",
			"tell an administrator: somebody wrote to the head item or the documents bucket; the next publication, within a minute, replaces policy and revocations by newer ones").
			Because(fmt.Errorf("verifying the documents of the head: %w", err))
	}
	next.State = v.holder.State()
	v.view = next
	return nil
}

func none(err error) error {
	if errors.Is(err, ErrNone) {
		return fault.New(fault.Unavailable, "this cluster has no trust document yet", "wait until the deployment has finished, then try again").Because(err)
	}
	return err
}
