// Package ledger writes audit events and the intents of issuance to the table ledger, the path of record:
// what is there was reported, and nothing there is changed. An event stays in this table for 30 days after it was
// received. Each writer has partitions of its own, which are all that its role lets it write, and so the partition
// says who wrote an event, whatever the event says. In a partition events are in the order of their receipts, so that
// a reader can go on where it was; an event that is delivered twice has two receipts, and readers take it once.
//
// Its entry points are [New], and [Ledger.Ops] for code that writes an event in the transaction of a change.
package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/certs"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Shards is how many partitions a writer's events of a day are spread over.
const Shards = 8

// Keep is how long an item stays.
const Keep = 30 * 24 * time.Hour

// Late is how much later than its receipt says an event can become readable: a writer gives up after half of it, and the
// other half is for its clock and for what is on its way then. Whoever follows the ledger reads that much again.
const Late = time.Minute

// Config says where the ledger is.
type Config struct {
	DynamoDB table.API
	Table    string
	Now      func() time.Time // nil is time.Now
	Pace     int              // write units a second at most; 0 is any number
}

// Ledger appends events. It may be used by several goroutines.
type Ledger struct {
	table table.Table
	now   func() time.Time
	turn  *semaphore.Weighted // to use the pace
	pace  *rate.Limiter

	certificates sync.Map // by digest: those that were written, so that each is written once and not with each delivery
	known        atomic.Int64
}

// maxKnown is how many certificates are remembered.
const maxKnown = 20_000

// New makes a ledger.
func New(c Config) *Ledger {
	if c.Now == nil {
		c.Now = time.Now
	}
	pace := rate.NewLimiter(rate.Inf, 0)
	if c.Pace > 0 {
		pace = rate.NewLimiter(rate.Limit(c.Pace), max(c.Pace/10, mostUnits))
	}
	return &Ledger{table: table.Table{API: c.DynamoDB, Name: c.Table}, now: c.Now, turn: semaphore.NewWeighted(1), pace: pace}
}

// ProxyPace is the pace of a proxy, in write units a second. A partition of DynamoDB takes 1,000, and what agents report goes into
// [Shards] of them: three proxies together, the most that there are, ask each for half of that on average, since chance doesn't
// spread large events evenly. So a fleet that comes back after an outage, each agent with what it had to keep, is written down
// without being throttled.
const ProxyPace = 1400

// A write unit is one KB of an item.
const (
	unit      = 1 << 10
	around    = 512                                        // bytes at most that an item has beside an event: keys, a signature, numbers
	mostUnits = (audit.MaxSize + around + unit - 1) / unit // of an event
)

// wait waits until there is room for events of so many bytes. Deliveries take turns, and one that is given up takes none.
func (l *Ledger) wait(ctx context.Context, sizes ...int) error {
	if err := l.turn.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	defer l.turn.Release(1)
	for _, size := range sizes {
		if err := l.pace.WaitN(ctx, min((size+around+unit-1)/unit, mostUnits)); err != nil {
			return fmt.Errorf("writing events: %w", err)
		}
	}
	return nil
}

// Append writes events; when it returns nil, the ledger has them all. Appending again after a lost answer is right: what is
// there twice is read once. When a session has another event of the same id, all are written, readers refuse the one that
// isn't proven, and the error is [audit.ErrTaken]. Invalid events are refused before anything is written.
func (l *Ledger) Append(ctx context.Context, events ...audit.Event) error {
	items := make([]table.Item, len(events))
	for i, e := range events {
		item, err := l.item(e)
		if err != nil {
			return err
		}
		items[i] = item
	}
	return l.write(ctx, items, events)
}

