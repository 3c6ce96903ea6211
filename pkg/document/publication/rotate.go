package publication

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
)

// Vault is where the trust document is kept.
type Vault interface {
	Read(context.Context) (document.Head, error)
	Trust(context.Context, document.Head) ([]document.Signed, error)
	// PutTrust stores a chain under the version of its last; document.ErrTaken when one of this version is stored.
	PutTrust(ctx context.Context, v identity.Version, chain []document.Signed) error
	// AdvanceTrust moves the trust version if the head is still at from; else document.ErrMoved.
	AdvanceTrust(ctx context.Context, from, to document.Head) error
}

// RotatorConfig is what rotate needs.
type RotatorConfig struct {
	Cluster string
	Name    string // the cluster's name; the first trust document fixes it
	Epoch   uint64 // in which documents are to be; 0 and 1 for the first
	Vault   Vault
	Ledger  Recorder
	Root    func(context.Context) (Signer, error)                      // signs
	Public  map[string]func(context.Context) (crypto.PublicKey, error) // by purpose, root included
	Now     func() time.Time                                           // nil: time.Now
	Entropy io.Reader                                                  // nil: crypto/rand
}

// Rotator makes the trust document. It may run several times at once: the head's condition lets one win.
type Rotator struct{ config RotatorConfig }

// NewRotator makes a rotator.
func NewRotator(c RotatorConfig) *Rotator {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	return &Rotator{c}
}

// Rotate makes the trust document say which keys there are. Without a change it does nothing. A key that is no longer the
// deployment's leaves the document at once if it signed people's certificates, since people can log in again, or documents,
// since the next publication signs them anew. One that signed agents' certificates is kept as retiring until all of those
// have expired: an agent without a valid certificate would have to be enrolled again. It returns the head in force.
//
// An epoch that is later than the head's begins with a trust document of its own, whether keys have changed or not.
func (r *Rotator) Rotate(ctx context.Context) (document.Head, error) {
	var begun error
	for try := range uint64(tries) {
		// A run that died, or lost, between storing and moving the head leaves its version taken, but the next is free.
		h, err := r.once(ctx, 1+try)
		if !errors.Is(err, document.ErrMoved) && !errors.Is(err, document.ErrTaken) {
			return h, err
		}
		if errors.Is(err, errBegun) {
			begun = err
		}
	}
	if begun != nil {
		return document.Head{}, fault.Newf(fault.Conflict, fmt.Sprintf("deploy with a later one: -c stile:epoch=%d", r.config.Epoch+1),
			"epoch %d was begun before, so agents may hold documents of it that are newer than this table", r.config.Epoch).Because(begun)
	}
	return document.Head{}, fault.New(fault.Unavailable, "another run is making the trust document", "try again")
}

func (r *Rotator) once(ctx context.Context, step uint64) (document.Head, error) {
	from, err := r.config.Vault.Read(ctx)
	if err != nil {
		return document.Head{}, err
	}
	begins, err := r.begins(from)
	if err != nil {
		return document.Head{}, err
	}
	keys, err := r.keys(ctx)
	if err != nil {
		return document.Head{}, err
	}
	chain, changed, err := r.chain(ctx, from, &keys)
	if err != nil {
		return document.Head{}, err
	}
	if !changed && !begins {
		return from, nil
	}
	to := from
	to.Trust = identity.Version{Epoch: max(from.Trust.Epoch, r.config.Epoch, 1), Counter: from.Trust.Counter + step}
	if begins {
		to.Trust.Counter = 1 // whoever began it before has taken this one
	}
	if !identity.ValidClusterName(r.config.Name) {
		return document.Head{}, fault.Newf(fault.BadInput, "set the parameter ClusterName to 1–63 lower-case letters, digits, dots and hyphens", "%.70q can't be the name of a cluster", r.config.Name)
	}
	doc, err := r.seal(ctx, to.Trust, keys)
	if err != nil {
		return document.Head{}, err
	}
	chain = append(chain, doc)
	if _, err := document.OpenTrust(chain, ""); err != nil {
		return document.Head{}, fmt.Errorf("checking the new trust document: %w", err)
	}
	if err := r.config.Vault.PutTrust(ctx, to.Trust, chain); errors.Is(err, document.ErrTaken) && begins {
		return document.Head{}, errors.Join(errBegun, err)
	} else if err != nil {
		return document.Head{}, err
	}
	if err := r.config.Vault.AdvanceTrust(ctx, from, to); err != nil {
		return document.Head{}, err
	}
	return to, r.tell(ctx, to, keys)
}

// seal signs a trust document.
func (r *Rotator) seal(ctx context.Context, v identity.Version, keys []document.Key) (document.Signed, error) {
	root, err := r.config.Root(ctx)
	if err != nil {
		return document.Signed{}, err
	}
	doc, err := document.Seal(document.KindTrust, document.Trust{
		Cluster: r.config.Cluster, Name: r.config.Name, Version: v, IssuedAt: r.config.Now().UTC().Truncate(time.Millisecond), Keys: keys,
	}, root)
	return doc, errors.Join(err, claim(ctx, r.config.Ledger, fmt.Sprintf("trust/%d.%d", v.Epoch, v.Counter), root))
}

// errBegun says that the first version of an epoch is taken, though the head is in an earlier epoch.
var errBegun = errors.New("its first trust document is stored already")

