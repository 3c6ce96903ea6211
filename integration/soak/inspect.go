package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
)

// inspect holds what is left when nobody works any more against the rules.
func (r *run) inspect(ctx context.Context) error {
	if err := r.settle(ctx); err != nil {
		return fmt.Errorf("when everybody had left: %w", err)
	}
	pause(ctx, rest)
	if err := r.sample(ctx); err != nil {
		return err
	}
	r.judgeLeaks()
	r.leftovers()
	if err := r.journal(ctx); err != nil {
		return err
	}
	r.judgeLogs() // before the dumps below, which look like crashes
	if err := r.goroutines(ctx); err != nil {
		return err
	}
	return r.again(ctx)
}

// judgeLogs reads all logs for panics and errors.
func (r *run) judgeLogs() {
	logs, _ := filepath.Glob(filepath.Join(r.State, "log", "*.log"))
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil {
			r.book.Broken(rule.Log, time.Now(), "%v", err)
			continue
		}
		clean := true
		for line := range bytes.Lines(text) {
			l, bad := rule.ReadLine(line)
			switch {
			case !bad:
			case l.Kind == rule.Error && r.troubles.Explain(l.At, l.At):
				r.book.Excused(rule.Log)
			default:
				r.book.Broken(rule.Log, l.At, "%s: %.600s", filepath.Base(path), l.Text)
				clean = false
			}
		}
		if clean {
			r.book.Held(rule.Log)
		}
	}
}

// moreGoroutines is how many more than one that has just started a program may have that has worked all the time.
const moreGoroutines = 8

// goroutines compares programs that lived through it all with ones that have just started and did nothing, by the
// dump that a Go program writes when it is sent SIGQUIT, which ends it.
func (r *run) goroutines(ctx context.Context) error {
	for _, fresh := range []string{"node-2", victimProxy} {
		if err := r.signal(ctx, fresh, syscall.SIGKILL); err != nil {
			return err
		}
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	pause(ctx, rest)
	for _, pair := range []struct{ old, fresh string }{{steadyNode, "node-2"}, {steadyProxy, victimProxy}} {
		old, err1 := r.dump(ctx, pair.old)
		fresh, err2 := r.dump(ctx, pair.fresh)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		fault := ""
		if old > fresh+moreGoroutines {
			fault = fmt.Sprintf("%s has %d goroutines, and %s, which has just started, %d", pair.old, old, pair.fresh, fresh)
		}
		r.book.Judge(rule.Goroutine, time.Now(), fault)
		fmt.Printf("%8s  goroutines: %s %d, %s afresh %d\n", r.elapsed(), pair.old, old, pair.fresh, fresh)
	}
	return nil
}

// dump ends a program and counts its goroutines.
func (r *run) dump(ctx context.Context, name string) (int, error) {
	path := filepath.Join(r.State, "log", name+".log")
	before, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if err := r.signal(ctx, name, syscall.SIGQUIT); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n := rule.Goroutines(text[min(before.Size(), int64(len(text))):])
	if n == 0 {
		return 0, fmt.Errorf("%s left no dump in %s", name, path)
	}
	return n, nil
}

// again stops everything, starts it with what it kept, and holds that it works and that nothing is left of sessions.
func (r *run) again(ctx context.Context) error {
	if _, err := r.Localstack(ctx, "down"); err != nil {
		return err
	}
	fault := strings.Join(r.running(), ", ")
	if _, err := r.Localstack(ctx, "up"); err != nil {
		fault = strings.TrimPrefix(fault+", "+err.Error(), ", ")
	} else if err := r.settle(ctx); err != nil {
		fault = strings.TrimPrefix(fault+", "+err.Error(), ", ")
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.book.Judge(rule.Again, time.Now(), fault)
	over := map[string]bool{}
	for _, s := range r.sessions.all() {
		over[s.ID] = true
	}
	r.book.Judge(rule.Leftover, time.Now(), strings.Join(groups(over), ", "))
	return nil
}
