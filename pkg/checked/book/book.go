// Package book keeps how far each check of the evidence is, and writes its statements: one for each hour, in their order.
//
// Its entry point is [New].
package book

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Ledger is where statements are kept.
type Ledger interface {
	Ops(audit.Event) ([]table.Op, error)
}

// Config is what a book needs.
type Config struct {
	DynamoDB table.API
	State    string // name of the table where it is kept how far each check is
	Ledger   Ledger
	Cluster  string
	Writer   string // whose events the statements are: function/<name>
	Entropy  io.Reader
}

// Book keeps how far each check is. It is safe for concurrent use.
type Book struct {
	config Config
	state  table.Table
}

// New makes a book.
func New(c Config) *Book { return &Book{c, table.Table{API: c.DynamoDB, Name: c.State}} }

const until = "until_ms" // the end of the last hour that was stated

func key(check string) table.Key { return table.Key{PK: names.Checked, SK: check} }

// Next returns the oldest hour without a statement of the check that ended patience ago or longer, by when it begins. ok is false
// when there is none yet. The first hour of all is [checked.First] when Next is called for the first time.
func (b *Book) Next(ctx context.Context, check string, now time.Time, patience time.Duration) (from time.Time, ok bool, err error) {
	last := now.UTC().Add(-patience).Truncate(checked.Hour).Add(-checked.Hour) // the newest that is old enough
	i, err := b.state.Get(ctx, key(check))
	if err == nil {
		from = time.UnixMilli(i.Int(until)).UTC()
		return from, !from.After(last), nil
	}
	if !errors.Is(err, table.ErrNotFound) {
		return time.Time{}, false, fmt.Errorf("looking up how far the check of %s is: %w", check, err)
	}
	first := table.Item{names.PK: table.String(names.Checked), names.SK: table.String(check), until: table.Int(checked.First(now).UnixMilli())}
	if err := b.state.Create(ctx, first); table.Conflicts(err) {
		return b.Next(ctx, check, now, patience)
	} else if err != nil {
		return time.Time{}, false, fmt.Errorf("beginning the check of %s: %w", check, err)
	}
	return time.Time{}, false, nil
}

// State writes what a check says of the hour that Next returned. An hour that somebody else has stated meanwhile stays as it is.
func (b *Book) State(ctx context.Context, s checked.Statement) error {
	event, err := b.config.Ledger.Ops(s.Event(b.config.Cluster, b.config.Writer, b.config.Entropy, time.Now()))
	if err != nil {
		return fmt.Errorf("stating the check of %s: %w", s.Check, err)
	}
	on := table.Item{
		names.PK: table.String(names.Checked), names.SK: table.String(s.Check), until: table.Int(s.To.UnixMilli()),
	}
	next := b.state.PutOp(on, until+" = :from", table.Item{":from": table.Int(s.From.UnixMilli())})
	if err := table.Transact(ctx, b.config.DynamoDB, append([]table.Op{next}, event...)...); err != nil && !table.Conflicts(err) {
		return fmt.Errorf("stating the check of %s: %w", s.Check, err)
	}
	return nil
}

// mostHours is how many hours of a check one run states.
const mostHours = 48

// Run states the hours whose turn it is, for as long as judge is ready to say something of them, and returns the statements. An hour
// that can't be judged waits, with all that come after it.
func (b *Book) Run(
	ctx context.Context, check string, now time.Time, patience time.Duration,
	judge func(ctx context.Context, from time.Time) (s checked.Statement, ready bool, err error),
) (all []checked.Statement, err error) {
	for range mostHours {
		from, ok, err := b.Next(ctx, check, now, patience)
		if err != nil || !ok {
			return all, err
		}
		s, ready, err := judge(ctx, from)
		if err != nil {
			return all, fmt.Errorf("checking the %s of %s: %w", check, from.Format(time.RFC3339), err)
		}
		if !ready {
			return all, nil
		}
		if err := b.State(ctx, s); err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Behind returns how long ago the last hour ended that a check has stated, or how long ago its first one began; 0 before.
func (b *Book) Behind(ctx context.Context, check string, now time.Time) (time.Duration, error) {
	until, err := Until(ctx, b.state, check)
	if err != nil || until.After(now) || until.IsZero() {
		return 0, err
	}
	return now.Sub(until), nil
}

// Until returns the end of the last hour that a check has stated, or where its first one begins, as the table of state has it; zero
// before it has looked.
func Until(ctx context.Context, state table.Table, check string) (time.Time, error) {
	i, err := state.Get(ctx, key(check))
	if errors.Is(err, table.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("looking up how far the check of %s is: %w", check, err)
	}
	return time.UnixMilli(i.Int(until)).UTC(), nil
}
