package events

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
)

// Failure is why a target did not take a message. Any other error is one that may pass.
type Failure struct {
	Code    string // as EventBridge tells it, such as NO_PERMISSIONS ("Using dead-letter queues" in its user guide)
	Lasting bool   // trying again is of no use
	Err     error
}

func (f *Failure) Error() string { return f.Code + ": " + f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Dead is an event that a target did not take.
type Dead struct {
	Event      []byte            // as it came, before InputPath or InputTransformer
	Attributes map[string]string // ERROR_CODE, ERROR_MESSAGE, RULE_ARN, TARGET_ARN and what the retries came to
}

// late is an event that is to be tried again.
type late struct {
	Rule   string // its id
	Target string
	Event  json.RawMessage
	Tried  int // retries so far; -1 before the first try
	Came   time.Time
	Next   time.Time
}

const (
	maxLate  = 100_000 // events that wait; further ones count as tried often enough
	maxPause = time.Minute
)

// first tries to deliver an event to a target, or has it wait where it comes late. What may succeed later is scheduled for another
// try; the error says that the event is lost.
func (s *Service) first(r Rule, t Target, event []byte) error {
	if wait := s.config.Later(t); wait > 0 {
		now := s.config.Now().UTC()
		stored, err := s.store(nil, late{Rule: r.id(), Target: t.ID, Event: event, Tried: -1, Came: now, Next: now.Add(wait)})
		if stored || err != nil {
			return err
		}
	}
	err := s.config.OnEvent(r, t, t.message(r, event))
	if err == nil {
		return nil
	}
	return s.again(nil, late{Rule: r.id(), Target: t.ID, Event: event, Came: s.config.Now().UTC()}, r, t, err)
}

// again decides what becomes of an event after a failure: it waits under key, or under a new one if there is none, or it
// is dead.
func (s *Service) again(key []byte, l late, r Rule, t Target, why error) error {
	f, ok := errors.AsType[*Failure](why)
	if !ok {
		f = &Failure{Code: "ERROR_FROM_TARGET", Err: why}
	}
	retries, age := t.limits()
	condition := ""
	l.Next = s.config.Now().UTC().Add(min(maxPause, s.config.Pause<<min(l.Tried, 10)))
	switch {
	case f.Lasting:
	case l.Tried >= retries:
		condition = "MaximumRetryAttempts"
	case l.Next.After(l.Came.Add(age)):
		condition = "MaximumEventAgeInSeconds"
	default:
		stored, err := s.store(key, l)
		if stored || err != nil {
			return err
		}
		condition = "MaximumRetryAttempts"
	}
	return errors.Join(s.dead(l, r, t, f, condition), s.drop(key))
}

// store has an event wait; false if there is no room.
func (s *Service) store(key []byte, l late) (stored bool, err error) {
	raw, err := json.Marshal(l)
	if err != nil {
		return false, err
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(lateBucket)
		if key == nil {
			if b.Stats().KeyN >= maxLate {
				return nil
			}
			n, err := b.NextSequence()
			if err != nil {
				return err
			}
			key = binary.BigEndian.AppendUint64(nil, n)
		}
		stored = true
		return b.Put(key, raw)
	})
	if err != nil {
		return false, fmt.Errorf("keeping an event for later: %w", err)
	}
	select {
	case s.retry <- struct{}{}:
	default: // it is told already
	}
	return stored, nil
}

func (s *Service) drop(key []byte) error {
	if key == nil {
		return nil
	}
	return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(lateBucket).Delete(key) })
}

// dead sends an event to the target's queue. The error is of one that is lost.
func (s *Service) dead(l late, r Rule, t Target, f *Failure, condition string) error {
	if t.Dead == "" {
		return fmt.Errorf("rule %s: target %s: %w", r.Name, t.ARN, f)
	}
	attributes := map[string]string{"ERROR_CODE": f.Code, "ERROR_MESSAGE": f.Err.Error(), "RULE_ARN": r.ARN, "TARGET_ARN": t.ARN}
	if condition != "" {
		attributes["EXHAUSTED_RETRY_CONDITION"], attributes["RETRY_ATTEMPTS"] = condition, strconv.Itoa(l.Tried)
	}
	if err := s.config.OnDead(r, t, Dead{Event: l.Event, Attributes: attributes}); err != nil {
		return fmt.Errorf("rule %s: target %s: %w; its queue: %w", r.Name, t.ARN, f, err)
	}
	return nil
}

// run tries again what is due, until ctx ends.
func (s *Service) run(ctx context.Context) {
	for {
		next, err := s.retryDue(ctx)
		if err != nil {
			s.config.Log.Error("A rule's target failed", "cause", err)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.retry:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// retryDue tries what is due by now, and says how long it takes until something else is.
func (s *Service) retryDue(ctx context.Context) (next time.Duration, err error) {
	now := s.config.Now()
	next = maxPause
	var keys [][]byte
	var due []late
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(lateBucket).ForEach(func(k, raw []byte) error {
			var l late
			if err := json.Unmarshal(raw, &l); err != nil {
				return err
			}
			if wait := l.Next.Sub(now); wait > 0 {
				next = min(next, wait)
				return nil
			}
			if len(due) < 100 { // the rest comes at once, after these
				keys, due = append(keys, bytes.Clone(k)), append(due, l)
			} else {
				next = 0
			}
			return nil
		})
	})
	faults := []error{err}
	for i, l := range due {
		if ctx.Err() != nil {
			return 0, errors.Join(faults...)
		}
		wait, err := s.retryOne(keys[i], l)
		next = min(next, wait)
		faults = append(faults, err)
	}
	return max(next, time.Millisecond), errors.Join(faults...)
}

// retryOne tries an event once more, as its rule and target are now. Those of a rule or target that is gone are forgotten.
func (s *Service) retryOne(key []byte, l late) (wait time.Duration, err error) {
	rules, err := s.rules()
	if err != nil {
		return maxPause, err
	}
	for _, r := range rules {
		for _, t := range r.Targets {
			if r.id() != l.Rule || t.ID != l.Target {
				continue
			}
			l.Tried++
			err := s.config.OnEvent(r, t, t.message(r, l.Event))
			if err == nil {
				return maxPause, s.drop(key)
			}
			return s.config.Pause, s.again(key, l, r, t, err)
		}
	}
	return maxPause, s.drop(key)
}
