package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/tally"
)

// signatures compares what KMS signed with what functions claim, says so in the log, and measures it.
type signatures struct {
	log   *slog.Logger
	tally *tally.Tally
}

// compare takes what CloudTrail says out of the queue.
func (s signatures) compare(ctx context.Context) error {
	now := time.Now()
	told, err := s.tally.Settle(ctx, now)
	for _, u := range told {
		s.log.ErrorContext(ctx, "Signature that no function claims", slog.String("request", u.Request), slog.String("key", u.Key),
			slog.String("by", u.By), slog.Time("at", u.At))
	}
	return errors.Join(err, measure(now, names.MetricSignaturesUnclaimed, len(told)))
}

// hour judges an hour.
func (s signatures) hour(ctx context.Context, from time.Time) (checked.Statement, bool, error) {
	stated, lacking, ready, err := s.tally.Hour(ctx, from)
	if err != nil || !ready {
		return stated, ready, err
	}
	sum := 0
	for _, u := range lacking {
		s.log.WarnContext(ctx, "Signatures without records of CloudTrail", slog.String("function", u.Function), slog.Time("from", u.From),
			slog.Int("claimed", u.Claimed), slog.Int("lacking", u.Lacking))
		sum += u.Lacking
	}
	return stated, true, measure(time.Now(), names.MetricSignaturesUnrecorded, sum)
}
