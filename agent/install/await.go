package install

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/escape"
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
	var said, now *fault.Fault // by the agent, and what it looks like without that
	for {
		s, err := status.Ask(ctx, state)
		if err == nil && s.Tunnels > 0 {
			fmt.Fprintf(out, "the agent has joined as %s and serves %s\n", escape.Text(s.ID), escape.Text(fmt.Sprint(s.Targets)))
			return nil
		}
		now = waiting(err)
		if len(s.Refusals) > 0 {
			r := s.Refusals[0]
			said = fault.Newf(fault.Code(r.Code), r.Hint, "the agent runs, but can't join: %s", r.Reason)
			if !r.RetryAt.Before(end) {
				return said
			}
		}
		select {
		case <-late.Done():
			return cmp.Or(said, now)
		case <-tick.C:
		}
	}
}

// waiting is why there is no tunnel yet, as long as the agent gives no reason. A restart keeps it from answering at first.
func waiting(err error) *fault.Fault {
	if err != nil {
		return fault.New(fault.Unreachable, "the agent doesn't answer", "run: journalctl -u stile-agent").Because(err)
	}
	return fault.New(fault.Unreachable, "the agent runs, but has not joined yet", "run: journalctl -u stile-agent")
}
