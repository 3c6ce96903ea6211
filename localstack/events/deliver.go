package events

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stile-dev/stile/localstack/pattern"
)

// maxPattern is how many characters a rule's pattern may have.
const maxPattern = 2048

// checkPattern refuses a pattern that EventBridge would, or that is not understood here.
func checkPattern(raw []byte) error {
	if n := len(raw); n > maxPattern {
		return fmt.Errorf("the pattern has %d characters, and EventBridge takes %d", n, maxPattern)
	}
	_, err := pattern.Parse(raw)
	return err
}

// Emit puts an event of an AWS service about some resources on the default bus, whose rules hear it.
func (s *Service) Emit(source, kind string, at time.Time, detail any, about ...string) error {
	raw, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("encoding an event of %s: %w", source, err)
	}
	a := s.config.Authority
	return s.deliver(Event{
		Version: "0", ID: newUUID(), DetailType: kind, Source: source, Account: a.Account(), Time: at.UTC().Truncate(time.Second),
		Region: a.Region(), Resources: append([]string{}, about...), Detail: raw,
	})
}

// deliver hands an event to the targets of the rules of its bus whose patterns match.
func (s *Service) deliver(e Event) error {
	bus := cmp.Or(e.Bus, defaultBus)
	e.Bus = "" // targets aren't told
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	rules, err := s.rules()
	var faults []error
	for _, r := range rules {
		if cmp.Or(r.Bus, defaultBus) != bus || !r.hears(e, raw) {
			continue
		}
		for _, t := range r.Targets {
			faults = append(faults, s.first(r, t, raw))
		}
	}
	return errors.Join(append(faults, err)...)
}

// hears reports whether a rule wants an event. One in state ENABLED hears no read-only event of CloudTrail.
func (r Rule) hears(e Event, raw []byte) bool {
	if r.Pattern == nil {
		return false
	}
	var call struct {
		ReadOnly bool `json:"readOnly"`
	}
	if e.DetailType == "AWS API Call via CloudTrail" && json.Unmarshal(e.Detail, &call) == nil && call.ReadOnly && !r.Reads {
		return false
	}
	p, err := pattern.Parse(r.Pattern)
	return err == nil && p.Matches(raw)
}

// rules are all that were provisioned.
func (s *Service) rules() (out []Rule, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(ruleBucket).ForEach(func(_, raw []byte) error {
			var r Rule
			err := json.Unmarshal(raw, &r)
			out = append(out, r)
			return err
		})
	})
	return out, err
}