// write writes the items of events and then, for each event of a session or of a decision that somebody saw, one that says where it
// is: so these events are found. What says where an event is comes after it, since it is never replaced: an event that was not written then will be
// written under another receipt. A delivery that is repeated writes what was lost.
func (l *Ledger) write(ctx context.Context, items []table.Item, events []audit.Event) error {
	ctx, cancel := context.WithTimeout(ctx, Late/2)
	defer cancel()
	same := func(there, item table.Item) bool { return there.Text("event") == item.Text("event") }
	if err := l.create(ctx, items, same); err != nil {
		return err
	}
	var pointers []table.Item
	for n, e := range events {
		pointers = append(pointers, pointing(e, items[n])...)
	}
	return l.create(ctx, pointers, func(there, pointer table.Item) bool { // one that is there names the first receipt
		before := there.Text("digest") // "" is from before it was kept
		return before == "" || before == pointer.Text("digest")
	})
}

// digest is the SHA-256 of an event's bytes, in hex.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Session returns the partition of what says where a session's events are.
func Session(id string) string { return names.Happened + "#" + id }

// Decision returns the partition of what says where a decision's event is.
func Decision(id string) string { return names.Decided + "#" + id }

// pointing returns what says where the item of an event is. An agent chooses what its events call a decision: what isn't the id of
// one, nobody was told and nobody asks for.
func pointing(e audit.Event, item table.Item) (all []table.Item) {
	var partitions []string
	if e.SessionID != "" {
		partitions = append(partitions, Session(e.SessionID))
	}
	if identity.ValidID("dec", e.DecisionID) {
		partitions = append(partitions, Decision(e.DecisionID))
	}
	for _, pk := range partitions {
		all = append(all, table.Item{
			names.PK: table.String(pk), names.SK: table.String(e.ID), "at": item[names.PK], "under": item[names.SK],
			"digest": table.String(digest([]byte(item.Text("event")))), names.Expires: item[names.Expires],
		})
	}
	return all
}

// Deliver is Append for what an agent hands over: the bytes as the agent signed them, beside each event its signature and
// the digest of the certificate, and once the certificate, by which readers verify all of that.
func (l *Ledger) Deliver(ctx context.Context, d audit.Delivery) error {
	sizes := make([]int, len(d.Events))
	for n, s := range d.Events {
		sizes[n] = len(s.Body)
	}
	if err := l.wait(ctx, sizes...); err != nil { // before there is a receipt
		return err
	}
	certificate := digest(d.Certificate)
	var items []table.Item
	var events []audit.Event
	for _, s := range d.Events {
		if err := s.Event.Received(); err != nil {
			return fmt.Errorf("writing event %s: %w", s.Event.Type, err)
		}
		item := l.place(s.Event, s.Body)
		if len(s.Signature) > 0 {
			item["signature"], item["certificate"] = table.Bytes(s.Signature), table.String(certificate)
		}
		items, events = append(items, item), append(events, s.Event)
	}
	if len(d.Certificate) == 0 || len(items) == 0 {
		return l.write(ctx, items, events)
	}
	altered := l.certify(ctx, certificate, d.Certificate)
	if altered != nil && !errors.Is(altered, audit.ErrTaken) {
		return altered
	}
	if err := l.write(ctx, items, events); err != nil {
		return err
	}
	return altered
}

// certify writes an agent's certificate under its digest, for longer than anything that it can have signed.
func (l *Ledger) certify(ctx context.Context, digest string, der []byte) error {
	if _, written := l.certificates.Load(digest); written {
		return nil
	}
	err := l.table.Create(ctx, table.Item{
		names.PK: table.String(names.Certificate + "#" + digest), names.SK: table.String(names.Certificate),
		"certificate": table.Bytes(der), names.Expires: table.Int(l.now().Add(Keep + 2*certs.MaxHostLife).Unix()),
	})
	if c, there := errors.AsType[*table.Conflict](err); there {
		if !bytes.Equal(c.There.Bytes("certificate"), der) {
			return fmt.Errorf("writing certificate %s: %w", digest, audit.ErrTaken)
		}
		err = nil
	}
	if err == nil {
		if l.known.Add(1) > maxKnown {
			l.certificates.Clear()
			l.known.Store(0)
		}
		l.certificates.Store(digest, nil)
	}
	return err
}

