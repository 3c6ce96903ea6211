// Package canary tries the way from the ledger to the lake: it writes one event in each hour that has a value in every field, and looks
// for it in the lake when the hour is over, column by column. So a column that arrives as NULL, or as something else, is noticed
// though nobody asks for it.
//
// It is about the columns. Whether all events arrive, package compare tells. Its entry points are [Canary.Write] and [Canary.Hour].
package canary

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/audit/arrival"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/query/holding"
	"github.com/stile-dev/stile/pkg/table"
)

// Patience is how long after its end an hour is looked at: until then what it received is on its way.
const Patience = 30 * time.Minute

// Bounds of a look.
const (
	give   = 90 * time.Minute // after the end of an hour: until then a canary that isn't there, or can't be asked for, is waited for
	poll   = 2 * time.Second  // between two looks at a question
	within = time.Minute      // how long one is waited for: the next run asks again
	most   = 300              // bytes that a statement says of an error
)

// edge is how long before the end of an hour none is written any more: its receipt might be of the next.
const edge = time.Minute

// errSlow says that the lake has not answered yet.
var errSlow = errors.New("the lake has not answered yet")

// Ledger is where a canary is written.
type Ledger interface {
	OpAt(audit.Event) (table.Op, table.Key, error)
}

// Config is what a canary needs.
type Config struct {
	DynamoDB table.API
	Events   string // name of the ledger's table
	State    string // name of the table where it is kept which canaries were written
	Ledger   Ledger
	Lake     holding.Lake
	Cluster  string
	Entropy  io.Reader
}

// Canary writes canaries and looks for them.
type Canary struct {
	config Config
	state  table.Table
	events table.Table
}

// New makes one.
func New(c Config) *Canary {
	return &Canary{c, table.Table{API: c.DynamoDB, Name: c.State}, table.Table{API: c.DynamoDB, Name: c.Events}}
}

// Attributes of what is kept of a canary: where it stands in the ledger.
const (
	at    = "at"    // partition
	under = "under" // receipt
)

func key(hour time.Time) table.Key {
	return table.Key{PK: names.Looked, SK: "canary#" + hour.UTC().Format(ledger.HourForm)}
}

// Write writes the canary of the hour that is now, unless there is one. It is kept in the same transaction where it stands, so that
// no run can write a second.
func (c *Canary) Write(ctx context.Context, now time.Time) error {
	hour := now.UTC().Truncate(checked.Hour)
	if hour.Add(checked.Hour - edge).Before(now) {
		return nil
	}
	if _, err := c.state.Get(ctx, key(hour)); !errors.Is(err, table.ErrNotFound) {
		return err
	}
	e, err := event(c.config.Cluster, c.config.Entropy, now)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ledger.Late/2) // as all who write events give up
	defer cancel()
	op, place, err := c.config.Ledger.OpAt(e)
	if err != nil {
		return fmt.Errorf("writing a canary: %w", err)
	}
	k := key(hour)
	kept := c.state.CreateOp(table.Item{
		names.PK: table.String(k.PK), names.SK: table.String(k.SK), at: table.String(place.PK), under: table.String(place.SK),
		names.Expires: table.Int(now.Add(ledger.Keep).Unix()),
	})
	if err := table.Transact(ctx, c.config.DynamoDB, kept, op); err != nil && !table.Conflicts(err) {
		return fmt.Errorf("writing a canary: %w", err)
	}
	return nil
}

