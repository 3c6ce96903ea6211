package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stile-dev/stile/integration/proc"
)

// connections measures whole processes, connects and sessions.
func connections(ctx context.Context, w ways, rounds int) ([]row, error) {
	var rows []row
	for _, m := range []struct {
		what, unit         string
		budget, directThen float64
		more               bool
		rounds             int
		measure            func(context.Context, *way) (float64, error)
	}{
		{"true, whole process", "ms", 40, 190, false, 4 * rounds, process},
		{"connect and authenticate", "ms", 6, 76, false, 6 * rounds, connect},
		{"one more session on a connection", "ms", 2, 1.6, false, rounds, sessions},
		{"connects at 32 at once", "/s", 300, 69, true, max(1, rounds/2), crowd},
		{"CPU at the far end for connect and session", "ms", 4, 26, false, max(1, rounds/2), effort},
	} {
		r, err := w.compare(m.what, m.unit, m.rounds, func(one *way) (float64, error) { return m.measure(ctx, one) })
		if err != nil {
			return nil, err
		}
		r.budget, r.directThen, r.more = m.budget, m.directThen, m.more
		rows = append(rows, r)
	}
	return rows, nil
}

// process runs the client program that people type.
func process(ctx context.Context, w *way) (float64, error) {
	d, err := whole(w.command(ctx, "true"))
	return ms(d), err
}

func connect(ctx context.Context, w *way) (float64, error) {
	began := time.Now()
	c, err := w.dial(ctx)
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	return ms(took), c.Close()
}

// sessions gives the median of some on one connection.
func sessions(ctx context.Context, w *way) (float64, error) {
	c, err := w.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var took sample
	for range 15 {
		began := time.Now()
		if err := exec1(c, "true"); err != nil {
			return 0, err
		}
		took = append(took, ms(time.Since(began)))
	}
	return took.median(), nil
}

// crowd connects from 32 sides at once for a second and counts.
func crowd(ctx context.Context, w *way) (float64, error) {
	var done atomic.Int64
	var wait sync.WaitGroup
	errs := make([]error, 32)
	began := time.Now()
	for i := range errs {
		wait.Go(func() {
			for time.Since(began) < time.Second && errs[i] == nil {
				c, err := w.dial(ctx)
				if errs[i] = err; err == nil {
					done.Add(1)
					_ = c.Close()
				}
			}
		})
	}
	wait.Wait()
	return float64(done.Load()) / time.Since(began).Seconds(), errors.Join(errs...)
}

// effort is the CPU time of the server, the shell that it starts included.
func effort(ctx context.Context, w *way) (float64, error) {
	const times = 40
	before, err := proc.CPUOf(w.pid)
	if err != nil {
		return 0, err
	}
	for range times {
		c, err := w.dial(ctx)
		if err != nil {
			return 0, err
		}
		err = exec1(c, "true")
		_ = c.Close()
		if err != nil {
			return 0, err
		}
	}
	time.Sleep(50 * time.Millisecond) // for the last children to be reaped
	after, err := proc.CPUOf(w.pid)
	return (after - before) * 1000 / times, err
}
