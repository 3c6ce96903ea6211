package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
	"github.com/stile-dev/stile/integration/stand"
)

// trouble is something that goes wrong on purpose.
type trouble struct {
	what string
	make func(context.Context) error // begins it, lets it last and ends it
}

// lasting is how long a trouble goes on that doesn't end by itself.
const lasting = 6 * time.Second

// worries are the troubles in their order. The first ones are those of a short run; the last takes two minutes, as a
// proxy that is asked to end lets its sessions go on for so long.
func (r *run) worries() []trouble {
	return []trouble{
		{"agent killed", func(ctx context.Context) error { return r.signal(ctx, victimNode, syscall.SIGKILL) }},
		{"AWS throttles, lingers and fails", func(ctx context.Context) error { return r.faults(ctx, slow...) }},
		{"proxy killed", func(ctx context.Context) error { return r.signal(ctx, victimProxy, syscall.SIGKILL) }},
		{"local AWS killed", r.outage},
		{"agent stopped", r.freeze},
		{"answers of AWS lost", func(ctx context.Context) error { return r.faults(ctx, deaf...) }},
		{"agent ended", func(ctx context.Context) error { return r.signal(ctx, victimNode, syscall.SIGTERM) }},
		{"proxy ended", r.drain},
	}
}

// endure makes a trouble, has those who are locked out try in the middle of it, and waits until all is well.
func (r *run) endure(ctx context.Context, t trouble) error {
	r.troubles.Begin(time.Now())
	retried := make(chan struct{})
	go func() {
		defer close(retried)
		r.retry(ctx)
	}()
	err := t.make(ctx)
	<-retried
	r.counts.troubles.Add(1)
	if err != nil {
		return fmt.Errorf("%s: %w", t.what, err)
	}
	over := time.Now()
	fault := ""
	if err := r.settle(ctx); err != nil {
		fault = t.what + ": " + err.Error()
	}
	if ctx.Err() == nil {
		r.counts.recoveries.add(time.Since(over))
		r.book.Judge(rule.Recovery, time.Now(), fault)
	}
	r.troubles.End(time.Now())
	return nil
}

// settle waits until every agent has its two tunnels, is shown as online, and lets somebody in.
func (r *run) settle(ctx context.Context) error {
	p, err := r.newcomer("env.bea")
	if err != nil {
		return err
	}
	defer r.remove(p)
	last := until(ctx, recovery, func() string { return r.well(ctx, p) })
	if last != "" && ctx.Err() == nil {
		return fmt.Errorf("after %s: %s", recovery, last)
	}
	return ctx.Err()
}

// well returns "" when all is, or what is not.
func (r *run) well(ctx context.Context, p *stand.Person) string {
	for _, name := range nodes {
		if n, err := r.Tunnels(ctx, filepath.Join(r.AgentHome(name), "state")); err != nil || n < 2 {
			return fmt.Sprintf("%s has %d tunnels: %v", name, n, err)
		}
	}
	for _, args := range [][]string{{"login", "--iam"}, {"ls", "--format", "json"}} {
		o := r.stile(ctx, p, "", args...)
		if o.fault() != "" {
			return o.fault()
		}
		if args[0] == "ls" && offline(o.Out) != "" {
			return offline(o.Out)
		}
	}
	for _, name := range nodes {
		if o := r.stile(ctx, p, "", "ssh", name, "--", "true"); o.fault() != "" {
			return o.fault()
		}
	}
	return r.stile(ctx, r.boss, "", "get", "roles").fault()
}

// signal sends a signal to a part of the system and waits until another process has taken its place.
func (r *run) signal(ctx context.Context, name string, signal syscall.Signal) error {
	return r.replaced(ctx, name, signal, recovery)
}

func (r *run) replaced(ctx context.Context, name string, signal syscall.Signal, limit time.Duration) error {
	before, err := r.PID(name)
	if err != nil {
		return err
	}
	from := time.Now()
	if err := syscall.Kill(before, signal); err != nil {
		return fmt.Errorf("signalling %s: %w", name, err)
	}
	last := until(ctx, limit, func() string {
		if pid, err := r.PID(name); err != nil || pid == before {
			return fmt.Sprintf("nobody started %s again: %v", name, err)
		}
		return ""
	})
	if signal == syscall.SIGKILL {
		r.killed(name, from)
	}
	if last != "" && ctx.Err() == nil {
		r.book.Broken(rule.Recovery, time.Now(), "%s", last)
	}
	return nil
}

// freeze stops an agent for a while without ending it.
func (r *run) freeze(ctx context.Context) error {
	pid, err := r.PID(victimNode)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	pause(ctx, lasting)
	return syscall.Kill(pid, syscall.SIGCONT)
}

// drain asks a proxy to end, which it does when its sessions have or its patience is over.
func (r *run) drain(ctx context.Context) error {
	return r.replaced(ctx, victimProxy, syscall.SIGTERM, 3*time.Minute)
}

// outage kills the local AWS with every function in it, and brings it back.
func (r *run) outage(ctx context.Context) error {
	pid, err := r.PID("localstack")
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing the local AWS: %w", err)
	}
	pause(ctx, lasting)
	_, err = r.Localstack(ctx, "up")
	return err
}

var (
	slow = []stand.Fault{
		{Service: "dynamodb", Kind: "throttle", Probability: 0.2},
		{Service: "kms", Kind: "throttle", Probability: 0.2},
		{Service: "s3", Kind: "throttle", Probability: 0.2},
		{Service: "lambda", Kind: "throttle", Probability: 0.2},
		{Service: "sts", Kind: "error", Probability: 0.2},
		{Service: "dynamodb", Kind: "error", Probability: 0.1},
		{Service: "*", Kind: "latency", Probability: 0.3, LatencyMS: 400},
	}
	deaf = []stand.Fault{{Service: "*", Kind: "lost_answer", Probability: 0.15}, {Service: "s3", Kind: "down", Probability: 0.5}}
)

// faults has the local AWS misbehave for a while.
func (r *run) faults(ctx context.Context, list ...stand.Fault) (err error) {
	defer func() { err = errors.Join(err, r.boss.Behave()) }()
	for _, f := range list {
		if err := r.boss.Misbehave(f); err != nil {
			return err
		}
	}
	pause(ctx, 2*lasting)
	return nil
}
