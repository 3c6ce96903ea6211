package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/stile-dev/stile/localstack/process"
)

// down stops what up started, the local AWS first so that it starts nothing again, then agents and tasks,
// then the load balancer. What was created stays in the state directory.
func down(ctx context.Context, p place, out io.Writer) error {
	records := process.List(p.run())
	if len(records) == 0 {
		_, err := fmt.Fprintln(out, "stile is down already")
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
		var group sync.WaitGroup
		var mu sync.Mutex
		for _, record := range records {
			if rank(record) != step {
				continue
			}
			group.Go(func() {
				err := record.Stop(ctx)
				if err == nil {
					err = record.Remove(p.run())
				}
				mu.Lock()
				defer mu.Unlock()
				faults = append(faults, err)
			})
		}
		group.Wait()
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "stile is down; %s keeps everything that was created\n", p.state)
	return err
}
