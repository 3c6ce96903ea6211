package store

import (
	"context"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Kinds of items of entity lock: a lock shuts its target out while it lasts; the other revokes what was issued before.
const (
	lockStands = "lock"
	lockBefore = "before"
)

// BeforeItem writes an entry that revokes what was issued before it.
func BeforeItem(l document.Lock, at time.Time) table.Item {
	return table.Item{
		names.PK: table.String(names.Lock), names.SK: table.String(l.ID), "kind": table.String(lockBefore),
		"target": table.String(l.Target), "value": table.String(l.Value), "at_ms": table.Int(at.UnixMilli()),
		"expires_ms": table.Int(l.Expires.UnixMilli()), names.Expires: table.Int(l.Expires.Add(time.Hour).Unix()),
	}
}

// Locks returns the current locks and, beside them, the current revocations. Some may have expired.
func (s *Store) Locks(ctx context.Context) (locks, revoked []document.Lock, err error) {
	items, err := s.State.List(ctx, names.Lock)
	if err != nil {
		return nil, nil, err
	}
	for _, i := range items {
		l := document.Lock{ID: i.Text(names.SK), Target: i.Text("target"), Value: i.Text("value"), Reason: i.Text("reason")}
		if ms := i.Int("expires_ms"); ms != 0 {
			until := time.UnixMilli(ms).UTC()
			l.Expires = &until
		}
		switch i.Text("kind") {
		case lockBefore:
			revoked = append(revoked, l)
		default: // lockStands, and what a newer release may have written: whatever it is, it takes something away
			locks = append(locks, l)
		}
	}
	return locks, revoked, nil
}
