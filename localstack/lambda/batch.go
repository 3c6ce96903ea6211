package lambda

import (
	"context"
	"encoding/json"
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
		if !failed {
			return d.done(batch[len(batch)-1].Sequence)
		}
		if d.bisect && len(batch) > 1 { // halving does not use up a retry
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

// attempt invokes once.
func (d delivery) attempt(ctx context.Context, batch []Record) (failed bool, why string, err error) {
	result, err := d.invoke(ctx, batch)
	switch {
	case ctx.Err() != nil:
		return true, "", ctx.Err()
	case err != nil:
		return true, err.Error(), nil
	case result.Failed:
		return true, string(result.Payload), nil
	}
	return false, "", nil
}
