package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/checked/book"
	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/ledger/canary"
	"github.com/stile-dev/stile/pkg/ledger/compare"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/names"
)

// claimed is how long after an hour the recordings of its sessions are looked for: an agent claims one within seconds of the
// session's beginning, or as soon as it reaches the API.
const claimed = 30 * time.Minute

// late is how old the last statement of a check may be before that counts as something that isn't proved.
const late = 4 * time.Hour

// check is one of what is stated hour by hour.
type check struct {
	name     string
	patience time.Duration // after the end of an hour
	judge    func(ctx context.Context, from time.Time) (s checked.Statement, ready bool, err error)
}

// hourly states hours.
type hourly struct {
	log    *slog.Logger
	book   *book.Book
	checks []check
}

// state states the hours whose turn it is, and measures how many of them aren't proved and how many checks are late. A check that
// fails holds up no other.
func (h hourly) state(ctx context.Context, now time.Time) error {
	var failed []error
	unproved := 0
	for _, c := range h.checks {
		stated, err := h.book.Run(ctx, c.name, now, c.patience, c.judge)
		n, late := h.weigh(ctx, c.name, stated, now)
		failed, unproved = append(failed, err, late), unproved+n
	}
	return errors.Join(append(failed, measure(now, names.MetricEvidenceUnproved, unproved))...)
}

// weigh counts the statements of a check that don't prove what they are about, and the check itself when it is late.
func (h hourly) weigh(ctx context.Context, name string, stated []checked.Statement, now time.Time) (unproved int, err error) {
	for _, s := range stated {
		if !s.Proves() {
			unproved++
			h.log.WarnContext(ctx, "Evidence of an hour not proved", slog.String("check", s.Check), slog.Time("from", s.From),
				slog.Int("looked", s.Looked), slog.Int("found", s.Found), slog.String("which", s.Which), slog.String("unproved", s.Unproved))
		}
	}
	behind, err := h.book.Behind(ctx, name, now)
	if behind > late {
		unproved++
		h.log.WarnContext(ctx, "Evidence not checked for hours", slog.String("check", name), slog.Duration("behind", behind))
	}
	return unproved, err
}

// against tells what the lake lacks of the ledger, or has beside it, and states the hours that were compared.
func (h hourly) against(ctx context.Context, c *compare.Comparer, now time.Time) error {
	r, err := c.Compare(ctx, now)
	if r.Found+r.Sent+r.Owed > 0 {
		h.log.WarnContext(ctx, "Ledger and lake differ", slog.Int("told", r.Found), slog.Int("sent_again", r.Sent), slog.Int("hours_owed", r.Owed))
	}
	for _, from := range r.GivenUp {
		h.log.ErrorContext(ctx, "The lake was never seen to have all of an hour that the ledger doesn't hold any more", slog.Time("from", from))
	}
	unproved, late := h.weigh(ctx, checked.Lake, r.Stated, now)
	return errors.Join(err, late, measure(now, names.MetricEvidenceUnproved, unproved), measure(now, names.MetricLakeDiffers, r.Found))
}

// canaries writes the canary of this hour, and states what became of those of hours before.
func (h hourly) canaries(ctx context.Context, c *canary.Canary, now time.Time) error {
	wrote := c.Write(ctx, now)
	return errors.Join(wrote, h.state(ctx, now))
}

// begun reads the ledger for sessions.
type begun struct {
	db    reader.API
	table string
	trust func(context.Context) ([]document.Trust, error)
}

// atOnce is how many events are passed on at once.
const atOnce = 500

// between passes on the starts of sessions that were received from one time to another, as [archive.CheckerConfig] wants.
func (b begun) between(ctx context.Context, from, to time.Time, take func([]audit.Event) error) (strange int, err error) {
	trust, err := b.trust(ctx)
	if err != nil {
		return 0, err
	}
	start := func(e audit.Event) bool { return e.Type == audit.SessionStart }
	span := reader.Span{After: reader.Begin(from), Until: to, Limit: atOnce, Writer: names.WriterAgent}
	for {
		entries, next, err := reader.Received(ctx, b.db, b.table, span, start, trust...)
		if err != nil {
			return strange, err
		}
		var proven []audit.Event
		for _, e := range entries {
			if e.Standing == reader.Proven {
				proven = append(proven, e.Event)
			} else {
				strange++
			}
		}
		if err := take(proven); err != nil || next == "" {
			return strange, err
		}
		span.After = next
	}
}
