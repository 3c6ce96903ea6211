package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/stile-dev/stile/agent/config"
	"github.com/stile-dev/stile/agent/status"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/fault"
)

// ask prints the status of the agent in dir as one line of JSON; if dir is "", of the one that a configuration names. It
// fails when the agent has no tunnel or, if idle is asked for, when it has users.
func ask(ctx context.Context, dir, file string, idle bool, out io.Writer) error {
	if dir == "" {
		c, err := config.Read(file)
		if err != nil {
			return err
		}
		dir = c.State
	}
	s, err := status.Ask(ctx, dir)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(escape.JSONWriter(out)).Encode(s); err != nil {
		return err
	}
	if idle {
		return unused(s)
	}
	if s.Tunnels == 0 && len(s.Refusals) > 0 {
		return fault.Newf(fault.Unreachable, s.Refusals[0].Hint, "the agent has no tunnel: %s", s.Refusals[0].Reason)
	}
	if s.Tunnels == 0 {
		return fault.New(fault.Unreachable, "the agent has no tunnel", "check its log for the reason")
	}
	return nil
}

func unused(s status.Status) error {
	if s.Users == 0 {
		return nil
	}
	return fault.Newf(fault.Conflict, "wait until they have left, or tell them first: a restart ends their sessions", "users are connected: %d", s.Users)
}
