// Package gap finds what is missing in the ledger: agents number their events, so that a number that isn't there, though a
// higher one is, was lost or kept back on its way.
//
// Only what is proven to be an agent's counts, so that nobody else can open a gap or fill one. Functions don't number what they
// write themselves, and what proxies say of themselves any proxy can write.
//
// The rule: a look goes through all that the ledger received since the last one, and through some of before again. A number that
// is missing below one that arrived, or below what the first event of the next epoch says, is in a gap. One that arrives
// later leaves it. What is still missing when a look has read [Patience] beyond the event that showed the gap is told, once, and
// isn't kept any longer: if it arrives after that, no event says so, and its own receipt does.
//
// Its entry point is [New].
package gap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Patience is how long a gap may last before it is told: what agents bring may arrive in another order.
const Patience = 15 * time.Minute

// Bounds of a look.
const (
	again      = 5 * time.Minute // how much of what was looked at is looked at again; more than [ledger.Late]
	begin      = time.Hour       // how far back the first look goes
	mostBehind = time.Hour       // how old what was read last may be before the look fails
	page       = 2000            // events that are judged at once
	atOnce     = 16              // sources that are read or written at once
	forget     = ledger.Keep / 3 // how long a source is kept beyond what stays of it in the ledger
	kept       = ledger.Keep + forget
)

// Ledger is where gaps are told.
type Ledger interface {
	Append(context.Context, ...audit.Event) error
}

// Config is what a look needs.
type Config struct {
	DynamoDB table.API
	Events   string // name of the ledger's table
	State    string // name of the table where a look keeps how far it is
	Ledger   Ledger
	// Trust returns the trust documents by which agents' signatures are verified, none while there is none.
	Trust   func(context.Context) ([]document.Trust, error)
	Cluster string
	For     time.Duration // after which a look reads no further; the next one goes on
}

// Looker looks for gaps. Of two that look at once, one gives way to the other where they meet.
type Looker struct {
	config Config
	state  table.Table
}

// New makes a looker.
func New(c Config) *Looker { return &Looker{c, table.Table{API: c.DynamoDB, Name: c.State}} }

// Told is a gap that a look told.
type Told struct {
	Gap

	Source string // agent/<id>
	More   int    // gaps of the source that were found and not told one by one
}

// Look reads on in the ledger and tells the gaps that are old enough. One that fails, or is cut off, is made good by the next.
func (l *Looker) Look(ctx context.Context, now time.Time) ([]Told, error) {
	now = now.UTC().Truncate(time.Millisecond)
	trust, err := l.config.Trust(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for gaps in the ledger: %w", err)
	}
	if len(trust) == 0 {
		return nil, nil // there can be no agents yet
	}
	at, err := l.place(ctx, now)
	if err != nil {
		return nil, fmt.Errorf("looking for gaps in the ledger: %w", err)
	}
	if err := l.read(ctx, &at, now, trust); table.Conflicts(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("looking for gaps in the ledger: %w", err)
	}
	if at.Position != "" { // what would fill a gap may not have been read
		if now.Sub(at.Until) > mostBehind {
			return nil, fmt.Errorf("looking for gaps in the ledger: it receives more than is looked at: all of it was until %s", at.Until.Format(time.RFC3339))
		}
		return nil, nil
	}
	told, err := l.tell(ctx, now)
	if err != nil {
		return told, fmt.Errorf("telling of gaps in the ledger: %w", err)
	}
	return told, nil
}

// place is how far the looks are.
type place struct {
	Began    time.Time       `json:"began"`              // what was received before isn't known
	Until    time.Time       `json:"until"`              // what was received before was looked at
	Position string          `json:"position,omitempty"` // where to go on, when a look didn't come to its end
	Counted  time.Time       `json:"counted,omitzero"`   // from when on Hours has everything
	Hours    map[int64]tally `json:"hours,omitempty"`    // what was received in an hour, by when it began, in seconds since 1970

	revision int64
}

var keyLooked = table.Key{PK: names.Looked, SK: "ledger"}

// place reads how far the looks are. What the ledger doesn't hold any more is passed over, and what was known of sources with it. So
// it is when a look had a clock that was ahead: how far it really read, nobody knows.
func (l *Looker) place(ctx context.Context, now time.Time) (place, error) {
	var p place
	var err error
	if p.revision, err = l.get(ctx, keyLooked, &p); err != nil {
		return p, err
	}
	switch oldest := now.Add(-ledger.Keep); {
	case p.revision == 0, p.Until.After(now.Add(again)):
		p.Began, p.Position = now.Add(-begin), ""
		p.Until, p.Counted, p.Hours = p.Began, p.Began, nil
	case p.Until.Before(oldest):
		p.Began, p.Until, p.Position = oldest, oldest, ""
		p.Counted, p.Hours = oldest, nil
	case p.Counted.IsZero(): // of a release that didn't count
		p.Counted = p.Until
	}
	if p.Position == "" {
		from := p.Until.Add(-again)
		if from.Before(p.Began) {
			from = p.Began
		}
		p.Position = reader.Begin(from)
	}
	return p, nil
}

