package head

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stile-dev/stile/pkg/bundle"
	"github.com/stile-dev/stile/pkg/fault"
)

// Keeper holds the verified documents of a head from one request to the next and looks at each whether there
// are newer ones. It trusts the first chain that it is given: who may write it is what IAM says.
// It may be used by several goroutines.
type Keeper struct {
	store *Store

	mu     sync.Mutex
	holder *bundle.Holder
	view   bundle.View
}

// NewKeeper makes a keeper for a cluster.
func NewKeeper(s *Store, cluster string) *Keeper {
	return &Keeper{store: s, holder: bundle.NewHolder(cluster, "")}
}

// torn bounds how often a read that fell between the two writes of one publication is done again.
const torn = 4

// Fresh gives the documents that stand at this moment, by a strongly consistent read.
func (k *Keeper) Fresh(ctx context.Context) (bundle.View, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for range torn {
		h, revocations, err := k.store.Current(ctx)
		if err != nil {
			return bundle.View{}, err
		}
		if err := k.take(ctx, h, revocations); err != nil {
			return bundle.View{}, err
		}
		// Head and revocations are written in one transaction, but a query may see one without the other.
		if k.view.State.Revocations.Version == h.Revocations {
			return k.view, nil
		}
	}
	return bundle.View{}, fault.New(fault.Unavailable, "the documents are being published just now", "try again")
}

func (k *Keeper) take(ctx context.Context, h Head, revocations *bundle.Signed) error {
	v := bundle.View{Head: h}
	var err error
	if v.Trust, err = k.store.Trust(ctx, h); err != nil {
		return none(err)
	}
	documents := append([]bundle.Signed{}, v.Trust...)
	if v.Policy, err = k.store.Policy(ctx, h); err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	if err == nil {
		documents = append(documents, v.Policy)
	}
	if revocations != nil {
		v.Revocations = *revocations
		documents = append(documents, v.Revocations)
	}
	if err := k.holder.Accept(documents...); err != nil {
		return fault.New(fault.Unavailable, "the documents that decisions rest on do not verify, so nothing is decided",
			"tell an administrator: somebody wrote to the head item or the documents bucket; the next publication, within a minute, mends what is newer").
			Because(fmt.Errorf("verifying the documents of the head: %w", err))
	}
	v.State = k.holder.State()
	k.view = v
	return nil
}

func none(err error) error {
	if errors.Is(err, ErrNone) {
		return fault.New(fault.Unavailable, "this cluster has no trust document yet", "wait until the deployment has finished, then try again").Because(err)
	}
	return err
}
