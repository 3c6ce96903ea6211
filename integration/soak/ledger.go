package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stile-dev/stile/integration/soak/rule"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger/reader"
)

// journal waits until the ledger holds every session whole, and judges what it lacks.
func (r *run) journal(ctx context.Context) (err error) {
	seen := r.sessions.all()
	var excused int
	var faults []string
	until(ctx, recovery, func() string {
		var report reader.Report
		if report, err = r.Ledger(ctx); err != nil {
			return err.Error()
		}
		r.whole, excused, faults = rule.Ledger(seen, entriesOf(report), r.kills)
		faults = append(faults, doubts(report)...)
		return strings.Join(faults, "\n")
	})
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	for range r.whole {
		r.book.Held(rule.Journal)
	}
	for range excused {
		r.book.Excused(rule.Journal)
	}
	for _, f := range faults {
		r.book.Broken(rule.Journal, time.Now(), "%s", f)
	}
	return nil
}

// entriesOf is what agents have proven about sessions.
func entriesOf(report reader.Report) (list []rule.Entry) {
	for _, e := range report.Events() {
		if e.Type == audit.SessionStart || e.Type == audit.SessionEnd {
			list = append(list, rule.Entry{
				SessionID: e.SessionID, User: strings.TrimPrefix(e.Actor, "user/"), Target: e.Target, Start: e.Type == audit.SessionStart, At: e.Time,
			})
		}
	}
	return list
}

// doubts are the events that can't be believed, and what is missing among the agents' own.
func doubts(report reader.Report) (list []string) {
	for _, e := range report.Entries {
		if e.Standing == reader.Refused {
			list = append(list, fmt.Sprintf("event %s of %s is refused: %s", e.Event.ID, e.Event.Source, e.Why))
		}
	}
	for _, g := range report.Gaps {
		list = append(list, fmt.Sprintf("events %d to %d of %s, epoch %s, are not there", g.First, g.Last, g.Source, g.Epoch))
	}
	return list
}
