package install

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/fault"
)

// between is how often the agent is asked.
const between = 200 * time.Millisecond

// await waits until the agent has a tunnel. It fails with the agent's last reason: when the time is over, or as soon as the
// agent says that it won't try again before that.
func await(ctx context.Context, state string, limit time.Duration, out io.Writer) error {
	end := time.Now().Add(limit)
	late, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	tick := time.NewTicker(between)
	defer tick.Stop()
	last := fault.New(fault.Unreachable, "the agent runs, but has not joined yet", "run: journalctl -u stile-agent")
	for {
		s, err := status.Ask(ctx, state)
		if err == nil && s.Tunnels > 0 {
			fmt.Fprintf(out, "the agent has joined as %s and serves %v\n", s.ID, s.Targets)
			return nil
		}
		given, hopeless := reason(s, err, end)
		if given != nil {
			last = given
		}
		if hopeless {
			return last
		}
		select {
		case <-late.Done():
			return last
		case <-tick.C:
		}
	}
}

// reason is why the agent has no tunnel, as far as it says, and whether it stays so until the end.
func reason(s status.Status, err error, end time.Time) (f *fault.Fault, hopeless bool) {
	if err != nil {
		return fault.New(fault.Unreachable, "the agent doesn't answer", "run: journalctl -u stile-agent").Because(err), false
	}
	if len(s.Refusals) == 0 {
		return nil, false
	}
	r := s.Refusals[0]
	f = fault.Newf(fault.Code(r.Code), r.Hint, "the agent runs, but can't join: %s", r.Reason)
	return f, !r.RetryAt.Before(end)
}
