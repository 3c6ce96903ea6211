package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Record is one entry of a stream, in the shape in which functions get it.
type Record struct {
	Sequence string          // orders the stream
	Created  time.Time       // when it was written
	Event    json.RawMessage // with eventID, eventName, dynamodb and so on
}

// delivery is how a mapping treats a batch: what AWS::Lambda::EventSourceMapping's properties ask for.
type delivery struct {
	invoke  func(ctx context.Context, records []Record) (Result, error)
	done    func(sequence string) error                   // everything up to here has been dealt with
	giveUp  func(records []Record, why string, tries int) // retries are used up
	pause   func(ctx context.Context, tries int) error    // between tries; an error ends the delivery
	retries int                                           // after the first try; -1: as long as the records live
	maxAge  time.Duration                                 // -1: no limit
	bisect  bool                                          // halve a failing batch
	partial bool                                          // the function names what failed (ReportBatchItemFailures)
	now     func() time.Time
}

// deliver hands a batch to the function, in order, until all of it succeeded or was abandoned. It returns an
// error only when it was stopped, or a checkpoint could not be kept: the batch then comes again.
func (d delivery) deliver(ctx context.Context, batch []Record) error {
	for tries := 0; len(batch) > 0; {
		failed, why, err := d.attempt(ctx, batch)
		if err != nil {
			return err
		}
		if failed < 0 {
			return d.done(batch[len(batch)-1].Sequence)
		}
		if failed > 0 { // the records before the first failed one are done
			if err := d.done(batch[failed-1].Sequence); err != nil {
				return err
			}
			batch = batch[failed:]
		}
		if d.bisect && len(batch) > 1 && failed == 0 { // halving does not use up a retry
			if err := d.pause(ctx, tries); err != nil {
				return err
			}
			half := len(batch) / 2
			if err := d.deliver(ctx, batch[:half]); err != nil {
				return err
			}
			batch, tries = batch[half:], 0
			continue
		}
		tries++
		if old := d.maxAge >= 0 && d.now().Sub(batch[0].Created) > d.maxAge; old || (d.retries >= 0 && tries > d.retries) {
			d.giveUp(batch, why, tries)
			return d.done(batch[len(batch)-1].Sequence)
		}
		if err := d.pause(ctx, tries); err != nil {
			return err
		}
	}
	return nil
}

// attempt invokes once. failed is the index of the first record that failed, or -1.
func (d delivery) attempt(ctx context.Context, batch []Record) (failed int, why string, err error) {
	result, err := d.invoke(ctx, batch)
	switch {
	case ctx.Err() != nil:
		return 0, "", ctx.Err()
	case err != nil:
		return 0, err.Error(), nil
	case result.Failed:
		return 0, string(result.Payload), nil
	case !d.partial:
		return -1, "", nil
	}
	failed, err = firstFailure(result.Payload, batch)
	if err != nil {
		return 0, err.Error(), nil
	}
	return failed, "the function named a failed record", nil
}

// firstFailure reads {"batchItemFailures":[{"itemIdentifier":"<sequence>"}]}. An answer that can't be read,
// or names a record that was not sent, fails the whole batch, as on AWS.
func firstFailure(answer []byte, batch []Record) (int, error) {
	var named struct {
		BatchItemFailures []struct{ ItemIdentifier string } `json:"batchItemFailures"`
	}
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &named); err != nil {
			return 0, fmt.Errorf("reading batchItemFailures: %w", err)
		}
	}
	first := -1
	for _, item := range named.BatchItemFailures {
		at := slices.IndexFunc(batch, func(r Record) bool { return r.Sequence == item.ItemIdentifier })
		if at < 0 {
			return 0, errors.New("batchItemFailures names a record that was not in the batch")
		}
		if first < 0 || at < first {
			first = at
		}
	}
	return first, nil
}
