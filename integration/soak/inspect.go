package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
