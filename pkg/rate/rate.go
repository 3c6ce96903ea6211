// Package rate bounds how often one address, or one user, comes to a door, over all instances of a function: the count is
// an item of a table.
//
// It doesn't know what is asked for there. Its entry point is [New].
package rate

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/ration"
	"github.com/stile-dev/stile/pkg/table"
)

// What one address may do at one door: Burst calls at once, and one more in each Every after that. A login or join is two
// calls. Many people or agents may share the address of a NAT, hence the generous burst.
const (
	Burst = 600
	Every = 100 * time.Millisecond
)

// What one user may change in resources, or be denied, who doesn't administer everything: ChangeBurst at once, and one more
// in each ChangeEvery after that. Each change has documents signed and sent to every agent.
const (
	ChangeBurst = 600
	ChangeEvery = 200 * time.Millisecond
)

// What one agent may bring of recordings: ClaimBurst claims at once, and one more in each ClaimEvery after that; PutBurst times
// 64 KiB that it is let put into S3, 256 GiB, and one more in each PutEvery, 8 MiB a second. An agent that couldn't reach S3 for
// days comes with all that its spool holds.
const (
	ClaimBurst = 2_000
	ClaimEvery = 200 * time.Millisecond
	PutBurst   = 4 << 20
	PutEvery   = 8 * time.Millisecond
)

// What one user may ask the audit lake, or be denied there: QueryBurst questions at once, and one more in each QueryEvery after that.
// A query runs for half an hour at most, so that no more than 210 of one user run at once.
const (
	QueryBurst = 60
	QueryEvery = 10 * time.Second
)

// What one user may be denied of recordings so that it is recorded: ReadBurst denials at once, and one more in each ReadEvery after
// that. Who tries many ids of sessions fills no ledger.
const (
	ReadBurst = 60
	ReadEvery = 10 * time.Second
)

// Doors beside those of names.PurposeLogin and names.PurposeJoin.
const (
	DoorChange = "change" // of resources
	DoorQuery  = "query"  // of the audit lake
	DoorClaim  = "claim"  // of recordings
	DoorRead   = "read"   // of recordings, where somebody is denied
	DoorPut    = "put"    // of what recordings consist of, of 64 KiB each
)

// door is what is counted at one.
type door struct {
	entity string
	burst  int64
	every  time.Duration
	beyond string // what is said to who comes too often
}

var doors = map[string]door{
	names.PurposeLogin: {names.Arrival, Burst, Every, "too many requests came from this address"},
	names.PurposeJoin:  {names.Arrival, Burst, Every, "too many requests came from this address"},
	DoorChange:         {names.Arrival, ChangeBurst, ChangeEvery, "too many changes came from this user"},
	DoorQuery:          {names.Arrival, QueryBurst, QueryEvery, "too many questions came from this user"},
	DoorRead:           {names.Brought, ReadBurst, ReadEvery, "this user is denied more recordings than are recorded"},
	DoorClaim:          {names.Brought, ClaimBurst, ClaimEvery, "this agent claims more recordings than one may"},
	DoorPut:            {names.Brought, PutBurst, PutEvery, "this agent brings larger recordings than one may"},
}

// keptFor is how long the item of an address outlives the last arrival, at least.
const keptFor = time.Hour

// Config says where arrivals are counted.
type Config struct {
	DynamoDB table.API
	Table    string
	Door     string // each is counted by itself
}

// Limiter counts arrivals. It may be used by several goroutines.
type Limiter struct {
	table table.Table
	name  string
	door
}

// New makes a limiter. It panics when there is no such door.
func New(c Config) *Limiter {
	d, ok := doors[c.Door]
	if !ok {
		panic("rate: there is no door " + c.Door)
	}
	return &Limiter{table.Table{API: c.DynamoDB, Name: c.Table}, c.Door, d}
}

// Arrive counts an arrival from an address, or refuses it as [fault.RateLimited] with the time to wait.
//
// An address has one item, which DynamoDB deletes some time after the last arrival; an IPv6 network of 64 bits is one
// address, since that much is commonly one customer's. So the items are no more than the addresses that came lately, of
// which the API's own throttles admit some hundreds a second. The cluster's owner pays for one write, or for two within a burst:
// less than for any of the calls that an arrival leads to.
//
// When the table can't be reached nobody gets in, and neither does who comes from an unknown place: a flood that
// overwhelmed the table would else open the door that it is held back from, and without the table there are no addresses of
// proxies to answer anyway.
//
// Who comes through a proxy is counted by the address before it. The proxy's name is a part of the key: one that lies can
// neither use up what is an address's own nor what it has at other proxies.
func (l *Limiter) Arrive(ctx context.Context, proxy, source string, now time.Time) error {
	from, err := network(source)
	if err != nil {
		return fault.New(fault.Unavailable, "where the request came from is not known here", "tell an administrator: the API did not say where the request came from").Because(err)
	}
	if proxy != "" {
		from = proxy + "#" + from
	}
	return l.Count(ctx, from, now)
}

// Count counts an arrival of somebody whose name can't be chosen freely, or of all at a scope together, as Arrive does.
func (l *Limiter) Count(ctx context.Context, who string, now time.Time) error {
	return l.Take(ctx, who, 1, now)
}

// Take counts n arrivals at once: all of them, or none.
func (l *Limiter) Take(ctx context.Context, who string, n int, now time.Time) error {
	key := table.Key{PK: l.entity + "#" + who, SK: l.name}
	takes := time.Duration(n) * l.every
	expires := table.Int(now.Add(time.Duration(l.burst)*l.every + keptFor).Unix())
	// The item holds when the arrivals so far will be forgotten, each one after a while. First for who has none on record.
	was, err := l.table.UpdateIf(ctx, key, "SET until_ms = :next, expires = :expires", "attribute_not_exists(pk) OR until_ms <= :now", table.Item{
		":next": table.Int(now.Add(takes).UnixMilli()), ":now": table.Int(now.UnixMilli()), ":expires": expires,
	})
	if !refused(err) {
		return err
	}
	full := now.Add(time.Duration(l.burst)*l.every - takes).UnixMilli()
	if was.Int("until_ms") <= full {
		was, err = l.table.UpdateIf(ctx, key, "SET until_ms = until_ms + :every, expires = :expires", "until_ms <= :full", table.Item{
			":every": table.Int(takes.Milliseconds()), ":full": table.Int(full), ":expires": expires,
		})
		if !refused(err) {
			return err
		}
	}
	return l.wait(time.Duration(was.Int("until_ms")-full) * time.Millisecond)
}

func refused(err error) bool {
	_, conflict := errors.AsType[*table.Conflict](err)
	return conflict
}

func (l *Limiter) wait(d time.Duration) error {
	d = max((d + time.Second - 1).Truncate(time.Second), time.Second)
	f := fault.Newf(fault.RateLimited, "wait "+d.String()+" and try again", "%s", l.beyond)
	f.RetryAfter = d
	return f
}

// network is what counts as one address, as it is written in the key.
func network(source string) (string, error) {
	a, err := netip.ParseAddr(source)
	if err != nil {
		return "", err
	}
	if a = ration.Network(a); a.Is4() {
		return a.String(), nil
	}
	return netip.PrefixFrom(a, 64).String(), nil
}
