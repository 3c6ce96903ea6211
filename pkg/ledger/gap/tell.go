package gap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Bounds of what a look tells.
const (
	mostSources = 250 // whose gaps it tells; those that wait longest come first
	mostOf      = 4   // of one source; the last of them says how many more there are
)

// due is the sort key of the item that says when to look at a source's gaps.
func due(at time.Time, id string) string { return fmt.Sprintf("%013d#%s", at.UnixMilli(), id) }

// schedule has a source's gaps looked at when the oldest has waited long enough. Each source has one such item.
func (l *Looker) schedule(ctx context.Context, id string, s *held) error {
	at := s.first().Add(Patience)
	s.Due = due(at, id)
	return l.state.Put(ctx, table.Item{
		names.PK: table.String(names.Gap), names.SK: table.String(s.Due), names.Expires: table.Int(at.Add(kept).Unix()),
	})
}

// tell tells the gaps that are old enough. One source that can't be told of holds up no other.
func (l *Looker) tell(ctx context.Context, now time.Time) ([]Told, error) {
	waiting, _, err := l.state.Page(ctx, names.Gap, "", mostSources)
	if err != nil {
		return nil, err
	}
	var all []Told
	var failed []error
	for _, i := range waiting {
		when := i.Text(names.SK)
		_, id, ok := strings.Cut(when, "#")
		if !ok || when >= due(now.Add(time.Millisecond), "") {
			break
		}
		told, err := l.tellOf(ctx, id, when, now)
		all = append(all, told...)
		if ctx.Err() != nil {
			return all, errors.Join(append(failed, ctx.Err())...)
		}
		if err != nil && !table.Conflicts(err) {
			failed = append(failed, fmt.Errorf("agent %s: %w", id, err))
		}
	}
	return all, errors.Join(failed...)
}

// tellOf tells the gaps of a source. What is told is settled before it is written and forgotten after, so that a run that is cut
// off in between leaves the next one the same events to write, under the same ids: readers take them once.
func (l *Looker) tellOf(ctx context.Context, id, when string, now time.Time) ([]Told, error) {
	marker := table.Key{PK: names.Gap, SK: when}
	s, err := l.source(ctx, id)
	if err != nil {
		return nil, err
	}
	if s.Due != when { // of a run that was cut off before it kept what it had learned
		return nil, l.state.Delete(ctx, marker)
	}
	if len(s.Owed) == 0 {
		if s.tell(now.Add(-Patience), now, mostOf); len(s.Owed) > 0 {
			if err := l.keep(ctx, id, s); err != nil {
				return nil, err
			}
		}
	}
	var told []Told
	var events []audit.Event
	for _, o := range s.Owed {
		told = append(told, Told{o.Gap, names.WriterAgent + "/" + id, o.More})
		events = append(events, l.event(id, s.Scope, o))
	}
	if len(events) > 0 {
		if err := l.config.Ledger.Append(ctx, events...); err != nil {
			return nil, err
		}
	}
	s.Owed, s.Due = nil, ""
	if len(s.Gaps) > 0 {
		if err := l.schedule(ctx, id, s); err != nil {
			return told, err
		}
	}
	if err := l.keep(ctx, id, s); err != nil {
		return told, err
	}
	return told, l.state.Delete(ctx, marker)
}

// event is what is said of a gap, the same each time.
func (l *Looker) event(id, scope string, o telling) audit.Event {
	from := names.WriterAgent + "/" + id
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%d", from, o.Epoch, o.First, o.Last))
	e := audit.New(audit.LedgerGap, bytes.NewReader(sum[:]), o.At)
	e.Cluster, e.Source, e.Actor = l.config.Cluster, names.WriterFunction+"sweep", names.WriterFunction+"sweep"
	e.TargetKind, e.Target, e.Scope = names.Agent, id, scope
	e.Outcome, e.Reason = audit.Failure, fmt.Sprintf("the ledger lacks events %d to %d of %s, of its epoch %s", o.First, o.Last, from, o.Epoch)
	e.Data = map[string]string{
		"source": from, "epoch": o.Epoch, "from": strconv.FormatUint(o.First, 10), "to": strconv.FormatUint(o.Last, 10),
		"seen": o.Seen.UTC().Format(time.RFC3339),
	}
	if !o.After.IsZero() {
		e.Data["after"] = o.After.UTC().Format(time.RFC3339)
	}
	if o.More > 0 {
		e.Data["more"] = strconv.Itoa(o.More)
	}
	return e
}
