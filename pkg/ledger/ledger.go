// Package ledger writes audit events and the intents of issuance to the table ledger, the path of record:
// what is there was reported, and nothing there is changed. An event stays in this table for 30 days.
//
// Its entry points are [New], and [Item] for code that writes an event in the transaction of a change.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Shards is how many partitions the events of a day are spread over.
const Shards = 8

// keep is how long an item stays.
const keep = 30 * 24 * time.Hour

// Config says where the ledger is.
type Config struct {
	DynamoDB table.API
	Table    string
}

// Ledger appends events. It may be used by several goroutines.
type Ledger struct{ table table.Table }

// New makes a ledger.
func New(c Config) *Ledger { return &Ledger{table.Table{API: c.DynamoDB, Name: c.Table}} }

// Append writes events; when it returns nil, the ledger has them all. An event whose id is there already
// is left alone: appending again after a lost answer is right, and nobody overwrites what was reported.
// Invalid events are refused before anything is written.
func (l *Ledger) Append(ctx context.Context, events ...audit.Event) error {
	items := make([]table.Item, len(events))
	for i, e := range events {
		item, err := Item(e)
		if err != nil {
			return err
		}
		items[i] = item
	}
	var g errgroup.Group
	g.SetLimit(8)
	for _, item := range items {
		g.Go(func() error {
			err := l.table.Create(ctx, item)
			if _, there := errors.AsType[*table.Conflict](err); there {
				return nil
			}
			return err
		})
	}
	return g.Wait()
}

// Op is the operation that appends a valid event within a transaction.
func (l *Ledger) Op(e audit.Event) (table.Op, error) {
	item, err := Item(e)
	if err != nil {
		return table.Op{}, err
	}
	return l.table.CreateOp(item), nil
}

// Table returns the ledger's table, for the transactions of code that writes more than events.
func (l *Ledger) Table() table.Table { return l.table }

// Item writes a valid event as an item.
func Item(e audit.Event) (table.Item, error) {
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("writing event %s: %w", e.Type, err)
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("writing event %s: %w", e.Type, err)
	}
	return table.Item{
		names.PK: table.String(Partition(e)), names.SK: table.String(e.ID), "event": table.String(string(b)),
		"type": table.String(string(e.Type)), names.Expires: table.Int(e.Time.Add(keep).Unix()),
	}, nil
}

// Partition returns where an event is: event#<day>#<shard>. The same event is always in the same place.
func Partition(e audit.Event) string {
	h := fnv.New32a()
	h.Write([]byte(e.ID))
	return fmt.Sprintf("%s#%s#%d", names.Event, e.Time.UTC().Format(time.DateOnly), h.Sum32()%Shards)
}