// create writes items that aren't there yet. Of what is there already, same says whether that is as good; what isn't is
// [audit.ErrTaken].
func (l *Ledger) create(ctx context.Context, items []table.Item, same func(there, item table.Item) bool) error {
	var mu sync.Mutex
	var taken error
	var g errgroup.Group
	g.SetLimit(8)
	for _, item := range items {
		g.Go(func() error {
			err := l.table.Create(ctx, item)
			c, there := errors.AsType[*table.Conflict](err)
			if !there {
				return err
			}
			if !same(c.There, item) {
				mu.Lock()
				defer mu.Unlock()
				taken = errors.Join(taken, fmt.Errorf("writing event %s: %w", item.Text(names.SK), audit.ErrTaken))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return taken
}

// Ops are the operations that append a valid event within a transaction, and say where it is as Append does.
func (l *Ledger) Ops(e audit.Event) ([]table.Op, error) {
	item, err := l.item(e)
	if err != nil {
		return nil, err
	}
	ops := []table.Op{l.table.CreateOp(item)}
	for _, pointer := range pointing(e, item) {
		ops = append(ops, l.table.CreateOp(pointer))
	}
	return ops, nil
}

// OpAt is the operation that appends a valid event within a transaction, of which nothing else says where it is: it is going to
// be there.
func (l *Ledger) OpAt(e audit.Event) (op table.Op, at table.Key, err error) {
	item, err := l.item(e)
	if err != nil {
		return table.Op{}, table.Key{}, err
	}
	return l.table.CreateOp(item), table.Key{PK: item.Text(names.PK), SK: item.Text(names.SK)}, nil
}

// Table returns the ledger's table, for the transactions of code that writes more than events.
func (l *Ledger) Table() table.Table { return l.table }

// item writes a valid event as an item.
func (l *Ledger) item(e audit.Event) (table.Item, error) {
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("writing event %s: %w", e.Type, err)
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("writing event %s: %w", e.Type, err)
	}
	return l.place(e, b), nil
}

// place returns the item of an event's bytes. When it was received is what the writer's clock says: the event's own time
// is its sender's to choose, and decides neither where the event is nor how long it stays.
func (l *Ledger) place(e audit.Event, b []byte) table.Item {
	now := l.now()
	return table.Item{
		names.PK: table.String(Partition(e.Source, now, e.ID)), names.SK: table.String(Receipt(now, b)), "event": table.String(string(b)),
		"type": table.String(string(e.Type)), "received_ms": table.Int(now.UnixMilli()), names.Expires: table.Int(now.Add(Keep).Unix()),
	}
}

// Receipt returns the sort key of an event that was received at a time: a ULID in lower case, whose random part is the
// beginning of the SHA-256 of the event's bytes. So two events never share one.
func Receipt(received time.Time, event []byte) string {
	sum := sha256.Sum256(event)
	var id ulid.ULID
	_ = id.SetTime(uint64(max(received.UnixMilli(), 0))) // it fails from the year 10889 on
	_ = id.SetEntropy(sum[:10])                          // it fails for other lengths
	return strings.ToLower(id.String())
}

// Floor is less than the receipts of a time and later, and more than those of before.
func Floor(t time.Time) string { return Receipt(t, nil)[:10] }

// Partition returns where an event is that was received from a source on a day: event#<writer>#<day>#<shard>.
func Partition(source string, received time.Time, id string) string {
	h := fnv.New32a()
	h.Write([]byte(id))
	return partition(audit.Writer(source), received, h.Sum32()%Shards)
}

func partition(writer string, day time.Time, shard uint32) string {
	return fmt.Sprintf("%s#%s#%s#%d", names.Event, writer, day.UTC().Format(time.DateOnly), shard)
}

// Partitions lists where the events of a day are, of all who write them.
func Partitions(day time.Time) []string { return PartitionsOf(day, names.Writers...) }

// PartitionsOf lists where the events of a day are that some write.
func PartitionsOf(day time.Time, writers ...string) (all []string) {
	for _, writer := range writers {
		for shard := range Shards {
			all = append(all, partition(writer, day, uint32(shard)))
		}
	}
	return all
}
