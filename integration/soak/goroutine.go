package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
)

// moreGoroutines is how many more than one that has just started a program may have that has worked all the time.
const moreGoroutines = 8

// goroutines compares programs that lived through it all with ones that have just started, by the dump that a Go
// program writes when it is sent SIGQUIT, which ends it.
func (r *run) goroutines(ctx context.Context) error {
	old, err := r.dumpFunctions(ctx)
	if err != nil {
		return err
	}
	for _, fresh := range []string{"node-2", victimProxy} {
		if err := r.signal(ctx, fresh, syscall.SIGKILL); err != nil {
			return err
		}
	}
	if err := r.settle(ctx); err != nil { // which has new instances of functions started, too
		return err
	}
	pause(ctx, rest)
	fresh, err := r.dumpFunctions(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(fresh)) {
		if old[name] > 0 { // else it was idle for too long to be there
			r.compare(name, old[name], fresh[name])
		}
	}
	for _, pair := range []struct{ old, fresh string }{{steadyNode, "node-2"}, {steadyProxy, victimProxy}} {
		old, err1 := r.dumpPart(ctx, pair.old)
		fresh, err2 := r.dumpPart(ctx, pair.fresh)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		r.compare(pair.old, old, fresh)
	}
	return nil
}

// compare judges the goroutines of something old by those of its like that has just started.
func (r *run) compare(name string, old, fresh int) {
	fault := ""
	if old > fresh+moreGoroutines {
		fault = fmt.Sprintf("%s has %d goroutines in the end, and %d when it has just started", name, old, fresh)
	}
	r.book.Judge(rule.Goroutine, time.Now(), fault)
	r.dumps = append(r.dumps, fmt.Sprintf("%s\t%d\t%d", name, old, fresh))
}

// dumpPart ends a part of the system, waits for its successor, and returns how many goroutines it had.
func (r *run) dumpPart(ctx context.Context, name string) (int, error) {
	return dumped(filepath.Join(r.State, "log", name+".log"), func() error { return r.signal(ctx, name, syscall.SIGQUIT) })
}

// dumpFunctions ends every function instance and returns the most goroutines that one of each function had.
func (r *run) dumpFunctions(ctx context.Context) (map[string]int, error) {
	most := map[string]int{}
	for _, p := range r.programs() {
		name, function := strings.CutPrefix(p.name, "functions/")
		if !function {
			continue
		}
		n, err := dumped(filepath.Join(r.State, "log", "stile-"+name+".log"), func() error {
			if err := syscall.Kill(p.pid, syscall.SIGQUIT); err != nil {
				return fmt.Errorf("signalling %s: %w", p.name, err)
			}
			if last := until(ctx, bound, func() string { return lives(p.pid) }); last != "" {
				return fmt.Errorf("%s was sent SIGQUIT: %s", p.name, last)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		most[p.name] = max(most[p.name], n)
	}
	return most, nil
}

// lives returns "" when a process has ended.
func lives(pid int) string {
	if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil {
		return "" // a process that was not waited for yet has none either
	}
	return fmt.Sprintf("process %d lives on", pid)
}

// dumped counts the goroutines of the dump that something has a program append to its log.
func dumped(log string, dump func() error) (int, error) {
	before, err := os.Stat(log)
	if err != nil {
		return 0, err
	}
	if err := dump(); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return 0, err
	}
	n := rule.Goroutines(text[min(before.Size(), int64(len(text))):])
	if n == 0 {
		return 0, fmt.Errorf("no dump was written to %s", log)
	}
	return n, nil
}
