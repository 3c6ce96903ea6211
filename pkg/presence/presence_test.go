package presence_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/presence"
	"github.com/stile-dev/stile/pkg/table"
)

// memory keeps items by their keys.
type memory struct {
	table.API
	items map[string]map[string]types.AttributeValue
}

func key(i map[string]types.AttributeValue) string {
	return table.Item(i).Text("pk") + "|" + table.Item(i).Text("sk")
}

func (m memory) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	m.items[key(in.Item)] = in.Item
	return &dynamodb.PutItemOutput{}, nil
}

func (m memory) DeleteItem(_ context.Context, in *dynamodb.DeleteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	delete(m.items, key(in.Key))
	return &dynamodb.DeleteItemOutput{}, nil
}

func (m memory) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	var out dynamodb.QueryOutput
	for _, k := range slices.Sorted(maps.Keys(m.items)) {
		if table.Item(m.items[k]).Text("pk") == table.Item(in.ExpressionAttributeValues).Text(":pk") {
			out.Items = append(out.Items, m.items[k])
		}
	}
	return &out, nil
}

func TestAnAgentIsThereWhileALiveProxyHoldsItsTunnel(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	s := presence.New(presence.Config{DynamoDB: memory{items: map[string]map[string]types.AttributeValue{}}, Table: "t"})
	first := presence.Lease{Proxy: "prx_a", Addr: "lb:443", Zone: "a", Started: now.Add(-time.Hour), Expires: now.Add(presence.LeaseFor)}
	second := presence.Lease{Proxy: "prx_b", Addr: "lb:443", Zone: "b", Started: now.Add(-time.Minute), Expires: now.Add(presence.LeaseFor / 2)}
	for _, l := range []presence.Lease{second, first} {
		if err := s.PutLease(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	tunnels := []presence.Tunnel{{Agent: "agt_1", Targets: []identity.Target{{Kind: "node", Name: "node-1"}, {Kind: "db", Name: "node-1"}}, Since: now.UTC()}}
	for _, proxy := range []string{"prx_a", "prx_b"} {
		if err := s.PutTunnels(t.Context(), proxy, 3, tunnels, now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutTunnels(t.Context(), "prx_b", 4, []presence.Tunnel{{Agent: "agt_2"}}, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	check := func(when time.Time, want presence.Snapshot) {
		t.Helper()
		got, err := s.List(t.Context(), when)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	check(now, presence.Snapshot{Leases: []presence.Lease{first, second}, Agents: map[string][]presence.Lease{"agt_1": {first, second}, "agt_2": {second}}})
	check(now.Add(6*time.Second), presence.Snapshot{Leases: []presence.Lease{first}, Agents: map[string][]presence.Lease{"agt_1": {first}}})
	check(now.Add(10*time.Second), presence.Snapshot{Agents: map[string][]presence.Lease{}})
	if got, err := s.Tunnels(t.Context(), "prx_a"); err != nil || !cmp.Equal(got, tunnels) {
		t.Errorf("%+v, %v", got, err)
	}
	if addrs, err := s.Addrs(t.Context(), now); err != nil || !cmp.Equal(addrs, []string{"lb:443"}) {
		t.Errorf("%v, %v", addrs, err)
	}
	if err := s.DropLease(t.Context(), "prx_a"); err != nil {
		t.Fatal(err)
	}
	check(now, presence.Snapshot{Leases: []presence.Lease{second}, Agents: map[string][]presence.Lease{"agt_1": {second}, "agt_2": {second}}})
}
