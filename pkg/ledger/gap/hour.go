package gap

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/ledger/reader"
	"github.com/stile-dev/stile/pkg/names"
)

// tallied is how many hours are counted at most: of older ones nobody can say any more how many events were looked at.
const tallied = 72

// tally is what was received in an hour in the partitions of agents, of what has a number.
type tally struct {
	Proven  int `json:"proven,omitempty"`
	Strange int `json:"strange,omitempty"` // that no agent's key has signed
}

// count adds what a look reads for the first time.
func (p *place) count(entries []reader.Entry) {
	if p.Hours == nil {
		p.Hours = map[int64]tally{}
	}
	for _, e := range entries {
		if e.Received.Before(p.Until) { // looked at again
			continue
		}
		hour := e.Received.Truncate(checked.Hour).Unix()
		t := p.Hours[hour]
		if e.Standing == reader.Proven {
			t.Proven++
		} else {
			t.Strange++
		}
		p.Hours[hour] = t
	}
	oldest := p.oldest().Unix()
	maps.DeleteFunc(p.Hours, func(hour int64, _ tally) bool { return hour < oldest })
}

// oldest is the first hour that is still known.
func (p *place) oldest() time.Time {
	return p.Until.Add(-tallied * checked.Hour).Truncate(checked.Hour)
}

// Hour states whether numbers are missing of what agents' events were received in the hour from a time on. ready is false as long as
// a gap of it may still be filled or told.
func (l *Looker) Hour(ctx context.Context, from time.Time) (s checked.Statement, ready bool, err error) {
	s = checked.Statement{Check: checked.Sequences, From: from, To: from.Add(checked.Hour)}
	var p place
	if _, err := l.get(ctx, keyLooked, &p); err != nil {
		return s, false, err
	}
	settled := s.To.Add(Patience)
	if p.Position != "" || p.Until.Before(settled) {
		return s, false, nil
	}
	waiting, _, err := l.state.Page(ctx, names.Gap, "", 1)
	if err != nil || len(waiting) > 0 && waiting[0].Text(names.SK) < due(settled.Add(time.Millisecond), "") {
		return s, false, err
	}
	if s.Found, err = l.toldOf(ctx, s.From, s.To, p.Until.Add(again)); err != nil {
		return s, false, err
	}
	t := p.Hours[from.Unix()]
	s.Looked = t.Proven
	var not []string
	if since := latest(p.Counted, p.oldest()); from.Before(since) {
		not = append(not, "what was received before "+since.Format(time.RFC3339)+" was not counted")
	}
	if t.Strange > 0 {
		not = append(not, strconv.Itoa(t.Strange)+" events among those of agents are signed by none")
	}
	s.Unproved = strings.Join(not, "; ")
	return s, true, nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// toldOf counts the gaps that were told, until a time, of what was received from one to another.
func (l *Looker) toldOf(ctx context.Context, from, to, until time.Time) (gaps int, err error) {
	seen := func(e audit.Event) bool {
		at, err := time.Parse(time.RFC3339, e.Data["seen"])
		return e.Type == audit.LedgerGap && err == nil && !at.Before(from) && at.Before(to)
	}
	span := reader.Span{After: reader.Begin(from), Until: until, Limit: page, Writer: names.WriterFunction + "sweep"}
	for {
		entries, next, err := reader.Received(ctx, l.config.DynamoDB, l.config.Events, span, seen)
		if err != nil {
			return 0, fmt.Errorf("counting the gaps that were told: %w", err)
		}
		for _, e := range entries {
			more, _ := strconv.Atoi(e.Event.Data["more"]) // absent when there are none
			gaps += 1 + more
		}
		if next == "" {
			return gaps, nil
		}
		span.After = next
	}
}
