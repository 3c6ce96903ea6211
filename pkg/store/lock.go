package store

import (
	"context"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/names"
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
