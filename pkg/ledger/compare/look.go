package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/compare/owed"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/query/holding"
	"github.com/stile-dev/stile/pkg/relay"
	"github.com/stile-dev/stile/pkg/table"
)

// Bounds of a look.
const (
	mostKeys     = 150_000 // that are held at once, of the lake's or of the ledger's
	mostBetween  = 20_000  // keys that are asked for though they are alike, rather than to ask twice
	mostUnsent   = 200     // events that are held until they are sent again
	mostExamples = 8       // keys of which an event tells, and
	mostExample  = 160     // bytes of one
)

// part is what the ledger has of a span of receipts.
type part struct {
	sum     holding.Sum
	altered int      // items that aren't what was received under their receipts
	strange []string // some of them
}

// look compares an hour from where the last look stopped, and sends again what is missing if it may. It reports whether it came to
// the end; if it didn't, what it found is kept and the next look goes on.
func (r *run) look(ctx context.Context, h *owed.Hour, send bool) (bool, error) {
	from := h.From
	if h.At.After(from) {
		from = h.At
	}
	if !from.Before(h.End()) {
		return true, nil
	}
	lake, err := r.digests(ctx, from, h.End())
	if err != nil {
		return false, err
	}
	parts, until, err := r.read(ctx, from, h.End())
	if err != nil {
		return false, err
	}
	for _, s := range stretches(from, until, parts, lake) {
		if err := r.stretch(ctx, h, s, send); err != nil {
			return false, err
		}
		h.At = s.to
		if err := r.save(ctx); err != nil {
			return false, err
		}
		if r.over() {
			break
		}
	}
	return !h.At.Before(h.End()), nil
}

// spanOf is where the span of a time begins.
func spanOf(t time.Time) time.Time {
	ms := t.UnixMilli()
	return time.UnixMilli(ms - ms%holding.Width.Milliseconds()).UTC()
}

// read reads what the ledger has between two times, by spans, as long as there is time for it, but one span at least. It returns
// until when that is all.
func (r *run) read(ctx context.Context, from, to time.Time) (map[string]*part, time.Time, error) {
	parts := map[string]*part{}
	for position := reader.Begin(from); ; {
		items, next, err := reader.Stored(ctx, r.config.DynamoDB, r.config.Events, position, to)
		if err != nil {
			return nil, from, err
		}
		for _, i := range items {
			p := parts[holding.Span(i.Text(names.SK))]
			if p == nil {
				p = &part{}
				parts[holding.Span(i.Text(names.SK))] = p
			}
			p.take(i)
		}
		if position = next; next == "" {
			return parts, to, nil
		}
		if at, ok := reader.Reached(position); ok && r.over() && spanOf(at).After(from) {
			return parts, spanOf(at), nil
		}
	}
}

func (p *part) take(i table.Item) {
	if ready, err := itemOf(i).Ready(); err == nil {
		p.sum.Add(keyOf(ready))
	}
	if altered(i) {
		p.altered++
		p.strange = some(p.strange, []string{i.Text(names.SK) + " " + i.Text(names.PK)})
	}
}

func itemOf(i table.Item) relay.Item {
	return relay.Item{
		Partition: i.Text(names.PK), Receipt: i.Text(names.SK), Received: time.UnixMilli(i.Int("received_ms")).UTC(), Event: i.Text("event"),
	}
}

func keyOf(r relay.Ready) string { return holding.Key(r.Receipt, r.Writer, r.ID) }

// altered reports whether an item isn't what a writer put under its receipt, which has the beginning of the event's digest: then
// something was put in its place.
func altered(i table.Item) bool {
	return i.Text(names.SK) != ledger.Receipt(time.UnixMilli(i.Int("received_ms")), []byte(i.Text("event")))
}

// stretch is a time of which the ledger and the lake have the same, or one of which they don't.
type stretch struct {
	from, to time.Time
	differ   bool
	keys     int  // of the ledger or the lake, whichever has more
	any      bool // the lake has any
	looked   int
	altered  int
	strange  []string
}

// stretches puts spans together: those that are alike, and those that differ, as many as can be held at once.
func stretches(from, until time.Time, parts map[string]*part, lake map[string]digest) (all []stretch) {
	for _, s := range bridge(each(from, until, parts, lake)) {
		last := len(all) - 1
		if last < 0 || all[last].differ != s.differ || s.differ && all[last].keys+s.keys > mostKeys {
			all = append(all, s)
			continue
		}
		l := &all[last]
		l.to, l.keys, l.any, l.looked, l.altered = s.to, l.keys+s.keys, l.any || s.any, l.looked+s.looked, l.altered+s.altered
		l.strange = some(l.strange, s.strange)
	}
	return all
}

