package cmd

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/escape"
	"github.com/stile-dev/stile/pkg/wire"
)

// whole prints all that events have, for people: a line for each field, and an empty one between events.
type whole struct {
	*app
	n int
}

func (p *whole) print(l wire.LedgerEvent) error {
	if p.n++; p.n > 1 {
		if _, err := fmt.Fprintln(p.Out); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	for _, f := range fields(l) {
		if f.value == "" {
			continue
		}
		if _, err := fmt.Fprintf(p.Out, "%-14s %s\n", escape.Text(f.name), escape.Text(oneLine(f.value))); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	return nil
}

func (p *whole) count() int { return p.n }
func (p *whole) end() error { return nil }

// field is one of an event, as it is called in JSON.
type field struct{ name, value string }

// fields are those of an event: what people ask for first, and its data in alphabetical order.
func fields(l wire.LedgerEvent) []field {
	e, err := audit.Parse([]byte(l.Event))
	if err != nil {
		return []field{{"standing", l.Standing}, {"why", l.Why}, {"raw", l.Event}}
	}
	target := ""
	if e.Target != "" {
		target = e.TargetKind + "/" + e.Target
	}
	all := []field{
		{"decision_id", e.DecisionID},
		{"time", e.Time.Local().Format(time.DateTime)},
		{"type", string(e.Type)},
		{"outcome", string(e.Outcome)},
		{"reason", e.Reason},
		{"actor", e.Actor},
		{"actor_roles", strings.Join(e.ActorRoles, ", ")},
		{"target", target},
		{"scope", e.Scope},
		{"session_id", e.SessionID},
		{"source_ip", e.SourceIP},
		{"source", e.Source},
		{"standing", l.Standing},
		{"why", l.Why},
		{"received", l.Received.Local().Format(time.DateTime)},
		{"id", e.ID},
		{"request_id", e.RequestID},
		{"cluster", e.Cluster},
		{"code", e.Code},
		{"source_epoch", e.SourceEpoch},
		{"source_after", e.SourceAfter},
	}
	if e.Seq > 0 {
		all = append(all, field{"seq", strconv.FormatUint(e.Seq, 10)})
	}
	for _, key := range slices.Sorted(maps.Keys(e.Data)) {
		all = append(all, field{key, e.Data[key]})
	}
	return all
}

// oneLine writes text of several lines on one: a space for each end of a line, and for the white space about it.
func oneLine(text string) string {
	if !strings.ContainsAny(text, "\r\n") {
		return text
	}
	var parts []string
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}
