// Package rate bounds how often one address comes to a door that strangers may knock at, over all instances of a function:
// the count is an item of table presence.
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
	"github.com/stile-dev/stile/pkg/table"
)

// What one address may do at one door: Burst calls at once, and one more in each Every after that. A login or join is two
// calls. Many people or agents may share the address of a NAT or proxy, hence the generous burst.
const (
	Burst = 600
	Every = 100 * time.Millisecond
)

// keptFor is how long the item of an address outlives the last arrival, at least.
const keptFor = time.Hour

// Config says where arrivals are counted.
type Config struct {
	DynamoDB table.API
	Table    string
	Door     string // names.PurposeLogin or names.PurposeJoin: each is counted by itself
}

// Limiter counts arrivals. It may be used by several goroutines.
type Limiter struct {
	table table.Table
	door  string
}

// New makes a limiter.
func New(c Config) *Limiter { return &Limiter{table.Table{API: c.DynamoDB, Name: c.Table}, c.Door} }

// Arrive counts an arrival, or refuses it as [fault.RateLimited] with the time to wait.
//
// An address has one item, which DynamoDB deletes some time after the last arrival; an IPv6 network of 64 bits is one
// address, since that much is commonly one customer's. So the items are no more than the addresses that came lately, of
// which the API's own throttle admits a thousand a second. The cluster's owner pays for one write, or for two within a burst:
// less than for any of the calls that an arrival leads to.
//
// When the table can't be reached nobody gets in, and neither does who comes from an unknown place: a flood that
// overwhelmed the table would else open the door that it is held back from, and without the table there are no addresses of
// proxies to answer anyway.
func (l *Limiter) Arrive(ctx context.Context, source string, now time.Time) error {
	from, err := network(source)
	if err != nil {
		return fault.New(fault.Unavailable, "where the request came from is not known here", "tell an administrator: the API did not say where the request came from").Because(err)
	}
	key := table.Key{PK: names.Arrival + "#" + from, SK: l.door}
	expires := table.Int(now.Add(Burst*Every + keptFor).Unix())
	// The item holds when the arrivals so far will be forgotten, each one after Every. First for who has none on record.
	was, err := l.table.UpdateIf(ctx, key, "SET until_ms = :next, expires = :expires", "attribute_not_exists(pk) OR until_ms <= :now", table.Item{
		":next": table.Int(now.Add(Every).UnixMilli()), ":now": table.Int(now.UnixMilli()), ":expires": expires,
	})
	if !refused(err) {
		return err
	}
	full := now.Add((Burst - 1) * Every).UnixMilli()
	if was.Int("until_ms") <= full {
		was, err = l.table.UpdateIf(ctx, key, "SET until_ms = until_ms + :every, expires = :expires", "until_ms <= :full", table.Item{
			":every": table.Int(Every.Milliseconds()), ":full": table.Int(full), ":expires": expires,
		})
		if !refused(err) {
			return err
		}
	}
	return wait(time.Duration(was.Int("until_ms")-full) * time.Millisecond)
}

func refused(err error) bool {
	_, conflict := errors.AsType[*table.Conflict](err)
	return conflict
}

func wait(d time.Duration) error {
	d = max((d + time.Second - 1).Truncate(time.Second), time.Second)
	f := fault.Newf(fault.RateLimited, "wait "+d.String()+" and try again", "too many requests came from this address")
	f.RetryAfter = d
	return f
}

// network is what counts as one address.
func network(source string) (string, error) {
	a, err := netip.ParseAddr(source)
	if err != nil {
		return "", err
	}
	if a = a.Unmap(); a.Is4() {
		return a.String(), nil
	}
	p, err := a.WithZone("").Prefix(64)
	return p.String(), err
}
