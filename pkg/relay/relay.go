// Package relay puts what the ledger received on the bus, from where rules take it to the lake and to whoever else listens.
//
// It reads the stream of the ledger's table, batch by batch. An event is put at least once: a batch that failed in part comes
// again from the record on that failed. What can never be put is kept aside and holds up nothing. It decides nothing of what an
// event is worth; the readers of the ledger do. Its entry point is [Relay.Handle].
package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/names"
)

// Bus is what a relay needs of EventBridge.
type Bus interface {
	PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error)
}

// Config is what a relay needs.
type Config struct {
	Bus  Bus
	Name string // of the bus
	// Keep keeps what can't be put, under a key. It may be called again for the same.
	Keep func(ctx context.Context, key string, body []byte) error
	Log  *slog.Logger
}

// Relay puts events on the bus. It is safe for concurrent use.
type Relay struct{ config Config }

// New makes a relay.
func New(c Config) *Relay { return &Relay{c} }

// mostEntries is how many entries EventBridge takes in a call. So many events are some 170 KiB at most, of the 256 that it always
// took: one that has more in it is kept aside.
const mostEntries = 10

// entry is an event that is to be put, with its record.
type entry struct {
	record events.DynamoDBEventRecord
	put    types.PutEventsRequestEntry
}

// Handle puts the events of a batch of the stream on the bus. It answers the sequence number of the first that wasn't put, from
// which on Lambda brings them again; what follows that was tried all the same, so that one refusal doesn't hold up the others.
func (r *Relay) Handle(ctx context.Context, batch events.DynamoDBEvent) (events.DynamoDBEventResponse, error) {
	failed := map[string]error{} // by sequence number
	var entries []entry
	for _, record := range batch.Records {
		put, err := r.entry(record)
		if err != nil {
			if err := r.keep(ctx, record, err); err != nil {
				failed[record.Change.SequenceNumber] = err
			}
			continue
		}
		entries = append(entries, entry{record, put})
	}
	for len(entries) > 0 {
		some := entries[:min(len(entries), mostEntries)]
		entries = entries[len(some):]
		r.put(ctx, some, failed)
	}
	for _, record := range batch.Records {
		if err, ok := failed[record.Change.SequenceNumber]; ok {
			r.config.Log.ErrorContext(ctx, "Events not put on the bus; they are tried again",
				"events", len(failed), "sequence", record.Change.SequenceNumber, "error", err)
			return events.DynamoDBEventResponse{BatchItemFailures: []events.DynamoDBBatchItemFailure{{ItemIdentifier: record.Change.SequenceNumber}}}, nil
		}
	}
	return events.DynamoDBEventResponse{}, nil
}

// put puts some events in one call, and adds what failed. A call that is refused for what it holds is made again for each event by
// itself, so that one that EventBridge can't read takes no others with it, and doesn't come again until the stream forgets them all.
func (r *Relay) put(ctx context.Context, some []entry, failed map[string]error) {
	in := &eventbridge.PutEventsInput{}
	for _, e := range some {
		in.Entries = append(in.Entries, e.put)
	}
	out, err := r.config.Bus.PutEvents(ctx, in)
	if refused(err) {
		if len(some) > 1 {
			for n := range some {
				r.put(ctx, some[n:n+1], failed)
			}
			return
		}
		if err = r.keep(ctx, some[0].record, fmt.Errorf("the bus refused it: %w", err)); err == nil {
			return
		}
	}
	if err == nil && len(out.Entries) != len(some) {
		err = fmt.Errorf("the bus answered for %d events of %d", len(out.Entries), len(some))
	}
	for n, e := range some {
		number := e.record.Change.SequenceNumber
		switch {
		case err != nil:
			failed[number] = err
		case out.Entries[n].ErrorCode != nil:
			why := fmt.Errorf("the bus refused it: %s: %s", *out.Entries[n].ErrorCode, aws.ToString(out.Entries[n].ErrorMessage))
			if !hopeless[*out.Entries[n].ErrorCode] {
				failed[number] = why
			} else if err := r.keep(ctx, e.record, why); err != nil {
				failed[number] = err
			}
		}
	}
}

// refused reports whether EventBridge said of a whole call that what it holds can't be taken.
func refused(err error) bool {
	said, ok := errors.AsType[smithy.APIError](err)
	return ok && said.ErrorCode() == "ValidationException"
}

// hopeless are the codes by which EventBridge says of an entry itself that it will never take it.
var hopeless = map[string]bool{"InvalidArgument": true, "MalformedDetail": true}

// entry makes of a record what is put on the bus. An error means that it never can be.
func (r *Relay) entry(record events.DynamoDBEventRecord) (types.PutEventsRequestEntry, error) {
	item := record.Change.NewImage
	body, pk, sk, at := item["event"], item[names.PK], item[names.SK], item["received_ms"]
	if body.DataType() != events.DataTypeString || pk.DataType() != events.DataTypeString || sk.DataType() != events.DataTypeString || at.DataType() != events.DataTypeNumber {
		return types.PutEventsRequestEntry{}, errors.New("it has not what every event of the ledger has")
	}
	ms, err := at.Integer()
	if err != nil {
		return types.PutEventsRequestEntry{}, fmt.Errorf("reading when it was received: %w", err)
	}
	i := Item{Partition: pk.String(), Receipt: sk.String(), Received: time.UnixMilli(ms).UTC(), Event: body.String()}
	ready, err := i.Ready()
	if err != nil {
		return types.PutEventsRequestEntry{}, err
	}
	return ready.entry(r.config.Name), nil
}

// keep keeps a record aside that can't be put, under a name that a repetition has as well.
func (r *Relay) keep(ctx context.Context, record events.DynamoDBEventRecord, why error) error {
	body, err := json.Marshal(map[string]any{"why": why.Error(), "record": record})
	if err != nil {
		return fmt.Errorf("keeping an event aside: %w", err)
	}
	day := record.Change.ApproximateCreationDateTime.UTC().Format("2006/01/02")
	if err := r.config.Keep(ctx, names.KeptAside+day+"/"+record.Change.SequenceNumber+".json", body); err != nil {
		return fmt.Errorf("keeping an event aside: %w", err)
	}
	r.config.Log.WarnContext(ctx, "Event kept aside: it can't be put on the bus", "sequence", record.Change.SequenceNumber, "reason", why.Error())
	return nil
}
