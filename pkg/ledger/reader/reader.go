// Package reader reads audit events back from the ledger and says how far each can be believed. The table is written by
// many, of whom the proxies face the network: what a function says is believed because nobody else may write where it
// stands, what an agent says because it signed it, and what a proxy says only as far as one trusts every proxy.
//
// It decides nothing else and writes nothing. Its entry point is [Read].
package reader

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Standing is how far an entry can be believed.
type Standing string

// The standings.
const (
	Proven   Standing = "proven"   // signed by its agent, or where only its function may write
	Unproven Standing = "unproven" // any proxy could have written it
	Refused  Standing = "refused"  // it is not what may stand where it stands
)

// Entry is an event in the ledger.
type Entry struct {
	Event    audit.Event
	Received time.Time // as its writer says
	Standing Standing
	Why      string // it isn't proven
	Body     string // the event's JSON as it was written
}

// Gap is events that an agent numbered and the ledger lacks, both ends included. An agent's numbers begin at 1 when it
// starts, and the first event then says how many there were before. What expired looks like what was lost.
type Gap struct {
	Source, Epoch string
	First, Last   uint64
}

// Report is what the ledger holds.
type Report struct {
	Entries []Entry // by id; the same event under two receipts is one entry
	Gaps    []Gap
}

// Events returns those that are proven.
func (r Report) Events() (out []audit.Event) {
	for _, e := range r.Entries {
		if e.Standing == Proven {
			out = append(out, e.Event)
		}
	}
	return out
}

// Scanner is a *dynamodb.Client.
type Scanner interface {
	Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error)
}

// Read reads all events of the ledger. Trust are trust documents that were in force while they were written, at least the
// newest. It reads the whole table, which nothing in the product may.
func Read(ctx context.Context, db Scanner, name string, trust ...document.Trust) (Report, error) {
	var items []table.Item
	pages := dynamodb.NewScanPaginator(db, &dynamodb.ScanInput{TableName: &name, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return Report{}, fmt.Errorf("reading the ledger: %w", err)
		}
		for _, i := range page.Items {
			items = append(items, i)
		}
	}
	return Judge(items, trust...), nil
}

// Judge is Read for items that were read. Items that hold no event are left out.
func Judge(items []table.Item, trust ...document.Trust) Report {
	w := newWitness(items, trust)
	var all []found
	for _, i := range items {
		if strings.HasPrefix(i.Text(names.PK), names.Event+"#") {
			all = append(all, w.judge(i))
		}
	}
	entries := settle(all)
	return Report{Entries: entries, Gaps: gaps(entries)}
}

// found is an entry with the bytes that say it.
type found struct {
	Entry
	body string
}

// judge says how far the event of an item can be believed.
func (w witness) judge(i table.Item) found {
	f := found{body: i.Text("event"), Entry: Entry{Body: i.Text("event"), Received: receivedAt(i)}}
	e, err := audit.Parse([]byte(f.body))
	f.Event = e
	if err == nil {
		err = e.Received()
	}
	if err == nil {
		err = placed(e, i, f.Received)
	}
	switch {
	case err != nil:
		f.Standing, f.Why = Refused, err.Error()
	case audit.Writer(e.Source) == names.WriterProxy:
		f.Standing, f.Why = Unproven, "every proxy may write what proxies say"
	case audit.Writer(e.Source) == names.WriterAgent:
		f.Standing, f.Why = w.agent(e, i, f.Received)
	default:
		f.Standing = Proven
	}
	return f
}

// receivedAt is when an item says that it was received; 1970 when it names a year that JSON has no words for, which would make a
// whole answer fail.
func receivedAt(i table.Item) time.Time {
	at := time.UnixMilli(i.Int("received_ms")).UTC()
	if at.Year() < 0 || at.Year() > 9999 {
		return time.Unix(0, 0).UTC()
	}
	return at
}

// placed fails unless an event stands where its source's events belong: in the writer's partition, on the day and in the
// shard that follow from its receipt and its id, and there under its receipt. A release before receipts wrote its id there.
func placed(e audit.Event, i table.Item, received time.Time) error {
	under := i.Text(names.SK) == ledger.Receipt(received, []byte(i.Text("event"))) || i.Text(names.SK) == e.ID
	if want := ledger.Partition(e.Source, received, e.ID); i.Text(names.PK) != want || !under {
		return fmt.Errorf("the event %s of %s is in %s under %s", e.ID, e.Source, i.Text(names.PK), i.Text(names.SK))
	}
	return nil
}

// rank orders standings, the best first.
var rank = map[Standing]int{Proven: 0, Unproven: 1, Refused: 2}

// settle sorts by id, makes one entry of an event that was received twice, and flags what claims the id of another.
func settle(all []found) []Entry {
	slices.SortStableFunc(all, func(a, b found) int {
		if c := strings.Compare(a.Event.ID, b.Event.ID); c != 0 {
			return c
		}
		return rank[a.Standing] - rank[b.Standing]
	})
	var out []Entry
	first := 0
	for n, f := range all {
		if n == 0 || all[first].Event.ID != f.Event.ID || f.Event.ID == "" {
			first = n
			out = append(out, f.Entry)
			continue
		}
		if slices.ContainsFunc(all[first:n], func(g found) bool { return g.body == f.body }) {
			continue
		}
		if f.Standing != Proven {
			f.Standing, f.Why = Refused, "another event has its id"
			if all[first].Standing == Unproven { // neither is better than the other
				out[len(out)-1].Why = "another event has its id"
			}
		}
		out = append(out, f.Entry)
	}
	return out
}

// epoch is one run of an agent.
type epoch struct{ source, name string }

// gaps lists what is missing among the numbers of each agent's proven events. What isn't proven fills no gap. How many an
// epoch had is at least what the first event of the next one says.
func gaps(entries []Entry) []Gap {
	numbers, ends := map[epoch][]uint64{}, map[epoch]uint64{}
	for _, e := range entries {
		if e.Standing == Proven && audit.Writer(e.Event.Source) == names.WriterAgent {
			r := epoch{e.Event.Source, e.Event.SourceEpoch}
			numbers[r] = append(numbers[r], e.Event.Seq)
			if before, n, ok := Before(e.Event); ok {
				ends[epoch{e.Event.Source, before}] = n
			}
		}
	}
	for r, n := range ends {
		numbers[r] = append(numbers[r], n+1)
	}
	var out []Gap
	for r, seen := range numbers {
		slices.Sort(seen)
		next := uint64(1)
		for _, n := range seen {
			if n > next {
				out = append(out, Gap{r.source, r.name, next, n - 1})
			}
			next = max(next, n+1)
		}
	}
	slices.SortFunc(out, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.First, b.First))
	})
	return out
}

// Before returns the epoch of the source before the one that an event begins, and the number of the last event in it. The number
// is less than the highest that there is.
func Before(e audit.Event) (epoch string, last uint64, ok bool) {
	epoch, text, ok := strings.Cut(e.SourceAfter, ":")
	n, err := strconv.ParseUint(text, 10, 64)
	return epoch, n, ok && err == nil && n < math.MaxUint64
}
