package store

import (
	"context"
	"fmt"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Locks returns the current locks, some of which may have expired. What a newer release may have written there is a lock
// as well: whatever it is, it takes something away.
func (s *Store) Locks(ctx context.Context) (locks []document.Lock, err error) {
	items, err := s.State.List(ctx, names.Lock)
	if err != nil {
		return nil, err
	}
	for _, i := range items {
		l := document.Lock{ID: i.Text(names.SK), Target: i.Text("target"), Value: i.Text("value"), Reason: i.Text("reason")}
		if ms := i.Int("expires_ms"); ms != 0 {
			until := time.UnixMilli(ms).UTC()
			l.Expires = &until
		}
		locks = append(locks, l)
	}
	return locks, nil
}

// OrderItem writes an order to revoke. It leaves the table an hour after what it ends has ended by itself.
func OrderItem(o revoked.Order) table.Item {
	item := table.Item{
		names.PK: table.String(names.Order), names.SK: table.String(orderKey(o.Seq)), "target": table.String(o.Ref.Target), "value": table.String(o.Ref.Value),
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

func orderKey(seq int64) string { return fmt.Sprintf("%016d", seq) }

// ordersAtOnce is how many orders are read in one call.
const ordersAtOnce = 1000

// Orders returns the orders to revoke after the one of a number, in their order. Some may be over.
func (s *Store) Orders(ctx context.Context, after int64) (all []revoked.Order, err error) {
	last := orderKey(after)
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
