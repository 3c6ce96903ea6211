package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// How a round goes: a calm in which everything is judged, and a trouble; after each a rest in which nobody asks for
// anything.
const (
	calm = 4 * time.Second // on top of the stories told in it
	rest = 3 * time.Second
)

// warmups are the rounds at the beginning of which no sample is taken: what is made once is made then.
const warmups = 1

// drive keeps everybody at work until the time is over, and rounds going meanwhile.
func (r *run) drive(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, r.long)
	defer cancel()
	group, working := errgroup.WithContext(limited)
	for _, name := range employees[:3] {
		group.Go(func() error { return (&worker{run: r, name: name}).work(working) })
	}
	for _, target := range nodes {
		group.Go(func() error { return r.keep(working, "hal", target) })
	}
	group.Go(func() error {
		defer cancel()
		return r.rounds(working)
	})
	header(os.Stdout)
	group.Go(func() error { return r.report(working) })
	err := group.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// lastTrouble is how long before the end of the time no trouble is made any more.
const lastTrouble = 25 * time.Second

// rounds goes through calm, rest, trouble and rest until the time is over.
func (r *run) rounds(ctx context.Context) error {
	whole := context.WithoutCancel(ctx)
	over, _ := ctx.Deadline()
	worries := r.worries()
	for n := 0; ctx.Err() == nil; n++ {
		if err := r.tell(ctx, n); err != nil {
			return err
		}
		if !pause(ctx, calm) {
			return nil
		}
		if err := r.quiet(whole, n); err != nil {
			return err
		}
		if time.Until(over) < lastTrouble {
			continue
		}
		next := worries[n%len(worries)]
		fmt.Fprintf(os.Stdout, "%8s  %s\n", r.elapsed(), next.what)
		if err := r.endure(ctx, next); err != nil && ctx.Err() == nil {
			return err
		}
		if err := r.quiet(whole, n); err != nil {
			return err
		}
	}
	return nil
}

// tell goes through the stories of a round, side by side.
func (r *run) tell(ctx context.Context, n int) error {
	if !r.allowed(ctx, r.stile(ctx, r.boss, "", "login", "--iam")) {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.revoke(ctx) })
	group.Go(func() error { return r.expire(ctx) })
	group.Go(func() error { return r.change(ctx) })
	group.Go(func() error { return r.join(ctx, n) })
	group.Go(func() error { return r.shuffle(ctx, n) })
	group.Go(func() error { r.retry(ctx); return nil })
	return group.Wait()
}

// quiet has the system rest, and looks at what it holds then.
func (r *run) quiet(ctx context.Context, n int) error {
	r.traffic.Lock()
	defer r.traffic.Unlock()
	pause(ctx, rest)
	if n >= warmups {
		if err := r.sample(ctx); err != nil {
			return err
		}
	}
	r.leftovers()
	return nil
}

// elapsed is how long the system has been driven.
func (r *run) elapsed() time.Duration { return time.Since(r.began).Round(time.Second) }
