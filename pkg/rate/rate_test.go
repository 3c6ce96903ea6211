package rate_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"pgregory.net/rapid"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/rate"
	"github.com/stile-dev/stile/pkg/table"
)

var start = time.UnixMilli(1_800_000_000_000)

// counts keeps items and judges the two updates of a limiter.
type counts struct {
	table.API
	mu    sync.Mutex
	items map[string]table.Item
	calls int
	fail  error
}

func newCounts() *counts { return &counts{items: map[string]table.Item{}} }

func (c *counts) door(name string) *rate.Limiter {
	return rate.New(rate.Config{DynamoDB: c, Table: "presence", Door: name})
}

func (c *counts) UpdateItem(_ context.Context, in *dynamodb.UpdateItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.fail != nil {
		return nil, c.fail
	}
	key, values := table.Item(in.Key).Text("pk")+"|"+table.Item(in.Key).Text("sk"), table.Item(in.ExpressionAttributeValues)
	was := c.items[key]
	var next int64
	var ok bool
	switch *in.ConditionExpression {
	case "attribute_not_exists(pk) OR until_ms <= :now":
		next, ok = values.Int(":next"), was == nil || was.Int("until_ms") <= values.Int(":now")
	case "until_ms <= :full":
		next, ok = was.Int("until_ms")+values.Int(":every"), was != nil && was.Int("until_ms") <= values.Int(":full")
	}
	if !ok {
		return nil, &types.ConditionalCheckFailedException{Item: was}
	}
	c.items[key] = table.Item{"until_ms": table.Int(next), names.Expires: values[":expires"]}
	return &dynamodb.UpdateItemOutput{}, nil
}

// TestSec_S61_AnAddressComesOnlySoOften: over all instances of a function, and told how long to wait.
func TestSec_S61_AnAddressComesOnlySoOften(t *testing.T) {
	c := newCounts()
	instances := []*rate.Limiter{c.door(names.PurposeJoin), c.door(names.PurposeJoin)}
	for i := range rate.Burst {
		if err := instances[i%2].Arrive(t.Context(), "", "192.0.2.7", start); err != nil {
			t.Fatalf("arrival %d: %v", i, err)
		}
	}
	err := instances[0].Arrive(t.Context(), "", "192.0.2.7", start)
	f := fault.From(err)
	if !fault.Is(err, fault.RateLimited) || f.RetryAfter < rate.Every || f.RetryAfter > time.Minute || f.Hint == "" {
		t.Fatalf("one too many: %v, %+v", err, f)
	}
	for who, door := range map[string]string{"192.0.2.8": names.PurposeJoin, "192.0.2.7": names.PurposeLogin} {
		if err := c.door(door).Arrive(t.Context(), "", who, start); err != nil {
			t.Errorf("%s at %s pays for another: %v", who, door, err)
		}
	}
	if err := instances[1].Arrive(t.Context(), "", "192.0.2.7", start.Add(f.RetryAfter)); err != nil {
		t.Errorf("after waiting as told: %v", err)
	}
	if len(c.items) != 3 {
		t.Errorf("%d items", len(c.items))
	}
	for at, i := range c.items {
		if expires := time.Unix(i.Int(names.Expires), 0); expires.Before(start.Add(time.Hour)) || expires.After(start.Add(2*time.Hour)) {
			t.Errorf("%s stays until %s", at, expires)
		}
	}
}

// TestSec_S59_AUserChangesOnlySoMuch, and who lacks a table changes nothing.
func TestSec_S59_AUserChangesOnlySoMuch(t *testing.T) {
	c := newCounts()
	door := c.door(rate.DoorChange)
	for i := range rate.ChangeBurst {
		if err := door.Count(t.Context(), "usr_1", start); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
	}
	err := door.Count(t.Context(), "usr_1", start)
	if f := fault.From(err); !fault.Is(err, fault.RateLimited) || f.RetryAfter < rate.ChangeEvery || f.RetryAfter > time.Minute {
		t.Fatalf("one too many: %v", err)
	}
	if err := door.Count(t.Context(), "usr_2", start); err != nil {
		t.Errorf("another user: %v", err)
	}
	if err := door.Count(t.Context(), "usr_1", start.Add(time.Second)); err != nil {
		t.Errorf("a second later: %v", err)
	}
}

// TestSec_S98_AnAgentBringsOnlySoMuch: claims and bytes are counted apart, and what doesn't fit counts for nothing.
func TestSec_S98_AnAgentBringsOnlySoMuch(t *testing.T) {
	c := newCounts()
	claims, puts := c.door(rate.DoorClaim), c.door(rate.DoorPut)
	for i := range rate.ClaimBurst {
		if err := claims.Take(t.Context(), "agt_1", 1, start); err != nil {
			t.Fatalf("claim %d: %v", i, err)
		}
	}
	if err := claims.Take(t.Context(), "agt_1", 1, start); !fault.Is(err, fault.RateLimited) {
		t.Errorf("one claim too many: %v", err)
	}
	const most = 640 // of 2 MiB each, in one call
	for at := 0; at+most <= rate.PutBurst; at += most {
		if err := puts.Take(t.Context(), "agt_1", most, start); err != nil {
			t.Fatalf("after %d: %v", at, err)
		}
	}
	rest := rate.PutBurst % most
	err := puts.Take(t.Context(), "agt_1", rest+1, start)
	if f := fault.From(err); !fault.Is(err, fault.RateLimited) || f.RetryAfter > time.Minute {
		t.Errorf("more than is left: %v", err)
	}
	if err := puts.Take(t.Context(), "agt_1", rest, start); err != nil {
		t.Errorf("what is left: %v", err)
	}
	if err := puts.Take(t.Context(), "agt_1", most, start.Add(most*rate.PutEvery)); err != nil {
		t.Errorf("after its time: %v", err)
	}
	if err := puts.Take(t.Context(), "agt_2", most, start); err != nil {
		t.Errorf("another agent: %v", err)
	}
	if got := slices.Sorted(maps.Keys(c.items)); !slices.Equal(got, []string{"brought#agt_1|claim", "brought#agt_1|put", "brought#agt_2|put"}) {
		t.Errorf("%v", got)
	}
}

