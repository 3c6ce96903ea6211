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
//
// An epoch begins with a table that was restored. What was revoked since its backup is not in it, so every user is revoked.
// Agents are not: those that joined by a secret that is used up could never come back.
func (p *Publisher) revoke(ctx context.Context, d *draft) error {
	d.to.Revocations = next(d.from.Trust, d.from.Revocations)
	was, sound, err := p.lists(ctx, d)
	if err != nil {
		return err
	}
	orders, err := p.orders(ctx, d, sound)
	if err != nil {
		return err
	}
	if d.begun = d.from.Beginning() || len(was) == 0 && d.begunLately(); d.begun {
		orders = append(orders, revoked.All(revoked.Users, p.config.Now()))
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

// orders returns the orders to take in: those after the last one that is in the lists, up to the last one that was given; all
// that are there, when the lists are not sound or the counter is behind them, as in a table that was restored. Each
// number was given to an order, so none is passed over:
//
//   - One that is still being written is in force with a later publication. The lists count as being without it and what
//     came after, which is then taken in again, and the run tells that it isn't done. What can be published is.
//   - One that is gone, and should not be, may have revoked anybody: everybody is revoked. Making the lists again from all
//     orders would not help, as it is missing there as well; and to wait for it would let somebody stay for as long.
//   - One that is gone since it is over has nothing left to end.
func (p *Publisher) orders(ctx context.Context, d *draft, sound bool) (all []revoked.Order, err error) {
	after := min(d.from.Orders, d.count.Orders)
	if !sound || after < d.from.Orders {
		if all, err = p.config.Inputs.AllOrders(ctx); err != nil {
			return nil, err
		}
	}
	run, err := p.config.Inputs.Orders(ctx, after, d.count.Orders)
	if err != nil {
		return nil, err
	}
	if d.to.Orders = d.count.Orders; len(run.Pending) > 0 {
		d.to.Orders = slices.Min(run.Pending) - 1
		d.late = fault.New(fault.Unavailable, "a revocation is still being written to the table, and not in force yet", "try again in a few seconds")
	}
	gone := slices.DeleteFunc(run.Gone, func(seq int64) bool { return seq > d.to.Orders })
	all = append(all, run.Orders...)
	if now := p.config.Now(); len(gone) > 0 && revoked.Lost(d.issued, now) {
		d.lost = gone
		all = append(all, revoked.Everybody(now)...)
	}
	return all, nil
}

// lists returns the lists in force. They are not sound when one of them is lost, or not what the signed document
// says, or when that document is not the head's, which says what orders are in the lists: then they are made again, from all
// orders that are there.
//
// Nor are they sound when a key signed them that was replaced since: somebody else may have used it. But not all that they hold
// is in an order, as that an epoch has begun, so they are kept then, and the orders come to them.
func (p *Publisher) lists(ctx context.Context, d *draft) (was map[string]document.Stored, sound bool, err error) {
	was = map[string]document.Stored{}
	if d.from.Revocations == (identity.Version{}) {
		return was, false, nil
	}
	doc, err := p.config.Place.Revocations(ctx)
	if err != nil {
		return nil, false, err
	}
	have, sound, err := d.inForce(doc)
	if err != nil || have.Version != d.from.Revocations {
		return was, false, nil //nolint:nilerr // as said above
	}
	d.issued = have.IssuedAt
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
	return was, sound, nil
}

// inForce opens the revocations in force, and reports whether their key still signs. One that was replaced is looked for in the
// trust documents before.
func (d *draft) inForce(doc document.Signed) (have document.Revocations, signs bool, err error) {
	have, err = d.trust.OpenRevocations(doc)
	if err == nil || !errors.Is(err, document.ErrRetired) {
		return have, err == nil, err
	}
	for _, trust := range slices.Backward(d.former) {
		if have, err := trust.OpenRevocations(doc); err == nil {
			return have, false, nil
		}
	}
	return document.Revocations{}, false, err
}

// begunLately reports whether what an epoch revoked when it began can be alive still.
func (d *draft) begunLately() bool {
	began := d.trust
	for _, t := range slices.Backward(d.former) {
		if t.Version.Epoch == began.Version.Epoch {
			began = t
		}
	}
	return began.Version.Epoch > 1 && d.now.Before(began.IssuedAt.Add(revoked.Life(revoked.Users)))
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

// tellCoarse records that more was revoked than was asked for.
func (p *Publisher) tellCoarse(ctx context.Context, d draft) error {
	for _, list := range both {
		c := d.coarse[list]
		begun := list == revoked.Users && d.begun
		if c == (revoked.Coarse{}) && len(d.lost) == 0 && !begun {
			continue
		}
		e := p.event(audit.ListCoarsened)
		e.TargetKind, e.Target, e.Outcome = "document", "revocations", audit.Denied
		e.Data = map[string]string{"list": list, "groups": fmt.Sprint(c.Groups), "entries": fmt.Sprint(c.Entries)}
		if c != (revoked.Coarse{}) {
			e.Reason = fmt.Sprintf("the list of %s had no room: %d entries were replaced by coarser ones", list, c.Entries)
		}
		if c.Everybody {
			e.Data["everybody"] = "true"
			e.Reason += ", at last by one for all of them"
		}
		if len(d.lost) > 0 {
			e.Data["everybody"], e.Data["lost"] = "true", fmt.Sprint(len(d.lost))
			e.Reason = fmt.Sprintf("%d orders to revoke, the first of them number %d, are no longer in the table though they were never in force: all %s are revoked in their place",
				len(d.lost), d.lost[0], list)
		}
		if begun {
			e.Data["everybody"], e.Data["epoch"] = "true", fmt.Sprint(d.to.Revocations.Epoch)
			e.Reason = fmt.Sprintf("epoch %d begins with a restored table, which lacks what was revoked since its backup: all %s are revoked",
				d.to.Revocations.Epoch, list)
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
