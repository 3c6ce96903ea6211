package issuance

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// A bound of n agents is n places, numbered items of one partition: an agent is admitted by the transaction in which it takes
// one that nobody holds. So the bound holds however many join at once, and unlike with a counter nothing is lost when an agent
// is gone without a word: a place that was not kept is free.

// picks is how often places are picked: each time one of them was taken by another meanwhile.
const picks = 48

// errPicked says that a place is no longer as it was when it was picked.
var errPicked = errors.New("another agent took the place")

// places picks one within each bound: the agent's own if it has one, or else any that is free. A renewal of a certificate in
// force goes on without one where none is left, since the bound may have been lowered, or be younger than the agent.
func (s *Store) places(ctx context.Context, a issue.Admission) ([]table.Key, error) {
	var all []table.Key
	for _, b := range a.Bounds {
		items, err := s.State.List(ctx, names.Place+"#"+b.Of)
		if err != nil {
			return nil, err
		}
		n, found := pick(items, a.Host.ID, b.Most, a.Intent.At)
		switch {
		case found:
			all = append(all, table.Key{PK: names.Place + "#" + b.Of, SK: n})
		case !a.InForce:
			return nil, &issue.FullError{Bound: b}
		}
	}
	return all, nil
}

// pick returns the number of the place that the agent holds, or of one that is free. Where the bound was lowered, agents in places beyond it
// count as well: as many of the free ones are kept free, always the last, so that however many pick at the same time, they
// get no more than there is room for. Within that it is any of them, so that they don't all pick the same.
func pick(items []table.Item, agent string, most int, now time.Time) (n string, found bool) {
	held, room := map[string]bool{}, most
	for _, i := range items {
		switch {
		case i.Int("until_ms") <= now.UnixMilli():
		case i.Text("held_by") == agent:
			return i.Text(names.SK), true
		default:
			held[i.Text(names.SK)] = true
			room--
		}
	}
	var free []string
	for i := 0; i < most && len(free) < room; i++ {
		if n := strconv.Itoa(i); !held[n] {
			free = append(free, n)
		}
	}
	if len(free) == 0 {
		return "", false
	}
	return free[rand.IntN(len(free))], true
}

// take holds a place for the agent, if it is the agent's own or nobody holds it.
func (s *Store) take(p table.Key, a issue.Admission) table.Op {
	return s.State.PutOp(table.Item{
		names.PK: table.String(p.PK), names.SK: table.String(p.SK), "held_by": table.String(a.Host.ID),
		"until_ms": table.Int(a.Places.UnixMilli()), names.Expires: table.Int(a.Places.Add(time.Hour).Unix()),
	}, "attribute_not_exists(pk) OR held_by = :agent OR until_ms <= :now", table.Item{
		":agent": table.String(a.Host.ID), ":now": table.Int(a.Intent.At.UnixMilli()),
	})
}