func TestSec_S61_AnIPv6NetworkIsOneAddress(t *testing.T) {
	for name, c := range map[string]struct {
		sources []string
		items   []string
	}{
		"one network of 64 bits":      {[]string{"2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:0:1::"}, []string{"arrival#2001:db8::/64|login"}},
		"two networks":                {[]string{"2001:db8::1", "2001:db8:0:1::1"}, []string{"arrival#2001:db8:0:1::/64|login", "arrival#2001:db8::/64|login"}},
		"an IPv4 address as IPv6":     {[]string{"::ffff:192.0.2.7", "192.0.2.7"}, []string{"arrival#192.0.2.7|login"}},
		"neighbours of IPv4 are many": {[]string{"192.0.2.7", "192.0.2.8"}, []string{"arrival#192.0.2.7|login", "arrival#192.0.2.8|login"}},
	} {
		counted := newCounts()
		for _, s := range c.sources {
			if err := counted.door(names.PurposeLogin).Arrive(t.Context(), "", s, start); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := slices.Sorted(maps.Keys(counted.items)); !slices.Equal(got, c.items) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestSec_S61_WhoCannotBeCountedDoesNotGetIn(t *testing.T) {
	c := newCounts()
	for _, source := range []string{"", "somewhere", "192.0.2.7:443", "192.0.2.0/24"} {
		if err := c.door(names.PurposeJoin).Arrive(t.Context(), "", source, start); !fault.Is(err, fault.Unavailable) || c.calls != 0 {
			t.Errorf("%q: %v", source, err)
		}
	}
	c.fail = errors.New("the table is down")
	if err := c.door(names.PurposeJoin).Arrive(t.Context(), "", "192.0.2.7", start); !errors.Is(err, c.fail) {
		t.Errorf("without the table: %v", err)
	}
}

// However arrivals are spread over time, never more than the burst and what time gave back got in; who keeps below the rate
// is never refused; and whoever waits as told gets in.
func TestTheBurstAndTheRateHoldForEveryPattern(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c, now := newCounts(), start
		door := c.door(names.PurposeJoin)
		admitted := 0
		for range rapid.IntRange(1, 12).Draw(r, "waves") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90_000).Draw(r, "gap")) * time.Millisecond)
			for range rapid.IntRange(1, 800).Draw(r, "arrivals") {
				calls := c.calls
				err := door.Arrive(t.Context(), "", "192.0.2.7", now)
				if c.calls-calls > 2 {
					r.Fatalf("%d writes for an arrival", c.calls-calls)
				}
				if err == nil {
					admitted++
					continue
				}
				if !fault.Is(err, fault.RateLimited) {
					r.Fatal(err)
				}
			}
			if most := rate.Burst + int(now.Sub(start)/rate.Every); admitted > most {
				r.Fatalf("%d got in within %s, at most %d may", admitted, now.Sub(start), most)
			}
		}
		for range 50 {
			now = now.Add(rate.Burst * rate.Every)
			if err := door.Arrive(t.Context(), "", "192.0.2.7", now); err != nil {
				r.Fatalf("below the rate: %v", err)
			}
		}
	})
}

func TestArrivalsAtOnceAreCountedOnceEach(t *testing.T) {
	c := newCounts()
	var mu sync.Mutex
	var wg sync.WaitGroup
	admitted := map[string]int{}
	for i := range 3 * rate.Burst {
		wg.Go(func() {
			who := fmt.Sprintf("192.0.2.%d", i%2)
			if c.door(names.PurposeJoin).Arrive(t.Context(), "", who, start) == nil {
				mu.Lock()
				defer mu.Unlock()
				admitted[who]++
			}
		})
	}
	wg.Wait()
	for who, n := range admitted {
		if n != rate.Burst {
			t.Errorf("%d of %s got in", n, who)
		}
	}
}

// TestSec_S68_AStrangerBehindAProxyUsesUpOnlyItsOwn: neither another address behind the same proxy pays for it, nor the
// proxy's own address, nor the same address when it comes by itself or through another proxy.
func TestSec_S68_AStrangerBehindAProxyUsesUpOnlyItsOwn(t *testing.T) {
	c := newCounts()
	door := c.door(names.PurposeJoin)
	for i := range rate.Burst {
		if err := door.Arrive(t.Context(), "prx_1", "192.0.2.7", start); err != nil {
			t.Fatalf("arrival %d: %v", i, err)
		}
	}
	if err := door.Arrive(t.Context(), "prx_1", "192.0.2.7", start); !fault.Is(err, fault.RateLimited) {
		t.Errorf("one too many: %v", err)
	}
	for _, other := range [][2]string{{"prx_1", "192.0.2.8"}, {"", "203.0.113.1"}, {"", "192.0.2.7"}, {"prx_2", "192.0.2.7"}} {
		if err := door.Arrive(t.Context(), other[0], other[1], start); err != nil {
			t.Errorf("%v pays for another: %v", other, err)
		}
	}
	if err := door.Arrive(t.Context(), "prx_1", "2001:db8::1", start); err != nil {
		t.Error(err)
	}
	if _, ok := c.items["arrival#prx_1#2001:db8::/64|join"]; !ok {
		t.Errorf("an IPv6 network behind a proxy is not one address: %v", slices.Sorted(maps.Keys(c.items)))
	}
}
