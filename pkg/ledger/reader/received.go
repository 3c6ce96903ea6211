package reader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
	"github.com/stile-dev/stile/pkg/wire"
)

// Bounds of one call of [Received].
const (
	atOnce     = 24   // partitions that are read at once
	ofEach     = 100  // items of a partition that are read at once
	mostRead   = 2000 // items after which it ends, though it found fewer than were asked for
	mostBytes  = 3e6  // of events in an answer after which it ends, so that an answer has room for them and those under the last's key
	mostOfDays = 31   // days that it looks at
)

// Span is what was received between two moments.
type Span struct {
	After string    // a position, behind which it begins
	Until time.Time // what was received from then on isn't in it
	Limit int       // how many entries at most, but for those under the same key as the last

	Writer string // whose partitions alone are read, one of names.Writers; "" for all
}

// partitions lists where the events of a day are that the span is about.
func (s Span) partitions(day time.Time) []string {
	if s.Writer != "" {
		return ledger.PartitionsOf(day, s.Writer)
	}
	return ledger.Partitions(day)
}

// Begin returns the position behind which everything is that was received at a time or later: a day, and what receipts of it
// come after.
func Begin(t time.Time) string { return position(t, ledger.Floor(t)) }

// Whoever may write a partition may put anything there, under any key. Of one that is longer than a receipt can be, a position has
// the beginning, and what else begins so is skipped: it isn't where an event can stand.
const (
	longest = 64   // bytes of a key in a position
	mostKey = 1024 // bytes that DynamoDB takes
	skipped = "~"  // behind a beginning
)

func position(day time.Time, after string) string {
	if len(after) > longest {
		after = strings.ToValidUTF8(after[:longest], "") + skipped
	}
	return day.UTC().Format(time.DateOnly) + "." + after
}

// placeOf reads a position.
func placeOf(position string) (day time.Time, after string, err error) {
	date, after, _ := strings.Cut(position, ".")
	day, err = time.Parse(time.DateOnly, date)
	if err != nil || after == "" || len(after) > longest+len(skipped) || !utf8.ValidString(after) {
		return time.Time{}, "", ErrPosition
	}
	if beginning, ok := strings.CutSuffix(after, skipped); ok {
		after = last(beginning)
	}
	return day, after, nil
}

// Reached returns a time that a position is not before: what was received earlier stands before it. It reports false where the
// position doesn't show one, as behind what somebody has put under a key that is no receipt.
func Reached(position string) (time.Time, bool) {
	day, after, err := placeOf(position)
	if err != nil || len(after) < 10 {
		return time.Time{}, false
	}
	id, err := ulid.ParseStrict(after[:10] + strings.Repeat("0", ulid.EncodedSize-10))
	if err != nil {
		return time.Time{}, false
	}
	at := earlier(ulid.Time(id.Time()).UTC(), day.Add(24*time.Hour))
	return at, ledger.Floor(at) <= after // a receipt in upper case is before all others
}

// last is the last key that begins so.
func last(key string) string {
	for _, highest := range []rune{utf8.MaxRune, '\uFFFF', '\u07FF', '\u007F'} { // of four bytes to one
		key += strings.Repeat(string(highest), (mostKey-len(key))/utf8.RuneLen(highest))
	}
	return key
}

// ErrPosition says that a position is not one that [Received] returned.
var ErrPosition = errors.New("that is not a position in the ledger")

