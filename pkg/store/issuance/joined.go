package issuance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// joinedFor is how long evidence and keys that joined may join again: as long as a secret may be valid.
const joinedFor = 7 * 24 * time.Hour

func joinedKey(key string) table.Key {
	return table.Key{PK: names.Joined + "#" + key, SK: names.Joined}
}

// Joined returns the agent that joined by evidence and keys; the zero value when there is none. An agent that was removed has
// left only its id.
func (s *Store) Joined(ctx context.Context, key string, now time.Time) (issue.Joined, error) {
	item, err := s.Secrets.Get(ctx, joinedKey(key))
	if errors.Is(err, table.ErrNotFound) || err == nil && item.Int("until_ms") <= now.UnixMilli() {
		return issue.Joined{}, nil
	}
	if err != nil {
		return issue.Joined{}, err
	}
	was := issue.Joined{Agent: item.Text("held_by")}
	record, err := s.State.Get(ctx, table.Key{PK: names.Agent, SK: was.Agent})
	if errors.Is(err, table.ErrNotFound) {
		return was, nil
	}
	if err != nil {
		return issue.Joined{}, err
	}
	if was.Host, err = identity.ParseHost([]byte(record.Text("identity"))); err != nil {
		return issue.Joined{}, fmt.Errorf("reading the record of %s: %w", was.Agent, err)
	}
	was.Expires = time.UnixMilli(record.Int("expires_ms"))
	return was, nil
}

// joined writes down by which evidence and keys an agent joins. Two that join by the same at the same time are one agent: the
// one that comes second has to be told so, and not that its name is taken.
func (s *Store) joined(a issue.Admission) table.Op {
	key, until := joinedKey(a.Repeat), a.Intent.At.Add(joinedFor)
	return s.Secrets.PutOp(table.Item{
		names.PK: table.String(key.PK), names.SK: table.String(key.SK), "held_by": table.String(a.Host.ID),
		"until_ms": table.Int(until.UnixMilli()), names.Expires: table.Int(until.Add(time.Hour).Unix()),
	}, "attribute_not_exists(pk) OR held_by = :stale OR until_ms <= :now", table.Item{
		":stale": table.String(a.Stale), ":now": table.Int(a.Intent.At.UnixMilli()),
	})
}
