// Package main runs a whole system as a busy day would, for as long as somebody likes: people work, come, are revoked
// and expire; agents, proxies and the local AWS are killed and come back. Meanwhile and in the end it holds what it
// saw against the rules of package rule, and fails when one is broken. `make soak T=30m` runs it.
//
// It knows the product by its programs, its logs, its ledger and what Linux says of its processes, and changes nothing
// outside of a directory of its own. Its entry point is main.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/stile-dev/stile/integration/clean"
)

func main() {
	if meant, status := connectMain(os.Args[1:]); meant {
		os.Exit(status)
	}
	o := options{}
	flag.StringVar(&o.root, "root", ".", "the repository, with its programs built")
	flag.DurationVar(&o.long, "t", 30*time.Minute, "how long the system is driven; what is held against it in the end takes a few minutes more")
	flag.IntVar(&o.revoked, "revoked", 0, "how many users are revoked already when it begins, at most 100000")
	flag.StringVar(&o.keep, "keep", "", "a new directory for the system, which then stays, with its logs")
	flag.Parse()
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	status, err := start(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		status = 1
	}
	os.Exit(status)
}

// options are what is asked for.
type options struct {
	root, keep string
	long       time.Duration
	revoked    int
}

// A run needs some time to try every rule once, and ends before the logins do that are made for all of it, 12 h.
const (
	shortest = 2 * time.Minute
	longest  = 10 * time.Hour
)

func (o *options) check() error {
	if o.revoked < 0 || o.revoked > 100_000 {
		return fmt.Errorf("-revoked %d: give 0 to 100000", o.revoked)
	}
	if o.long < shortest {
		return fmt.Errorf("%s is too short to try every rule: at least %s, such as make soak T=10m", o.long, shortest)
	}
	if o.long > longest {
		return fmt.Errorf("%s is more than %s, for which the people of a run can stay logged in", o.long, longest)
	}
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	o.root = root
	if clean.Dir() != "" || o.keep == "" {
		return nil
	}
	if o.keep, err = filepath.Abs(o.keep); err != nil {
		return err
	}
	return os.Mkdir(o.keep, 0o700)
}

// start gives the run a directory of its own, and the user a clean home where it can.
func start(o options) (int, error) {
	if dir := clean.Dir(); dir != "" {
		if _, _, err := clean.Run(dir); err != nil {
			return 1, err
		}
		return soak(o, dir)
	}
	dir := o.keep
	if dir == "" {
		made, err := os.MkdirTemp("", "stile-soak-")
		if err != nil {
			return 1, err
		}
		dir = made
		defer os.RemoveAll(dir)
	}
	ran, status, err := clean.Run(dir)
	if ran {
		return status, err
	}
	fmt.Println("note:", err)
	return soak(o, dir)
}

// soak runs it all until it's over or somebody interrupts it, and prints what it saw.
func soak(o options, dir string) (int, error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	r, err := newRun(ctx, o, dir)
	if err != nil {
		return 1, err
	}
	err = r.all(ctx)
	interrupted := ctx.Err() != nil
	err = errors.Join(err, r.end())
	r.final(os.Stdout)
	switch {
	case interrupted:
		return 130, errors.New("interrupted; what is above is what was seen until then")
	case err != nil:
		return 1, err
	case !r.kept():
		return 1, nil
	}
	return 0, nil
}
