package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/ledger/compare/owed"
	"github.com/stile-dev/stile/pkg/query/holding"
)

const (
	poll   = 2 * time.Second  // between two looks at a question
	oldest = 30 * time.Minute // how long a question is waited for: then Athena has ended it
)

// errSlow says that the lake has not answered yet. The question is kept, and the next run goes on with it.
var errSlow = errors.New("the lake has not answered yet")

// begun returns the id of a question that is on its way, "" when it isn't.
func (r *run) begun(what string, from, to time.Time) string {
	for _, a := range r.kept.Asked {
		if a.What == what && a.From.Equal(from) && a.To.Equal(to) {
			return a.ID
		}
	}
	return ""
}

// forget drops questions that were answered, and those that are too old.
func (r *run) forget(id string) {
	r.kept.Asked = slices.DeleteFunc(r.kept.Asked, func(a owed.Asked) bool { return a.ID == id || r.now.Sub(a.At) > oldest })
}

// ask asks the lake and waits for all rows.
func (r *run) ask(ctx context.Context, what string, from, to time.Time) ([][]string, error) {
	r.forget("")
	id := r.begun(what, from, to)
	if id == "" {
		a, err := r.config.Lake.Ask(ctx, holding.Request{Ask: what, From: from, To: to})
		if err != nil {
			return nil, err
		}
		id = a.ID
		r.kept.Asked = append(r.kept.Asked, owed.Asked{What: what, From: from, To: to, ID: id, At: r.now})
		if err := r.save(ctx); err != nil {
			return nil, err
		}
	}
	rows, err := r.answer(ctx, id, holding.Columns[what])
	if errors.Is(err, errSlow) {
		return nil, err
	}
	r.forget(id) // what failed is asked again
	if err != nil {
		return nil, errors.Join(err, r.save(ctx))
	}
	return rows, nil
}

// answer waits for a question's end and reads what it found.
func (r *run) answer(ctx context.Context, id string, columns int) (rows [][]string, err error) {
	for cursor := ""; ; {
		a, err := r.config.Lake.Ask(ctx, holding.Request{ID: id, Cursor: cursor})
		if err != nil {
			return nil, err
		}
		if a.Why != "" {
			return nil, fmt.Errorf("asking the lake: %s", a.Why)
		}
		if !a.Done {
			if err := r.pause(ctx); err != nil {
				return nil, err
			}
			continue
		}
		for _, row := range a.Rows {
			if len(row) != columns {
				return nil, fmt.Errorf("asking the lake: a row has %d columns and not %d", len(row), columns)
			}
		}
		rows = append(rows, a.Rows...)
		if cursor = a.Next; cursor == "" {
			return rows, whole(rows)
		}
		if len(rows) > 2*mostKeys {
			return nil, fmt.Errorf("asking the lake: it has more than %d rows", len(rows))
		}
	}
}

// whole fails unless there are as many rows as each says in its last column.
func whole(rows [][]string) error {
	for _, row := range rows {
		if total := row[len(row)-1]; total != strconv.Itoa(len(rows)) {
			return fmt.Errorf("asking the lake: %d rows came, of %s", len(rows), checked.Short(total, mostExample))
		}
	}
	return nil
}

func (r *run) pause(ctx context.Context) error {
	if r.over() {
		return errSlow
	}
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// digest is what the lake has of a span.
type digest struct {
	keys int
	of   string
}

// digests asks for those of all spans between two times.
func (r *run) digests(ctx context.Context, from, to time.Time) (map[string]digest, error) {
	rows, err := r.ask(ctx, holding.Digests, from, to)
	if err != nil {
		return nil, err
	}
	all := map[string]digest{}
	for _, row := range rows {
		n, err := strconv.Atoi(row[1])
		if err != nil {
			return nil, fmt.Errorf("asking the lake: a span has %q keys", checked.Short(row[1], mostExample))
		}
		all[row[0]] = digest{n, row[2]}
	}
	return all, nil
}

// keys asks for all keys between two times. Each is false: it wasn't met in the ledger.
func (r *run) keys(ctx context.Context, from, to time.Time) (map[string]bool, error) {
	rows, err := r.ask(ctx, holding.Keys, from, to)
	if err != nil {
		return nil, err
	}
	all := make(map[string]bool, len(rows))
	for _, row := range rows {
		all[row[0]] = false
	}
	return all, nil
}
