// Package compare holds the ledger against the lake, an hour of receipts at a time: what the ledger received and the lake lacks is
// put on the bus again, and told if that doesn't help; what the lake has and the ledger doesn't is told.
//
// What is compared of an event is under which receipt it stands, in whose partition, and its id, see [holding.Key]. The lake is asked
// for digests of spans of receipts first, and for the keys themselves only of spans whose digests differ.
//
// The rule: an hour is looked at [Patience] after its end, what is missing is sent again, and a second look, [Settle] later, says
// what is missing still. That is told, and stated of the hour, and the hour is owed: it is looked at again, ever more seldom, until
// the lake has all of it or the ledger doesn't hold it any more. While the lake gets nothing at all, nothing that is owed is sent:
// it would wait where all else waits.
//
// Its entry point is [New].
package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/compare/owed"
	"github.com/stile-dev/stile/pkg/query/holding"
	"github.com/stile-dev/stile/pkg/relay"
	"github.com/stile-dev/stile/pkg/table"
)

// Patience is how long after its end an hour is looked at: until then what it received is on its way.
const Patience = 30 * time.Minute

// Settle is how long what was sent again has to arrive before the next look.
const Settle = 10 * time.Minute

// Bounds of a comparison.
const (
	mostBehind = 3 * time.Hour              // how long ago the oldest hour that wasn't looked at may have ended before a run fails
	expire     = ledger.Keep - 24*time.Hour // how old an hour is when it isn't owed any longer: soon the ledger forgets it
	seldom     = 24 * time.Hour             // the longest time between two looks at an hour that is owed
)

// Ledger is where findings are told.
type Ledger interface {
	Append(context.Context, ...audit.Event) error
}

// Bus takes events again. It returns how many it took, and an error when some have to be sent once more.
type Bus interface {
	Send(context.Context, []relay.Ready) (int, error)
}

// Book keeps which hours were stated, see package checked.
type Book interface {
	Next(ctx context.Context, check string, now time.Time, patience time.Duration) (from time.Time, ok bool, err error)
	State(context.Context, checked.Statement) error
}

// Config is what a comparer needs.
type Config struct {
	DynamoDB table.API
	Events   string // name of the ledger's table
	State    string // name of the table where it is kept how far the comparing is
	Ledger   Ledger
	Bus      Bus
	Book     Book
	Lake     holding.Lake
	Cluster  string
	For      time.Duration // after which a run begins nothing more; the next one goes on
}

// Comparer compares. Of two that compare at once, one gives way to the other.
type Comparer struct {
	config Config
	state  table.Table
}

// New makes a comparer.
func New(c Config) *Comparer { return &Comparer{c, table.Table{API: c.DynamoDB, Name: c.State}} }

// Report is what a run came to.
type Report struct {
	Found   int                 // events told in this run: missing in the lake, or not as they should be
	Sent    int                 // events that were sent again
	Stated  []checked.Statement // of the hours whose turn it was
	Owed    int                 // hours of which the lake still lacks something
	GivenUp []time.Time         // hours that aren't owed any longer, though the lake never had all of them
}

// run is a call of Compare.
type run struct {
	*Comparer

	now    time.Time
	stop   time.Time // when it begins nothing more
	kept   owed.Kept
	report Report
}

// Compare goes on with comparing. A run that fails, or is cut off, is made good by the next.
func (c *Comparer) Compare(ctx context.Context, now time.Time) (Report, error) {
	r := &run{Comparer: c, now: now.UTC().Truncate(time.Millisecond), stop: time.Now().Add(c.config.For)}
	var err error
	r.kept, err = owed.Load(ctx, r.state)
	if err == nil {
		err = r.newest(ctx)
	}
	if err == nil {
		err = r.owed(ctx)
	}
	r.report.Owed = len(r.kept.Owed)
	if table.Conflicts(err) {
		return r.report, nil
	}
	if err != nil {
		return r.report, fmt.Errorf("comparing the ledger with the lake: %w", err)
	}
	return r.report, nil
}

// save leaves what is known to the next run.
func (r *run) save(ctx context.Context) error { return r.kept.Save(ctx, r.state) }

func (r *run) over() bool { return !time.Now().Before(r.stop) }

