package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"golang.org/x/sync/errgroup"
)

// callsAtOnce is how many calls of a sender are on their way.
const callsAtOnce = 8

// Sender puts events on the bus again that didn't arrive behind it. It is safe for concurrent use.
type Sender struct {
	bus  Bus
	name string
}

// NewSender makes a sender for a bus of a name.
func NewSender(bus Bus, name string) *Sender { return &Sender{bus, name} }

// Send puts events on the bus, and returns how many the bus took. What it will never take is left out, and no error: the rest is
// tried whatever fails, and an error says that some have to be sent again.
func (s *Sender) Send(ctx context.Context, all []Ready) (int, error) {
	var mu sync.Mutex
	var failed []error
	taken := 0
	var g errgroup.Group
	g.SetLimit(callsAtOnce)
	for some := range slices.Chunk(all, mostEntries) {
		g.Go(func() error {
			n, err := s.put(ctx, some)
			mu.Lock()
			defer mu.Unlock()
			if taken += n; err != nil && len(failed) < callsAtOnce {
				failed = append(failed, err)
			}
			return nil
		})
	}
	_ = g.Wait() // what failed is kept
	if err := errors.Join(failed...); err != nil {
		return taken, fmt.Errorf("sending events again: %w", err)
	}
	return taken, nil
}

// put puts some events in one call, or each in its own when the call is refused for what it holds.
func (s *Sender) put(ctx context.Context, some []Ready) (taken int, err error) {
	in := &eventbridge.PutEventsInput{}
	for _, r := range some {
		in.Entries = append(in.Entries, r.entry(s.name))
	}
	out, err := s.bus.PutEvents(ctx, in)
	switch {
	case refused(err) && len(some) == 1:
		return 0, nil
	case refused(err):
		var failed []error
		for n := range some {
			more, err := s.put(ctx, some[n:n+1])
			taken, failed = taken+more, append(failed, err)
		}
		return taken, errors.Join(failed...)
	case err != nil:
		return 0, err
	case len(out.Entries) != len(some):
		return 0, fmt.Errorf("the bus answered for %d events of %d", len(out.Entries), len(some))
	}
	var failed []error
	for _, e := range out.Entries {
		switch {
		case e.ErrorCode == nil:
			taken++
		case !hopeless[*e.ErrorCode]:
			failed = append(failed, fmt.Errorf("the bus refused one: %s", *e.ErrorCode))
		}
	}
	return taken, errors.Join(failed...)
}
