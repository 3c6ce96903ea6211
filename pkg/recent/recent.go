// Package recent takes out of the ledger what it received last, and puts it beside the lake, which has it some minutes later: as a
// file with the lake's columns, of which Athena makes rows of the table [names.LakeRecent].
//
// Each question has a file of its own, which is written once before the question is asked. So it has all that the ledger had by
// then, and nobody's later question changes it while it is read. It says nothing of what an event is worth, like the lake. Its entry
// point is [New].
package recent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/stile-dev/stile/pkg/audit/arrival"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/query"
	"github.com/stile-dev/stile/pkg/table"
)

// Back is how far back the ledger is read. The lake has an event two minutes after the ledger when nothing is wrong, and an alarm rings
// within 40 minutes when Firehose writes nothing.
const Back = 45 * time.Minute

// Bounds of one reading. It goes from the newest back, so that what there is no room for is what the lake has soonest.
const (
	atOnce    = 24              // partitions that are read at once
	ofEach    = 500             // items of one that are read at once, if they are no more than 1 MB
	mostItems = 20_000          // after which no more are read
	mostBytes = 24_000_000      // of their events, the same
	page      = 1 << 20         // bytes at which DynamoDB ends a page
	enough    = 5 * time.Second // the same
	within    = 15 * time.Second
)

// Config says where the ledger is, and what keeps a file.
type Config struct {
	DynamoDB table.API
	Table    string
	// Keep puts an object under a key that has none.
	Keep func(ctx context.Context, key string, body []byte) error
	Now  func() time.Time // nil is time.Now
}

// Taker takes. It is safe for concurrent use.
type Taker struct {
	table table.Table
	keep  func(ctx context.Context, key string, body []byte) error
	now   func() time.Time
}

var _ query.Recent = (*Taker)(nil)

// New makes a taker.
func New(c Config) *Taker {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Taker{table.Table{API: c.DynamoDB, Name: c.Table}, c.Keep, c.Now}
}

// Take puts beside the lake, for one question, the events that happened from since until before until and that the ledger received
// lately. It returns from when on it has all that was received: [Back] before now, or later when that was too much. It fails with
// [fault.Unavailable] when it can't read the ledger or put the file: then nobody knows what an answer lacks.
func (t *Taker) Take(ctx context.Context, question string, since, until, now time.Time) (from time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	r := reading{table: t.table, since: since, until: until, places: placesOf(now)}
	for more, began := true, t.now(); more && t.now().Sub(began) < enough; {
		if more, err = r.round(ctx); err != nil {
			return time.Time{}, unavailable(err)
		}
	}
	if rows := r.rows(); len(rows) > 0 {
		file, err := encode(rows)
		if err == nil {
			err = t.keep(ctx, names.RecentPrefix+names.RecentQuestion+"="+question+"/events.parquet", file)
		}
		if err != nil {
			return time.Time{}, unavailable(err)
		}
	}
	return r.from(now), nil
}

func unavailable(err error) error {
	return fault.New(fault.Unavailable, "what the audit log received last can't be added to the lake, and no answer is better than one that lacks it", "try again in a minute").Because(err)
}

// place is a partition that is read from its end back.
type place struct {
	pk, first, last string    // keys between which it is read
	end             time.Time // of its day, or now
	before          string    // the key that the next page is before; "" at first
	all             bool      // it is read to its beginning
	rows            []row
	items           int
	bytes           int
}

// placesOf are all that may have what was received lately: after midnight those of two days, the newer day first.
func placesOf(now time.Time) (all []*place) {
	first, last := now.Add(-Back), now.Add(ledger.Late) // another writer's clock may be ahead
	for day := last.UTC().Truncate(24 * time.Hour); day.Add(24 * time.Hour).After(first); day = day.Add(-24 * time.Hour) {
		end := now
		if next := day.Add(24 * time.Hour); next.Before(now) {
			end = next
		}
		for _, pk := range ledger.Partitions(day) {
			all = append(all, &place{pk: pk, first: ledger.Floor(first), last: ledger.Floor(last), end: end})
		}
	}
	return all
}

// reading is what is read for one question.
type reading struct {
	table        table.Table
	since, until time.Time
	places       []*place
}

// round reads a page of each partition of a day that has more, and reports whether there is more to read and room for it. An older
// day waits, so that it takes no room from what is newer.
func (r *reading) round(ctx context.Context) (more bool, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	day := slices.IndexFunc(r.places, func(p *place) bool { return !p.all })
	for _, p := range r.places {
		if !p.all && p.end.Equal(r.places[day].end) {
			g.Go(func() error { return r.page(ctx, p) })
		}
	}
	if err := g.Wait(); err != nil {
		return false, fmt.Errorf("reading the ledger: %w", err)
	}
	items, size := 0, 0
	for _, p := range r.places {
		items, size, more = items+p.items, size+p.bytes, more || !p.all
	}
	return more && items < mostItems && size < mostBytes, nil
}

// page reads one page. What has no place in the lake has none here.
func (r *reading) page(ctx context.Context, p *place) error {
	items, more, err := r.table.Back(ctx, p.pk, p.first, p.last, p.before, ofEach)
	if err != nil {
		return err
	}
	if more && len(items) < ofEach { // whatever is in these items, it was much
		p.bytes += page
	}
	for _, i := range items {
		p.before = strings.Clone(i.Text(names.SK))
		p.items, p.bytes = p.items+1, p.bytes+len(i.Text("event"))
		a, err := arrival.Of(p.pk, p.before, i.Text("event"), i.Int("received_ms"))
		if err != nil || a.Event.Time.Before(r.since) || !a.Event.Time.Before(r.until) {
			continue
		}
		if row, err := rowOf(a); err == nil {
			p.rows = append(p.rows, row)
		}
	}
	p.all = !more
	return nil
}

func (r *reading) rows() (all []row) {
	for _, p := range r.places {
		all = append(all, p.rows...)
	}
	return all
}

// from is when what was read begins: everything that was received then and later is there.
func (r *reading) from(now time.Time) time.Time {
	from := now.Add(-Back)
	for _, p := range r.places {
		if at := p.reached(); !p.all && at.After(from) {
			from = at
		}
	}
	return from
}

// reached is the moment behind the receipt at which reading ended. What stands there under a key that is no receipt says nothing.
func (p *place) reached() time.Time {
	if len(p.before) < len(p.first) {
		return p.end
	}
	id, err := ulid.ParseStrict(p.before[:len(p.first)] + strings.Repeat("0", ulid.EncodedSize-len(p.first)))
	if err != nil {
		return p.end
	}
	return ulid.Time(id.Time()).UTC().Add(time.Millisecond)
}