// read goes on to now, or for as long as it may, a page at least. How far it is, is kept after what was learned until then.
func (l *Looker) read(ctx context.Context, at *place, now time.Time, trust []document.Trust) error {
	sources := &sources{of: map[string]*held{}}
	for stop, more := time.Now().Add(l.config.For), true; more; more = at.Position != "" && time.Now().Before(stop) {
		span := reader.Span{After: at.Position, Until: now, Limit: page, Writer: names.WriterAgent}
		entries, next, err := reader.Received(ctx, l.config.DynamoDB, l.config.Events, span, numbered, trust...)
		if err != nil {
			return err
		}
		if err := l.learn(ctx, sources, entries, *at); err != nil {
			return err
		}
		at.count(entries)
		if at.Position = next; next == "" {
			at.Until = now
		}
		if at.revision, err = l.put(ctx, keyLooked, at, at.revision, time.Time{}); err != nil {
			return err
		}
		if len(sources.of) > 10*page {
			sources.of = map[string]*held{} // they are read again
		}
	}
	return nil
}

// numbered reports whether an event has a number.
func numbered(e audit.Event) bool { return e.Seq > 0 && e.SourceEpoch != "" }

// held is a source with the revision of its item.
type held struct {
	source

	revision int64
}

// sources are those of a look.
type sources struct {
	mu sync.Mutex
	of map[string]*held // by id
}

// learn takes entries, in the order of their receipts.
func (l *Looker) learn(ctx context.Context, known *sources, entries []reader.Entry, at place) error {
	by := map[string][]reader.Entry{}
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Event.Source, names.WriterAgent+"/"); ok && e.Standing == reader.Proven {
			by[id] = append(by[id], e)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for id, entries := range by {
		known.mu.Lock()
		s := known.of[id]
		known.mu.Unlock()
		g.Go(func() (err error) {
			if s == nil {
				if s, err = l.source(ctx, id); err != nil {
					return err
				}
				if s.Heard.Before(at.Began) {
					s.source = source{}
				}
				known.mu.Lock()
				known.of[id] = s
				known.mu.Unlock()
			}
			return l.count(ctx, id, s, entries, at.Began)
		})
	}
	return g.Wait()
}

// count has a source learn from its events, and keeps what that changed. An item that says when to look at its gaps comes first:
// one for nothing does no harm.
func (l *Looker) count(ctx context.Context, id string, s *held, entries []reader.Entry, began time.Time) error {
	before, err := json.Marshal(s.source)
	if err != nil {
		return err
	}
	all := since(id, began)
	for _, e := range entries {
		s.take(e.Event, e.Received, all && !made(id).Before(e.Received.Add(-kept)))
	}
	if len(s.Gaps) > 0 && s.Due == "" {
		if err := l.schedule(ctx, id, s); err != nil {
			return err
		}
	}
	if after, err := json.Marshal(s.source); err != nil || string(after) == string(before) {
		return err
	}
	return l.keep(ctx, id, s)
}

// since reports whether an agent joined after a time.
func since(id string, t time.Time) bool { return made(id).After(t) }

// made is when an agent's id was made: when it joined. It is the zero time of what is no id.
func made(id string) time.Time {
	u, err := ulid.ParseStrict(strings.ToUpper(strings.TrimPrefix(id, "agt_")))
	if err != nil {
		return time.Time{}
	}
	return ulid.Time(u.Time()).UTC()
}

func keyOf(id string) table.Key { return table.Key{PK: names.Counted + "#" + id, SK: names.Counted} }

// source reads what is kept of a source; of one that is new, nothing.
func (l *Looker) source(ctx context.Context, id string) (*held, error) {
	var h held
	var err error
	h.revision, err = l.get(ctx, keyOf(id), &h.source)
	return &h, err
}

// keep writes what is kept of a source.
func (l *Looker) keep(ctx context.Context, id string, s *held) (err error) {
	s.revision, err = l.put(ctx, keyOf(id), s.source, s.revision, s.Heard.Add(kept))
	return err
}

// get reads an item's value and its revision, 0 when there is none.
func (l *Looker) get(ctx context.Context, key table.Key, into any) (revision int64, err error) {
	i, err := l.state.Get(ctx, key)
	if errors.Is(err, table.ErrNotFound) {
		return 0, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(i.Text("value")), into)
	}
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", key.PK, err)
	}
	return i.Int("revision"), nil
}

// put replaces the value of an item that is as it was read, and returns its next revision.
func (l *Looker) put(ctx context.Context, key table.Key, value any, revision int64, expires time.Time) (int64, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("writing %s: %w", key.PK, err)
	}
	i := table.Item{
		names.PK: table.String(key.PK), names.SK: table.String(key.SK), "value": table.String(string(b)), "revision": table.Int(revision + 1),
	}
	if !expires.IsZero() {
		i[names.Expires] = table.Int(expires.Unix())
	}
	if revision == 0 {
		return 1, l.state.Create(ctx, i)
	}
	return revision + 1, l.state.PutIf(ctx, i, "revision = :was", table.Item{":was": table.Int(revision)})
}
