package presence_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/pkg/presence"
)

// counted counts queries.
type counted struct {
	memory
	queries int
}

func (c *counted) Query(ctx context.Context, in *dynamodb.QueryInput, o ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	c.queries++
	return c.memory.Query(ctx, in, o...)
}

// TestSec_S68_TheKeysOfLiveProxiesAreReadOnceASecond, however often a stranger has them asked for and by whatever name.
func TestSec_S68_TheKeysOfLiveProxiesAreReadOnceASecond(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	db := &counted{memory: memory{items: map[string]map[string]types.AttributeValue{}}}
	s := presence.New(presence.Config{DynamoDB: db, Table: "t"})
	for _, l := range []presence.Lease{
		{Proxy: "prx_a", Addr: "lb:443", Key: "a's", Expires: now.Add(10 * time.Second)},
		{Proxy: "prx_old", Addr: "lb:443", Expires: now.Add(10 * time.Second)},
		{Proxy: "prx_gone", Addr: "lb:443", Key: "gone's", Expires: now},
	} {
		if err := s.PutLease(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	check := func(at time.Time, proxy, want string) {
		t.Helper()
		if got, err := s.Key(t.Context(), proxy, at); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", proxy, got, err)
		}
	}
	for range 100 {
		check(now, "prx_a", "a's")
		check(now, "prx_old", "")
		check(now, "prx_gone", "")
		check(now.Add(999*time.Millisecond), "prx_unknown", "")
	}
	if db.queries != 1 {
		t.Errorf("the leases were read %d times", db.queries)
	}
	check(now.Add(10*time.Second), "prx_a", "")
}