// newest judges the hours that weren't stated yet, the oldest first.
func (r *run) newest(ctx context.Context) error {
	for {
		if r.kept.Front == nil {
			from, ok, err := r.config.Book.Next(ctx, checked.Lake, r.now, Patience)
			if err != nil || !ok {
				return err
			}
			r.kept.Front = &owed.Hour{From: from}
		}
		h := r.kept.Front
		behind := r.now.Sub(h.End()) > mostBehind
		if h.Settled.IsZero() && r.now.Sub(h.From) > expire {
			if err := r.conclude(ctx, h, "it was looked at when the ledger didn't hold all of it any more"); err != nil {
				return err
			}
			continue
		}
		if h.Settled.IsZero() {
			judged, err := r.judge(ctx, h)
			switch {
			case err != nil && !table.Conflicts(err) && behind:
				return errors.Join(err, r.conclude(ctx, h, "the lake could not be compared with the ledger: "+checked.Short(err.Error(), mostReason)))
			case errors.Is(err, errSlow):
				return nil
			case err != nil:
				return err
			case !judged && behind:
				return fmt.Errorf("it is behind: what was received from %s on is not compared yet", h.From.Format(time.RFC3339))
			case !judged:
				return nil
			}
		}
		if err := r.conclude(ctx, h, ""); err != nil || r.over() {
			return err
		}
	}
}

// judge looks at an hour, unless it isn't time to yet, and reports whether what it found is all that there is to say.
func (r *run) judge(ctx context.Context, h *owed.Hour) (bool, error) {
	if h.Due.After(r.now) || r.over() {
		return false, nil
	}
	if done, err := r.look(ctx, h, h.Looks == 0); err != nil || !done {
		return false, err
	}
	if h.Looks++; h.Looks == 1 {
		r.kept.Dark = h.Looked > 0 && h.Missing == h.Looked
	}
	if h.Missing > 0 && h.Looks == 1 {
		h.Again(r.now.Add(Settle))
		return false, r.save(ctx)
	}
	return true, nil
}

// conclude tells what was found of an hour and states it. What that says is settled before, so that a run that is cut off in between
// leaves the next one the same to say. What the hour may lack is owed from then on.
func (r *run) conclude(ctx context.Context, h *owed.Hour, unproved string) error {
	if h.Settled.IsZero() {
		if h.Settled = r.now; unproved != "" {
			h.Unproved = append(h.Unproved, unproved)
		}
		if err := r.save(ctx); err != nil {
			return err
		}
	}
	if err := r.tell(ctx, h); err != nil {
		return err
	}
	s := h.Statement()
	if err := r.config.Book.State(ctx, s); err != nil {
		return err
	}
	r.report.Stated = append(r.report.Stated, s)
	if h.Missing > 0 || len(h.Unproved) > 0 {
		told := h.Missing+h.Foreign+h.Altered > 0
		r.kept.Owed = append(r.kept.Owed, owed.Hour{From: h.From, Looks: h.Looks, Told: told, Due: r.now.Add(Settle)})
	}
	r.kept.Front = nil
	return r.save(ctx)
}

// owed looks again at the hours of which the lake lacked something, the oldest first.
func (r *run) owed(ctx context.Context) error {
	for n := 0; n < len(r.kept.Owed) && !r.over(); {
		h := &r.kept.Owed[n]
		gone, err := false, error(nil)
		switch {
		case r.now.Sub(h.From) > expire:
			gone, r.report.GivenUp = true, append(r.report.GivenUp, h.From)
		case r.kept.Dark || h.Due.After(r.now):
		default:
			gone, err = r.settle(ctx, h)
		}
		if err != nil {
			if errors.Is(err, errSlow) {
				return nil
			}
			return err
		}
		if !gone {
			n++
			continue
		}
		r.kept.Owed = slices.Delete(r.kept.Owed, n, n+1)
		if err := r.save(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle looks at an hour that is owed, and reports whether the lake has all of it now.
func (r *run) settle(ctx context.Context, h *owed.Hour) (bool, error) {
	if h.Settled.IsZero() {
		if done, err := r.look(ctx, h, true); err != nil || !done {
			return false, err
		}
		h.Looks++
	}
	if !h.Told && (h.Missing == 0 || h.Looks > 1) {
		if h.Settled.IsZero() {
			h.Settled = r.now
			if err := r.save(ctx); err != nil {
				return false, err
			}
		}
		if err := r.tell(ctx, h); err != nil {
			return false, err
		}
		h.Settled, h.Told = time.Time{}, true
	}
	if h.Missing == 0 && len(h.Unproved) == 0 {
		return true, nil
	}
	h.Again(r.now.Add(wait(h.Looks)))
	return false, r.save(ctx)
}

// wait is how long an hour that is owed rests after so many looks, of which two were before it was stated.
func wait(looks int) time.Duration {
	return min(Settle<<min(max(looks-3, 0), 16), seldom)
}
