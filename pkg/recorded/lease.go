package recorded

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// shards are the last characters that ids have: each has a partition of leases, since all agents renew theirs all the time.
const shards = "0123456789abcdefghjkmnpqrstvwxyz"

// recorder is the key of a recording's lease.
func recorder(session string) table.Key {
	return table.Key{PK: names.Recorder + "#" + session[len(session)-1:], SK: session}
}

// Hold keeps a lease in place of the one that is there.
func (r Store) Hold(ctx context.Context, l archive.Lease) error {
	key := recorder(l.Session)
	return r.table.Put(ctx, table.Item{
		names.PK: table.String(key.PK), names.SK: table.String(key.SK), "agent_id": table.String(l.Agent), "until_ms": table.Int(l.Until.UnixMilli()),
	})
}

// Lapsed returns leases that ended before a time, at most so many. Each call begins at another partition: who makes many ids
// can choose what they end with.
func (r Store) Lapsed(ctx context.Context, now time.Time, most int) ([]archive.Lease, error) {
	var out []archive.Lease
	first := rand.N(len(shards))
	for _, shard := range shards[first:] + shards[:first] {
		for after, more := "", true; more; {
			items, next, err := r.table.Page(ctx, names.Recorder+"#"+string(shard), after, pageSize)
			if err != nil {
				return nil, err
			}
			for _, i := range items {
				l := archive.Lease{Session: i.Text(names.SK), Agent: i.Text("agent_id"), Until: time.UnixMilli(i.Int("until_ms")).UTC()}
				if after = l.Session; l.Until.Before(now) {
					out = append(out, l)
				}
				if len(out) == most {
					return out, nil
				}
			}
			more = next && len(items) > 0
		}
	}
	return out, nil
}

// pageSize is how many leases are read at once.
const pageSize = 1000

// Lapses fails with [archive.ErrHeardOf] unless the lease is still as it was found.
func (r Store) Lapses(ctx context.Context, l archive.Lease) error {
	i, err := r.table.Get(ctx, recorder(l.Session))
	if errors.Is(err, table.ErrNotFound) || err == nil && i.Int("until_ms") != l.Until.UnixMilli() {
		return archive.ErrHeardOf
	}
	return err
}

// Abandon marks an entry and drops its lease, unless the agent has been heard of meanwhile, or the recording is complete.
func (r Store) Abandon(ctx context.Context, e archive.Entry, l archive.Lease) error {
	is := e
	is.Abandoned = true
	ops, err := r.replace(e, is, "agent_id = :was AND attribute_not_exists(ended_ms)")
	if err != nil {
		return err
	}
	return heardOf(table.Transact(ctx, r.table.API, append(ops, r.table.DeleteOp(recorder(l.Session), lapsed, until(l)))...))
}

// Drop removes a lease, unless the agent has been heard of meanwhile.
func (r Store) Drop(ctx context.Context, l archive.Lease) error {
	return heardOf(r.table.DeleteIf(ctx, recorder(l.Session), lapsed, until(l)))
}

const lapsed = "until_ms = :until"

func until(l archive.Lease) table.Item { return table.Item{":until": table.Int(l.Until.UnixMilli())} }

// heardOf turns a failed condition into [archive.ErrHeardOf].
func heardOf(err error) error {
	if table.Conflicts(err) {
		return archive.ErrHeardOf
	}
	return err
}
