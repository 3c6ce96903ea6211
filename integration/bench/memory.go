package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stile-dev/stile/integration/proc"
)

// settle is how long a process may take to give back or fill what it needs before its memory is read.
const settle = 2 * time.Second

// idle reads what the processes hold before anything is asked of them.
func idle(w ways) ([]row, error) {
	anonymous := row{what: "memory at the far end, idle, anonymous", unit: "MiB", budget: 12}
	for _, to := range []struct {
		way *way
		s   *sample
	}{{w.direct, &anonymous.direct}, {w.floor, &anonymous.floor}, {w.stile, &anonymous.stile}} {
		sum, err := proc.AnonymousOf(to.way.pid)
		if err != nil {
			return nil, err
		}
		*to.s = sample{sum}
	}
	agent, err := proc.MemoryOf(w.stile.pid)
	if err != nil {
		return nil, err
	}
	return []row{anonymous, {what: "agent, idle, resident", unit: "MiB", stile: sample{agent.Resident}, budget: 25}}, nil
}

// sessionsHeld opens many terminals, each on a connection of its own, and divides what the far end grew by.
func sessionsHeld(ctx context.Context, w ways) (row, error) {
	const many = 40
	r, err := w.compare("memory of a session at the far end", "MiB", 1, func(one *way) (float64, error) {
		before, err := proc.AnonymousOf(one.pid)
		if err != nil {
			return 0, err
		}
		var open []*ssh.Client
		defer func() {
			for _, c := range open {
				_ = c.Close()
			}
		}()
		for range many {
			c, err := one.dial(ctx)
			if err != nil {
				return 0, err
			}
			open = append(open, c)
			if _, err := openTerminal(c, "printf ready; exec cat", "ready"); err != nil {
				return 0, err
			}
		}
		time.Sleep(settle)
		after, err := proc.AnonymousOf(one.pid)
		return (after - before) / many, err
	})
	r.budget, r.directThen = 1, 2.1
	return r, err
}

// agentsHeld brings many agents to the proxy and divides what it grew by.
func agentsHeld(ctx context.Context, s *system, w ways, many int) (row, error) {
	f, err := join(ctx, s, many)
	if err != nil {
		return row{}, fmt.Errorf("joining agents: %w", err)
	}
	time.Sleep(settle) // what the joins brought about is over
	before, err := proc.MemoryOf(w.stile.aside)
	if err != nil {
		return row{}, err
	}
	defer f.close()
	if err := f.connect(ctx); err != nil {
		return row{}, fmt.Errorf("connecting agents: %w", err)
	}
	time.Sleep(5 * settle) // pings go after 3 s of silence; a collection of garbage or two
	after, err := proc.MemoryOf(w.stile.aside)
	if err != nil {
		return row{}, err
	}
	if n := f.alive(); n != many {
		return row{}, fmt.Errorf("%d of %d agents stayed", n, many)
	}
	return row{
		what: fmt.Sprintf("proxy, for each of %d idle agents", many), unit: "KiB", budget: 24,
		stile: sample{(after.Anonymous - before.Anonymous) * 1024 / float64(many)},
	}, nil
}
