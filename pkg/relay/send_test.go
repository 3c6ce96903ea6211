package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/relay"
)

// calm is a bus that takes one call after another.
type calm struct {
	mu     sync.Mutex
	bus    bus
	poison string // the id of an event with which EventBridge takes no call
}

func (c *calm) PutEvents(ctx context.Context, in *eventbridge.PutEventsInput, o ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range in.Entries {
		if c.poison != "" && strings.Contains(*e.Detail, `"`+c.poison+`"`) {
			return nil, &smithy.GenericAPIError{Code: "ValidationException"}
		}
	}
	return c.bus.PutEvents(ctx, in, o...)
}

// ready are events of the ledger.
func ready(t *testing.T, n int) (all []relay.Ready) {
	t.Helper()
	for i := range n {
		r, err := relay.Item{Partition: partition, Receipt: "01receipt", Received: at, Event: event(i)}.Ready()
		if err != nil || r.ID != fmt.Sprintf("id-%03d", i) || r.Writer != "function/sign-user" || r.Receipt != "01receipt" {
			t.Fatalf("%+v, %v", r, err)
		}
		all = append(all, r)
	}
	return all
}

func TestWhatIsSentAgainIsWhatTheRelayPut(t *testing.T) {
	var first bus
	relayed(t, &first, nil, batch(3))
	again := &calm{}
	if n, err := relay.NewSender(again, "bus").Send(t.Context(), ready(t, 3)); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for i, want := range first.shapes {
		got := again.bus.shapes[i]
		if *got.Detail != *want.Detail || *got.DetailType != *want.DetailType || *got.Source != *want.Source || !got.Time.Equal(*want.Time) || *got.EventBusName != "bus" {
			t.Errorf("%+v\nthe relay put %+v", got, want)
		}
	}
}

func TestSendingAgainSaysWhatHasToBeSentOnceMore(t *testing.T) {
	for name, c := range map[string]struct {
		bus   *calm
		taken int
		fails bool
	}{
		"all":               {bus: &calm{}, taken: 25},
		"throttled":         {bus: &calm{bus: bus{refuse: map[string]string{"id-003": "ThrottlingException"}}}, taken: 24, fails: true},
		"never to be taken": {bus: &calm{bus: bus{refuse: map[string]string{"id-003": "MalformedDetail"}}}, taken: 24},
		"a whole call":      {bus: &calm{poison: "id-013"}, taken: 24},
		"away":              {bus: &calm{bus: bus{down: errors.New("away")}}, fails: true},
		"half an answer":    {bus: &calm{bus: bus{dropped: 1}}, fails: true},
	} {
		n, err := relay.NewSender(c.bus, "bus").Send(t.Context(), ready(t, 25))
		if n != c.taken || (err != nil) != c.fails {
			t.Errorf("%s: %d taken, %v", name, n, err)
		}
		if slices.Max(append(c.bus.bus.calls, 0)) > 10 {
			t.Errorf("%s: calls of %v", name, c.bus.bus.calls)
		}
	}
}