// Received reads events in the order of their receipts, and returns the position to go on behind, "" at the end of the span. It
// looks at a bounded number of events for each call, which want chooses from (what is no event has no fields there): there may be
// more though it returns none. What was received less than [ledger.Late] before now may still be preceded by what isn't there
// yet.
func Received(ctx context.Context, db table.API, name string, s Span, want func(audit.Event) bool, trust ...document.Trust) ([]Entry, string, error) {
	day, after, err := placeOf(s.After)
	if err != nil {
		return nil, "", err
	}
	t, read, size := table.Table{API: db, Name: name}, 0, 0
	var wanted []table.Item
	for days := 0; days < mostOfDays && read < mostRead && day.Before(s.Until); days++ {
		tomorrow := day.Add(24 * time.Hour)
		for next := "."; next != ""; after = next {
			var items []table.Item
			if items, next, err = merge(ctx, t, s.partitions(day), after, earlier(tomorrow, s.Until)); err != nil {
				return nil, "", fmt.Errorf("reading the ledger: %w", err)
			}
			for n, i := range items {
				if e, _ := audit.Parse([]byte(i.Text("event"))); want(e) {
					wanted = append(wanted, i)
					size += wire.Size(i.Text("event"))
				}
				if (len(wanted) >= s.Limit || size >= mostBytes) && !shared(items, n) {
					return judged(ctx, t, wanted, position(day, i.Text(names.SK)), trust)
				}
			}
			if read += len(items); next != "" && read >= mostRead {
				return judged(ctx, t, wanted, position(day, next), trust)
			}
		}
		day, after = tomorrow, ledger.Floor(tomorrow)
	}
	if !day.Before(s.Until) {
		return judged(ctx, t, wanted, "", trust)
	}
	return judged(ctx, t, wanted, position(day, after), trust)
}

// Stored reads on in the items of a day as they stand, in the order of their sort keys and with none left out: a page behind a
// position, and the position to go on behind, "" when that was all until a moment. What has no room for an event in it is cut.
func Stored(ctx context.Context, db table.API, name, after string, until time.Time) ([]table.Item, string, error) {
	day, at, err := placeOf(after)
	if err != nil {
		return nil, "", err
	}
	items, next, err := merge(ctx, table.Table{API: db, Name: name}, ledger.Partitions(day), at, earlier(day.Add(24*time.Hour), until))
	if err != nil {
		return nil, "", fmt.Errorf("reading the ledger: %w", err)
	}
	if next != "" {
		next = position(day, next)
	}
	return items, next, nil
}

// shared reports whether the item behind one has the same key, in another partition: a position is behind them all. There are as many
// as partitions at most, and no two receipts are the same.
func shared(items []table.Item, n int) bool {
	return n+1 < len(items) && items[n+1].Text(names.SK) == items[n].Text(names.SK)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// merge reads what comes next in the partitions of a day, in order, and the key to go on behind, "" when that is all until a
// moment. A partition that has more ends it for all of them at what was read of that one.
func merge(ctx context.Context, t table.Table, partitions []string, after string, until time.Time) ([]table.Item, string, error) {
	end := ledger.Floor(until)
	var mu sync.Mutex
	var all []table.Item
	next := ""
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, pk := range partitions {
		g.Go(func() error {
			items, more, err := t.Page(ctx, pk, after, ofEach)
			if err != nil || len(items) == 0 {
				return err
			}
			for n := range items {
				items[n] = bounded(items[n])
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, items...)
			if key := items[len(items)-1].Text(names.SK); more && key < end && (next == "" || key < next) {
				next = key
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, "", err
	}
	if next != "" {
		end = next
	}
	all = slices.DeleteFunc(all, func(i table.Item) bool { return i.Text(names.SK) > end })
	slices.SortFunc(all, func(a, b table.Item) int { return strings.Compare(a.Text(names.SK), b.Text(names.SK)) })
	return all, next, nil
}

// judged says how far items can be believed, in the order of their receipts.
func judged(ctx context.Context, t table.Table, items []table.Item, next string, trust []document.Trust) ([]Entry, string, error) {
	found := basket{items: items}
	if err := found.certify(ctx, t); err != nil {
		return nil, "", fmt.Errorf("reading the ledger: %w", err)
	}
	entries := Judge(found.items, trust...).Entries
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(a.Received.Compare(b.Received), strings.Compare(a.Event.ID, b.Event.ID))
	})
	return entries, next, nil
}