// begins reports whether the deployment begins an epoch. A table that was restored must begin one: its head is of an earlier
// time, so its documents would be older than those that agents, proxies and clients hold, and be refused by them.
func (r *Rotator) begins(from document.Head) (bool, error) {
	if from.Trust == (identity.Version{}) {
		return false, nil
	}
	epoch := max(r.config.Epoch, 1)
	switch {
	case epoch > from.Trust.Epoch:
		return true, nil
	case from.CopyOf != "":
		return false, restored(from)
	case epoch < from.Trust.Epoch:
		return false, fault.Newf(fault.Conflict, fmt.Sprintf("put the setting back: -c stile:epoch=%d", from.Trust.Epoch),
			"the cluster is in epoch %d, and epochs only go upward: its documents of epoch %d would be refused", from.Trust.Epoch, epoch)
	}
	return false, nil
}

// restored refuses to publish from a table that was restored and has not begun an epoch since.
func restored(h document.Head) error {
	return fault.Newf(fault.Conflict, fmt.Sprintf("deploy with -c stile:epoch=%d, or a later one if that has been used", h.Trust.Epoch+1),
		"the state table is a copy of %s as it was at an earlier time, and agents would refuse its documents as older than their own", h.CopyOf)
}

// keys describes the deployment's keys, all active, in the order of purposes.
func (r *Rotator) keys(ctx context.Context) ([]document.Key, error) {
	var keys []document.Key
	for purpose, public := range r.config.Public {
		pub, err := public(ctx)
		if err != nil {
			return nil, err
		}
		k, err := document.NewKey(purpose, document.StateActive, pub)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	order(keys)
	return keys, nil
}

func order(keys []document.Key) {
	slices.SortFunc(keys, func(a, b document.Key) int { return cmp.Or(cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.ID, b.ID)) })
}

// chain returns the documents so far, and adds to keys what they still have to name. Changed is false when the newest
// document says the same already.
func (r *Rotator) chain(ctx context.Context, from document.Head, keys *[]document.Key) (chain []document.Signed, changed bool, err error) {
	if from.Trust == (identity.Version{}) {
		return nil, true, nil
	}
	chain, err = r.config.Vault.Trust(ctx, from)
	if err != nil {
		return nil, false, err
	}
	opened, err := document.OpenChain(chain, "")
	if err != nil {
		return nil, false, fmt.Errorf("opening the trust document: %w", err)
	}
	have := opened[len(opened)-1]
	if have.Cluster != r.config.Cluster {
		return nil, false, fmt.Errorf("opening the trust document: it is cluster %s's", have.Cluster)
	}
	if have.Name != r.config.Name {
		return nil, false, fault.Newf(fault.Conflict, fmt.Sprintf("put the parameter ClusterName back to %q: certificates and people's known_hosts files contain it", have.Name),
			"the cluster has been called %q since its first deployment and can't be renamed to %q", have.Name, r.config.Name)
	}
	for _, old := range have.Keys {
		if slices.ContainsFunc(*keys, func(k document.Key) bool { return k.ID == old.ID }) {
			continue
		}
		if old.Purpose == names.KeyRoot {
			return nil, false, fault.New(fault.Conflict, "the root key is not the trust document's", "put the previous root key back: a new root has to be announced by the previous one")
		}
		if r.retires(old, opened) {
			old.State = document.StateRetiring
			*keys = append(*keys, old)
		}
	}
	order(*keys)
	was := slices.Clone(have.Keys)
	order(was)
	same := slices.EqualFunc(was, *keys, func(a, b document.Key) bool { return a.ID == b.ID && a.Purpose == b.Purpose && a.State == b.State })
	return chain, !same, nil
}

// outlived is how long after a key's retirement the last certificate of an agent or proxy that it signed has expired, with
// an hour for what was being signed just then, and for clocks that differ.
const outlived = certs.MaxHostLife + time.Hour

// retires reports whether a key that the deployment no longer has must still be named: one of agents and proxies, until what
// it signed has expired.
func (r *Rotator) retires(old document.Key, chain []document.Trust) bool {
	if old.Purpose != names.KeyHostSSH && old.Purpose != names.KeyHostX509 {
		return false
	}
	since, is := retiring(old.ID, chain)
	return !is || r.config.Now().Before(since.Add(outlived))
}

// retiring returns since when a key is retiring: when the first of the newest documents in a row that say so was issued.
func retiring(id string, chain []document.Trust) (since time.Time, is bool) {
	for _, t := range slices.Backward(chain) {
		if !slices.ContainsFunc(t.Keys, func(k document.Key) bool { return k.ID == id && k.State == document.StateRetiring }) {
			break
		}
		since, is = t.IssuedAt, true
	}
	return since, is
}

func (r *Rotator) tell(ctx context.Context, to document.Head, keys []document.Key) error {
	e := audit.New(audit.TrustPublished, r.config.Entropy, r.config.Now())
	e.Cluster, e.Actor, e.Source = r.config.Cluster, "function/rotate", "function/rotate"
	e.TargetKind, e.Target = "document", fmt.Sprintf("trust/%d.%d", to.Trust.Epoch, to.Trust.Counter)
	e.Data = map[string]string{}
	for _, k := range keys {
		e.Data[k.Purpose+"."+k.State] = k.ID
	}
	return r.config.Ledger.Record(ctx, e)
}