// each compares the digests of each span.
func each(from, until time.Time, parts map[string]*part, lake map[string]digest) (all []stretch) {
	var spans []string
	for at := spanOf(from); at.Before(until); at = at.Add(holding.Width) {
		spans = append(spans, holding.SpanAt(at))
		all = append(all, stretch{from: later(at, from), to: earlier(at.Add(holding.Width), until)})
	}
	odd := oddities(spans, lake)
	for n, name := range spans {
		p, there, s := parts[name], lake[name], &all[n]
		if p == nil {
			p = &part{}
		}
		keys, of := p.sum.Digest()
		s.looked, s.altered, s.strange = keys, p.altered, p.strange
		s.keys, s.any = max(keys, there.keys+odd[n]), there.keys+odd[n] > 0
		s.differ = odd[n] > 0 || keys != there.keys || keys > 0 && of != there.of
	}
	return all
}

// bridge has spans compared key by key that lie between two which differ, if they are small: a question costs more than those.
func bridge(all []stretch) []stretch {
	last, between := -1, 0
	for n, s := range all {
		if !s.differ {
			between += s.keys
			continue
		}
		if last >= 0 && between <= mostBetween {
			for i := last + 1; i < n; i++ {
				all[i].differ = true
			}
		}
		last, between = n, 0
	}
	return all
}

// oddities counts what the lake has between the spans, under what can be no receipt, for each span that it comes after. What comes
// after the last is of a time that was not read.
func oddities(spans []string, lake map[string]digest) []int {
	odd := make([]int, len(spans))
	for name, d := range lake {
		n, is := slices.BinarySearch(spans, name)
		switch {
		case is:
		case n == 0 && len(spans) > 0:
			odd[0] += d.keys
		case n < len(spans) || n > 0 && name < next(spans[n-1]):
			odd[n-1] += d.keys
		}
	}
	return odd
}

// next is the span behind one.
func next(span string) string {
	last, err := ulid.ParseStrict(span + strings.Repeat("0", ulid.EncodedSize-len(span)))
	if err != nil {
		return span
	}
	return holding.SpanAt(ulid.Time(last.Time()).Add(holding.Width))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// stretch counts what is wrong in one. Of what fails nothing is counted.
func (r *run) stretch(ctx context.Context, h *owed.Hour, s stretch, send bool) error {
	d := difference{}
	switch {
	case s.differ && s.keys > mostKeys:
		h.Unproved = some(h.Unproved, []string{fmt.Sprintf("%d events in the half minute from %s are more than can be compared one by one", s.keys, s.from.Format(time.RFC3339))})
	case s.differ:
		var err error
		if d, err = r.differ(ctx, s, send); err != nil {
			return err
		}
	}
	h.Looked += s.looked
	h.Missing += d.missing
	h.Foreign += len(d.foreign)
	h.Altered += s.altered
	h.Lacking = some(h.Lacking, d.lacking)
	h.Strange = some(some(h.Strange, s.strange), d.foreign)
	return nil
}

// some adds examples to examples as long as there is room.
func some(had, more []string) []string {
	for _, e := range more[:min(len(more), max(mostExamples-len(had), 0))] {
		had = append(had, checked.Short(e, mostExample))
	}
	return had
}

// difference is what one side has and the other hasn't.
type difference struct {
	missing int
	lacking []string // some of them
	foreign []string
}

// differ compares keys, and sends again what the lake lacks if it may.
func (r *run) differ(ctx context.Context, s stretch, send bool) (d difference, err error) {
	lake := map[string]bool{}
	if s.any {
		if lake, err = r.keys(ctx, s.from, s.to); err != nil {
			return d, err
		}
	}
	var unsent []relay.Ready
	for position := reader.Begin(s.from); position != ""; {
		var items []table.Item
		if items, position, err = reader.Stored(ctx, r.config.DynamoDB, r.config.Events, position, s.to); err != nil {
			return d, err
		}
		for _, i := range items {
			ready, err := itemOf(i).Ready()
			if err != nil {
				continue // the relay has kept it aside, which rings
			}
			key := keyOf(ready)
			if _, there := lake[key]; there {
				lake[key] = true
				continue
			}
			d.missing++
			d.lacking = some(d.lacking, []string{key})
			unsent = append(unsent, ready)
		}
		if len(unsent) >= mostUnsent || position == "" {
			if unsent, err = nil, r.send(ctx, unsent, send); err != nil {
				return d, err
			}
		}
	}
	for key, met := range lake {
		if !met {
			d.foreign = append(d.foreign, key)
		}
	}
	slices.Sort(d.foreign)
	return d, nil
}

func (r *run) send(ctx context.Context, some []relay.Ready, may bool) error {
	if !may || len(some) == 0 {
		return nil
	}
	n, err := r.config.Bus.Send(ctx, some)
	r.report.Sent += n
	return err
}
