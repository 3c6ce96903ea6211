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
	done    func(sequence string) error                  // everything up to here has been dealt with
	giveUp  func(records []Record, v verdict, tries int) // retries are used up
	pause   func(ctx context.Context, tries int) error   // between tries; an error ends the delivery
	retries int                                          // after the first try; -1: as long as the records live
	maxAge  time.Duration                                // -1: no limit
	bisect  bool                                         // halve a failing batch
	reports bool                                         // the function says which records failed: ReportBatchItemFailures
	now     func() time.Time
}

// verdict is how an invocation went.
type verdict struct {
	rest   int    // the first record that has to be tried again, and all behind it; the batch's length: none
	report bool   // the function succeeded, and named that record
	threw  bool   // the function failed, or could not be invoked
	why    string // of what has to be tried again
}

// deliver hands a batch to the function, in order, until all of it succeeded or was abandoned. It returns an
// error only when it was stopped, or a checkpoint could not be kept: the batch then comes again.
//
// What a function reports is a try of all that follows, so that a record is handed over once, and as often again as
// there are retries. When a batch is bisected, the retries of each half are counted from zero.
func (d delivery) deliver(ctx context.Context, batch []Record) error {
	for tries := 0; len(batch) > 0; {
		v, err := d.attempt(ctx, batch)
		if err != nil {
			return err
		}
		if v.rest > 0 {
			if err := d.done(batch[v.rest-1].Sequence); err != nil {
				return err
			}
		}
		if batch = batch[v.rest:]; len(batch) == 0 {
			return nil
		}
		tries++
		switch halve := d.bisect && !v.report && len(batch) > 1; {
		case halve: // which does not use up a retry
			if err := d.pause(ctx, tries-1); err != nil {
				return err
			}
			half := len(batch) / 2
			if err := d.deliver(ctx, batch[:half]); err != nil {
				return err
			}
			batch, tries = batch[half:], 0
			continue
		case d.bisect && v.rest > 0:
			tries = 0
		case d.spent(batch, tries):
			d.giveUp(batch, v, tries)
			return d.done(batch[len(batch)-1].Sequence)
		}
		if err := d.pause(ctx, tries); err != nil {
			return err
		}
	}
	return nil
}

// spent reports whether a batch that failed is not tried again.
func (d delivery) spent(batch []Record, tries int) bool {
	old := d.maxAge >= 0 && d.now().Sub(batch[0].Created) > d.maxAge
	return old || d.retries >= 0 && tries > d.retries
}

// attempt invokes once.
func (d delivery) attempt(ctx context.Context, batch []Record) (verdict, error) {
	result, err := d.invoke(ctx, batch)
	switch {
	case ctx.Err() != nil:
		return verdict{}, ctx.Err()
	case err != nil:
		return verdict{threw: true, why: err.Error()}, nil
	case result.Failed:
		return verdict{threw: true, why: string(result.Payload)}, nil
	case d.reports:
		return judge(result.Payload, batch), nil
	}
	return verdict{rest: len(batch)}, nil
}
