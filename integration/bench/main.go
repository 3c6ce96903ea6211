// Package main measures a whole Stile, started for this, beside OpenSSH's own server and client and beside the bare
// SSH library, in one run on loopback, and prints the figures with the design's budgets. See docs/performance.md.
//
// It knows the inside of nothing that it measures: it starts programs, speaks their protocols by the product's pkg, and
// reads /proc. It judges nothing and writes nothing that stays. Its entry point is main.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stile-dev/stile/integration/clean"
	"github.com/stile-dev/stile/integration/stand"
)

func main() {
	if meant, status := floorMain(os.Args[1:]); meant {
		os.Exit(status)
	}
	o := options{}
	flag.StringVar(&o.root, "root", ".", "the repository, with its programs built")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each measure; some take a multiple")
	flag.IntVar(&o.agents, "agents", 200, "idle agents at the proxy, at most 1000")
	flag.DurationVar(&o.hostile, "hostile", 20*time.Second, "how long hostile peers are at work")
	flag.StringVar(&o.only, "only", "", "these steps alone, with commas: idle, agents, connections, streams, recordings, sessions, ls, audit, silent, hostile")
	flag.Parse()
	status, err := start(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		status = 1
	}
	os.Exit(status)
}

// options are what is measured.
type options struct {
	root    string
	rounds  int
	agents  int
	hostile time.Duration
	only    string
}

// start gives the run a directory of its own, and the user a clean home where it can.
func start(o options) (int, error) {
	if dir := clean.Dir(); dir != "" {
		if _, _, err := clean.Run(dir); err != nil {
			return 1, err
		}
		return 0, run(o, dir)
	}
	dir, err := os.MkdirTemp("", "stile-bench-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	ran, status, err := clean.Run(dir)
	if ran {
		return status, err
	}
	fmt.Println("note:", err)
	return 0, run(o, dir)
}

// run starts the peers, measures and prints.
func run(o options, dir string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	sshDir := filepath.Join(dir, "ssh")
	if err := os.Mkdir(sshDir, 0o700); err != nil {
		return err
	}
	server, err := startOpenSSH(sshDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	floor, stopFloor, err := startFloor()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopFloor()) }()
	s := &system{System: &stand.System{Root: o.root, State: filepath.Join(dir, "state")}}
	defer func() {
		_, downErr := s.localstack(context.Background(), "down")
		err = errors.Join(err, downErr)
	}()
	rows, err := ups(ctx, s)
	if err != nil {
		return err
	}
	stile, err := s.way()
	if err != nil {
		return err
	}
	more, err := measure(ctx, o, s, ways{server.direct(), server.jump(), floor, stile})
	fmt.Println()
	return errors.Join(err, print(os.Stdout, append(more, rows...)))
}

// step is a part of the run that -only names.
type step struct {
	name string
	run  func() ([]row, error)
}

// measure goes through the steps that were asked for; what was measured before one failed is given too.
func measure(ctx context.Context, o options, s *system, w ways) ([]row, error) {
	var rows []row
	for _, part := range []step{
		{"idle", func() ([]row, error) { return idle(w) }},
		{"agents", func() ([]row, error) { return one(agentsHeld(ctx, s, w, o.agents)) }}, // before others leave free memory behind
		{"connections", func() ([]row, error) { return connections(ctx, w, o.rounds) }},
		{"streams", func() ([]row, error) { return streams(ctx, s, w, o.rounds) }},
		{"recordings", func() ([]row, error) { return recordings(ctx, s, o.rounds) }},
		{"sessions", func() ([]row, error) { return one(sessionsHeld(ctx, w)) }},
		{"ls", func() ([]row, error) { return one(list(ctx, s, o.rounds)) }},
		{"audit", func() ([]row, error) { return evidence(ctx, s) }},
		{"silent", func() ([]row, error) { return hushed(ctx, s) }},
		{"hostile", func() ([]row, error) { return besiege(ctx, s, w, o.hostile) }},
	} {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), part.name) {
			continue
		}
		got, err := part.run()
		rows = append(rows, got...)
		if err != nil {
			return rows, err
		}
		for _, r := range got {
			fmt.Fprintf(os.Stderr, "%s: %s %s\n", r.what, number(r.stile.median()), r.unit)
		}
	}
	return rows, nil
}

func one(r row, err error) ([]row, error) { return []row{r}, err }

// ups starts the system with an empty state, stops it and starts it again with what it kept.
func ups(ctx context.Context, s *system) ([]row, error) {
	first, err := s.localstack(ctx, "up")
	if err != nil {
		return nil, err
	}
	if err := s.login(ctx); err != nil {
		return nil, err
	}
	if _, err := s.localstack(ctx, "down"); err != nil {
		return nil, err
	}
	again, err := s.localstack(ctx, "up")
	if err != nil {
		return nil, err
	}
	if err := s.login(ctx); err != nil { // the proxies may be others
		return nil, err
	}
	return []row{
		{what: "up, built, nothing there yet", unit: "s", stile: sample{first.Seconds()}},
		{what: "up, built, with what was kept", unit: "s", stile: sample{again.Seconds()}, budget: 5},
	}, nil
}

// list is stile ls as a whole process.
func list(ctx context.Context, s *system, rounds int) (row, error) {
	took, err := interleaved(4*rounds, []func() (float64, error){func() (float64, error) {
		d, err := whole(s.engineer.Command(ctx, "stile", "ls"))
		return ms(d), err
	}})
	if err != nil {
		return row{}, err
	}
	return row{what: "ls, whole process", unit: "ms", stile: took[0], budget: 30}, nil
}
