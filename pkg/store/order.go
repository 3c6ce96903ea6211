package store

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// OrderItem writes an order to revoke. It leaves the table an hour after what it ends has ended by itself.
func OrderItem(o revoked.Order) table.Item {
	item := table.Item{
		names.PK: table.String(names.Order), names.SK: table.String(keyOrder(o.Seq).SK), "target": table.String(o.Ref.Target), "value": table.String(o.Ref.Value),
		"until_ms": table.Int(o.Until.UnixMilli()), names.Expires: table.Int(o.Until.Add(time.Hour).Unix()),
	}
	if o.Group != (identity.Ref{}) {
		item["group_target"], item["group_value"] = table.String(o.Group.Target), table.String(o.Group.Value)
	}
	if o.Reserve {
		item["reserve"] = table.Int(1)
	}
	return item
}

func keyOrder(seq int64) table.Key { return table.Key{PK: names.Order, SK: fmt.Sprintf("%016d", seq)} }

// ordersAtOnce is how many orders are read in one call.
const ordersAtOnce = 1000

// fewOrders is how many orders are read at once in a way that shows them as they are.
const fewOrders = 100

// Orders returns the orders to revoke after one number, up to another, and accounts for each. A Query reads item by
// item, and can miss an order whose transaction the counter has already shown, or show what a restored table had under its
// number; so a few are read in a way that can't, as are those that a Query of many misses.
func (s *Store) Orders(ctx context.Context, after, upto int64) (run revoked.Run, err error) {
	if after >= upto {
		return run, nil
	}
	if upto-after > fewOrders {
		if run.Orders, err = s.orders(ctx, after, upto); err != nil {
			return revoked.Run{}, err
		}
	}
	var missing []table.Key
	next := after + 1
	for _, o := range run.Orders {
		for ; next < o.Seq; next++ {
			missing = append(missing, keyOrder(next))
		}
		next++
	}
	for ; next <= upto; next++ {
		missing = append(missing, keyOrder(next))
	}
	return run, s.find(ctx, &run, missing)
}

// find adds to a run what a Query of it missed.
func (s *Store) find(ctx context.Context, run *revoked.Run, missing []table.Key) error {
	found, busy, err := s.State.Settled(ctx, missing)
	if err != nil {
		return err
	}
	for _, k := range missing {
		o, err := order(table.Item{names.SK: table.String(k.SK)})
		if err != nil {
			return err
		}
		item, there := found[k]
		switch {
		case slices.Contains(busy, k):
			run.Pending = append(run.Pending, o.Seq)
		case !there:
			run.Gone = append(run.Gone, o.Seq)
		default:
			if o, err = order(item); err != nil {
				return err
			}
			run.Orders = append(run.Orders, o)
		}
	}
	slices.SortFunc(run.Orders, func(x, y revoked.Order) int { return cmp.Compare(x.Seq, y.Seq) })
	return nil
}

// AllOrders returns the orders to revoke that are there, in their order. Some may be over.
func (s *Store) AllOrders(ctx context.Context) ([]revoked.Order, error) {
	return s.orders(ctx, 0, math.MaxInt64)
}

func (s *Store) orders(ctx context.Context, after, upto int64) (all []revoked.Order, err error) {
	last := keyOrder(after).SK
	for more := true; more; {
		var items []table.Item
		if items, more, err = s.State.Page(ctx, names.Order, last, ordersAtOnce); err != nil {
			return nil, err
		}
		for _, i := range items {
			o, err := order(i)
			if err != nil {
				return nil, err
			}
			if o.Seq > upto {
				return all, nil
			}
			all, last = append(all, o), i.Text(names.SK)
		}
	}
	return all, nil
}

func order(i table.Item) (o revoked.Order, err error) {
	if _, err = fmt.Sscanf(i.Text(names.SK), "%d", &o.Seq); err != nil {
		return o, fmt.Errorf("reading the order to revoke %q: %w", i.Text(names.SK), err)
	}
	o.Ref = identity.Ref{Target: i.Text("target"), Value: i.Text("value")}
	o.Group = identity.Ref{Target: i.Text("group_target"), Value: i.Text("group_value")}
	o.Reserve, o.Until = i.Int("reserve") == 1, time.UnixMilli(i.Int("until_ms")).UTC()
	return o, nil
}