// Hour states whether each column of the canary of an hour arrived in the lake. ready is false while it may still arrive, or be asked
// for.
func (c *Canary) Hour(ctx context.Context, from time.Time) (s checked.Statement, ready bool, err error) {
	s = checked.Statement{Check: checked.Canaries, From: from, To: from.Add(checked.Hour)}
	kept, err := c.state.Get(ctx, key(from))
	if errors.Is(err, table.ErrNotFound) {
		s.Unproved = "no canary was written in the hour"
		return s, true, nil
	}
	if err != nil {
		return s, false, err
	}
	bus, err := c.written(ctx, table.Key{PK: kept.Text(at), SK: kept.Text(under)})
	if errors.Is(err, errAltered) {
		s.Looked, s.Found, s.Unproved = len(names.LakeColumns), len(names.LakeColumns), short(err.Error())
		return s, true, nil
	}
	if err != nil {
		return s, false, err
	}
	rows, err := c.ask(ctx, kept.Text(under))
	waits := time.Since(s.To) < give
	switch {
	case errors.Is(err, errSlow) && waits, err == nil && len(rows) == 0 && waits:
		return s, false, nil
	case err != nil && waits:
		return s, false, err
	case err != nil:
		s.Unproved = "the lake could not be asked for the canary: " + short(err.Error())
	case len(rows) == 0:
		s.Unproved = "the lake doesn't have the canary of the hour"
	default:
		if err := compare(&s, bus, rows); err != nil {
			return s, false, err
		}
	}
	return s, true, nil
}

// compare says of each column whether it arrived.
func compare(s *checked.Statement, bus []byte, rows [][]string) error {
	wrong, empty, err := holding.Differing(bus, rows)
	if err != nil {
		return err
	}
	s.Looked, s.Found, s.Which = len(names.LakeColumns)-len(empty), len(wrong), strings.Join(wrong, ", ")
	if len(empty) > 0 {
		s.Unproved = "the canary says nothing in the columns " + strings.Join(empty, ", ")
	}
	return nil
}

// errAltered says that the ledger doesn't have a canary as it was written.
var errAltered = errors.New("the ledger doesn't have the canary as it was written")

// written returns what was put on the bus of a canary. The ledger must have it where it was written, and as it was: its receipt has the
// beginning of its digest.
func (c *Canary) written(ctx context.Context, k table.Key) ([]byte, error) {
	item, err := c.events.Get(ctx, k)
	if errors.Is(err, table.ErrNotFound) {
		return nil, fmt.Errorf("%w: nothing is there", errAltered)
	}
	if err != nil {
		return nil, err
	}
	for _, e := range reader.Judge([]table.Item{item}).Entries {
		if e.Standing != reader.Proven || e.Event.Type != audit.EvidenceCanary {
			return nil, fmt.Errorf("%w: it is a %s, %s %s", errAltered, e.Event.Type, e.Standing, e.Why)
		}
	}
	a, err := arrival.Of(k.PK, k.SK, item.Text("event"), item.Int("received_ms"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAltered, err)
	}
	return a.JSON()
}

// ask asks the lake for all that it has under a receipt.
func (c *Canary) ask(ctx context.Context, receipt string) (rows [][]string, err error) {
	began := time.Now()
	a, err := c.config.Lake.Ask(ctx, holding.Request{Ask: holding.Row, Receipt: receipt})
	if err != nil {
		return nil, err
	}
	for id, cursor := a.ID, ""; ; {
		a, err = c.config.Lake.Ask(ctx, holding.Request{ID: id, Cursor: cursor})
		switch {
		case err != nil:
			return nil, err
		case a.Why != "":
			return nil, fmt.Errorf("asking the lake: %s", a.Why)
		case !a.Done && time.Since(began) > within:
			return nil, errSlow
		case !a.Done:
			if err := pause(ctx); err != nil {
				return nil, err
			}
			continue
		}
		rows = append(rows, a.Rows...)
		if cursor = a.Next; cursor == "" || len(rows) > holding.MostRows {
			return rows, whole(rows)
		}
	}
}

// whole fails unless rows have as many columns as they should, and are as many as each says, or as one question finds.
func whole(rows [][]string) error {
	for _, r := range rows {
		if len(r) != holding.Columns[holding.Row] {
			return fmt.Errorf("asking the lake: a row has %d columns and not %d", len(r), holding.Columns[holding.Row])
		}
		if total, err := strconv.Atoi(r[len(r)-1]); err != nil || min(total, holding.MostRows) != len(rows) {
			return fmt.Errorf("asking the lake: %d rows came, of %s", len(rows), short(r[len(r)-1]))
		}
	}
	return nil
}

func pause(ctx context.Context) error {
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// short is as much of a text as a statement says of an error.
func short(text string) string { return checked.Short(text, most) }
