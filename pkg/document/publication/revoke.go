package publication

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// changeEntries is how many entries the change of a list's base has before the list becomes a base of its own. The change
// is written with each publication that revokes something, the base is not.
const changeEntries = 512

// both are the lists of what was revoked.
var both = []string{revoked.Users, revoked.Agents}

// locked returns the locks in force.
func (p *Publisher) locked(ctx context.Context) ([]document.Lock, error) {
	locks, err := p.config.Inputs.Locks(ctx)
	now := p.config.Now()
	return slices.DeleteFunc(locks, func(l document.Lock) bool { return l.Expires != nil && !now.Before(*l.Expires) }), err
}

// revoke brings the lists up to date: it takes in the orders that came since the last publication, and leaves out what is
// over. What is ordered now gets the version that is published now, so that what was issued under the head so far is
// refused, and what is issued from now on is not.
func (p *Publisher) revoke(ctx context.Context, d *draft) error {
	d.to.Revocations = next(d.from.Trust, d.from.Revocations)
	was, sound, err := p.lists(ctx, d)
	if err != nil {
		return err
	}
	after := d.from.Orders
	if !sound {
		after = 0
	}
	orders, err := p.config.Inputs.Orders(ctx, after)
	if err != nil {
		return err
	}
	d.to.Orders = max(d.from.Orders, d.policy.Input)
	if n := len(orders); n > 0 {
		d.to.Orders = max(d.to.Orders, orders[n-1].Seq)
	}
	d.lists, d.stored = map[string]revoked.Set{}, map[string]document.Stored{}
	for _, list := range both {
		set, coarse := was[list].Set.Settle(list, orders, d.to.Revocations, p.config.Now())
		d.lists[list], d.coarse[list] = set, coarse
		if sound && set.Is(was[list].Set.Sum()) {
			continue
		}
		if d.stored[list], err = p.keep(ctx, was[list], set); err != nil {
			return err
		}
	}
	return nil
}

// lists returns the lists in force. They are not sound when one of them is lost, or not what the signed document
// says: then they are made again, from all orders, and revoke more than before but never less.
func (p *Publisher) lists(ctx context.Context, d *draft) (was map[string]document.Stored, sound bool, err error) {
	was = map[string]document.Stored{}
	if d.from.Revocations == (identity.Version{}) {
		return was, false, nil
	}
	doc, err := p.config.Place.Revocations(ctx)
	if err != nil {
		return nil, false, err
	}
	have, err := d.trust.OpenRevocations(doc)
	if err != nil {
		return was, false, nil //nolint:nilerr // as said above
	}
	for _, list := range both {
		stored, err := p.config.Place.Stored(ctx, list)
		if errors.Is(err, revoked.ErrMalformed) || err == nil && !stored.Set.Is(have.Sum(list)) {
			return map[string]document.Stored{}, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		was[list] = stored
	}
	return was, true, nil
}

// keep says how a list is stored: as a change of the base that it had, or as a base of its own.
func (p *Publisher) keep(ctx context.Context, was document.Stored, set revoked.Set) (document.Stored, error) {
	now := document.Stored{Base: was.Base, From: was.From, Set: set}
	if len(revoked.Diff(now.From, set)) <= changeEntries*revoked.Size {
		return now, nil
	}
	base, err := p.config.Place.PutList(ctx, set)
	return document.Stored{Base: base, From: set, Set: set}, err
}

// sealRevocations signs the revocations; locks that don't fit into a document are a fault, since none may be left out.
func (p *Publisher) sealRevocations(d *draft) (err error) {
	d.revocations, err = document.Seal(document.KindRevocations, document.Revocations{
		Cluster: p.config.Cluster, Version: d.to.Revocations, IssuedAt: d.now, Trust: d.to.Trust, Policy: d.to.Policy,
		Locks: d.locks, Users: d.lists[revoked.Users].Sum(), Agents: d.lists[revoked.Agents].Sum(),
	}, d.signer)
	if errors.Is(err, document.ErrTooLarge) {
		return fault.Newf(fault.TooLarge, "remove locks that are not needed", "nothing was published: %d locks don't fit into the %d KiB of the revocations document",
			len(d.locks), document.MaxRevocations>>10).Because(err)
	}
	return err
}

// tellCoarse records that there was no room to revoke one by one.
func (p *Publisher) tellCoarse(ctx context.Context, d draft) error {
	for _, list := range both {
		c := d.coarse[list]
		if c == (revoked.Coarse{}) {
			continue
		}
		e := p.event(audit.ListCoarsened)
		e.TargetKind, e.Target, e.Outcome = "document", "revocations", audit.Denied
		e.Reason = fmt.Sprintf("the list of %s had no room: %d entries were replaced by coarser ones", list, c.Entries)
		if e.Data = map[string]string{"list": list, "groups": fmt.Sprint(c.Groups), "entries": fmt.Sprint(c.Entries)}; c.Everybody {
			e.Data["everybody"] = "true"
			e.Reason += ", at last by one for all of them"
		}
		if err := p.config.Inputs.Record(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (p *Publisher) event(t audit.Type) audit.Event {
	e := audit.New(t, p.config.Entropy, p.config.Now())
	e.Cluster, e.Actor, e.Source = p.config.Cluster, "function/publish", "function/publish"
	return e
}
