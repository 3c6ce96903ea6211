package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/stile-dev/stile/localstack/process"
)

// down stops what up started: the local AWS first, so that it restarts nothing, then agents and tasks,
// then the load balancer. What was created is kept in the state directory.
func down(ctx context.Context, p place, out io.Writer) error {
	records := process.List(p.run())
	if len(records) == 0 {
		_, err := fmt.Fprintf(out, "nothing in %s is running\n", p.state)
		return err
	}
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	rank := func(r process.Record) int {
		switch r.Name {
		case serveName:
			return 0
		case balancerName:
			return 2
		}
		return 1
	}
	var faults []error
	for step := range 3 {
		now := slices.DeleteFunc(slices.Clone(records), func(r process.Record) bool { return rank(r) != step })
		faults = append(faults, together(now, func(r process.Record) error {
			if err := r.Stop(ctx); err != nil {
				return err
			}
			return r.Remove(p.run())
		}))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "stile is down; %s keeps everything that was created\n", p.state)
	return err
}
