package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/relay"
)

// narrow is a bus that refuses a call for what it holds, as EventBridge does: for its size, and for an event that it can't read.
type narrow struct {
	bus
	unread string // an event's id
	full   error
}

func (b *narrow) PutEvents(ctx context.Context, in *eventbridge.PutEventsInput, o ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	if b.full != nil {
		return nil, b.full
	}
	total := 0
	for _, e := range in.Entries {
		total += len(*e.Source) + len(*e.DetailType) + len(*e.Detail) + 14
		if b.unread != "" && strings.Contains(*e.Detail, b.unread) {
			return nil, &smithy.GenericAPIError{Code: "ValidationException", Message: "no"}
		}
	}
	if total > 256<<10 {
		return nil, &smithy.GenericAPIError{Code: "ValidationException", Message: "Total size of the entries in the request is over the limit."}
	}
	return b.bus.PutEvents(ctx, in, o...)
}

// through hands a batch to a relay, and returns how many it wants again and how many it kept aside.
func through(t *testing.T, b relay.Bus, records events.DynamoDBEvent) (again, kept int) {
	t.Helper()
	r := relay.New(relay.Config{Bus: b, Name: "the-bus", Log: slog.New(slog.DiscardHandler), Keep: func(context.Context, string, []byte) error { kept++; return nil }})
	out, err := r.Handle(t.Context(), records)
	if err != nil {
		t.Fatal(err)
	}
	return len(out.BatchItemFailures), kept
}

func TestEventsThatGrowWhenTheyAreEscapedFitIntoACall(t *testing.T) {
	for _, grows := range []string{"<", "&", "\u2028"} {
		records := batch(10)
		for n := range records.Records {
			records.Records[n] = record(n, partition, strings.Replace(event(n), "iam", strings.Repeat(grows, (15<<10)/len(grows)), 1))
		}
		b := &narrow{}
		if again, kept := through(t, b, records); again != 0 || kept != 0 || len(b.taken) != 10 {
			t.Errorf("%q: %d again, %d kept, %d put", grows, again, kept, len(b.taken))
		}
	}
}

func TestACallThatIsRefusedForOneEventPutsTheOthers(t *testing.T) {
	b := &narrow{unread: "id-004"}
	if again, kept := through(t, b, batch(20)); again != 0 || kept != 1 || len(b.taken) != 19 {
		t.Errorf("%d again, %d kept, %d put", again, kept, len(b.taken))
	}
	b = &narrow{full: &smithy.GenericAPIError{Code: "ThrottlingException"}}
	if again, kept := through(t, b, batch(20)); again != 1 || kept != 0 {
		t.Errorf("what is only throttled: %d again, %d kept", again, kept)
	}
}

func TestWhatIsTooLongForTheBusIsKeptAside(t *testing.T) {
	records := batch(3)
	records.Records[0] = record(0, partition, strings.Replace(event(0), "user.login", strings.Repeat("x", 8<<10), 1))
	records.Records[1].Change.NewImage["sk"] = events.NewStringAttribute(strings.Repeat("\x01", 1024))
	b := &bus{}
	if again, kept := through(t, b, records); again != 0 || kept != 2 || len(b.taken) != 1 {
		t.Errorf("%d again, %d kept, %d put", again, kept, len(b.taken))
	}
}

// Whoever has a proxy's credentials writes any attributes.
func TestAHostileRecordNeitherCrashesNorHoldsUpTheRelay(t *testing.T) {
	attributes := []events.DynamoDBAttributeValue{
		events.NewNullAttribute(), events.NewStringAttribute(""), events.NewBinaryAttribute([]byte{0xff}), events.NewBooleanAttribute(true),
		events.NewListAttribute([]events.DynamoDBAttributeValue{events.NewNullAttribute()}), events.NewMapAttribute(nil),
		events.NewStringSetAttribute([]string{"x"}), events.NewNumberSetAttribute([]string{"1"}), events.NewBinarySetAttribute([][]byte{{1}}),
		events.NewNumberAttribute("9.9999999999999999999999999999999999999E+125"), events.NewNumberAttribute("-1E-130"), events.NewNumberAttribute("NaN"),
		events.NewNumberAttribute("9223372036854775807"), events.NewNumberAttribute("-62200000000000"), events.NewNumberAttribute("253402300800000"),
		events.NewStringAttribute(strings.Repeat("x", 400<<10)), events.NewStringAttribute(strings.Repeat("[", 16<<10)),
		events.NewStringAttribute(`{"x":` + strings.Repeat("[", 8000) + strings.Repeat("]", 8000) + `}`),
		events.NewStringAttribute(`{"source":"function/admin","source":"function/sign-user","id":1e999}`),
		events.NewStringAttribute(`{"id":"\ud800","time":"9999-12-31T24:00:00Z"}`), events.NewStringAttribute("{\"id\":\"\xff\"}"),
		events.NewStringAttribute(`{"id":"x","seq":1e3}`), events.NewStringAttribute(`{"id":"x","data":{"a":[1]}}`), events.NewStringAttribute(`[]`),
	}
	records := batch(2)
	n := 10
	for _, name := range []string{"event", "pk", "sk", "received_ms"} {
		for _, v := range attributes {
			r := record(n, partition, event(n))
			r.Change.NewImage[name] = v
			if raw, err := json.Marshal(r); err == nil { // as Lambda hands it over
				var read events.DynamoDBEventRecord
				if err := json.Unmarshal(raw, &read); err == nil {
					r = read
				}
			}
			records.Records, n = append(records.Records, r), n+1
		}
	}
	records.Records = append(records.Records, events.DynamoDBEventRecord{})
	b := &bus{}
	again, kept := through(t, b, records)
	if again != 0 || kept+len(b.taken) != len(records.Records) || !slices.Contains(b.ids(), "id-001") {
		t.Errorf("%d again; of %d records %d kept and %d put", again, len(records.Records), kept, len(b.taken))
	}
	for _, d := range b.taken {
		if d["writer"] != "function/sign-user" || d["source"] != "function/sign-user" {
			t.Errorf("in another's name: %v", d)
		}
	}
}

// faulty is a bus that fails calls, loses answers and refuses entries.
type faulty struct {
	bus
	r *rand.Rand
}

func (b *faulty) PutEvents(ctx context.Context, in *eventbridge.PutEventsInput, _ ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	if b.r.IntN(10) == 0 {
		return nil, errors.New("unreachable")
	}
	out := &eventbridge.PutEventsOutput{}
	for _, e := range in.Entries {
		if b.r.IntN(10) == 0 {
			out.Entries = append(out.Entries, types.PutEventsResultEntry{ErrorCode: aws.String("InternalFailure")})
			continue
		}
		if _, err := b.bus.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{e}}); err != nil {
			return nil, err
		}
		out.Entries = append(out.Entries, types.PutEventsResultEntry{EventId: aws.String("x")})
	}
	if b.r.IntN(10) == 0 {
		return nil, errors.New("the answer is lost")
	}
	return out, nil
}

// Lambda brings a batch again from the first record that failed, or all of it when the function was killed.
func TestWhateverFailsEveryEventIsPutOrKeptAside(t *testing.T) {
	const most = 10_000
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	b := &faulty{r: rand.New(rand.NewPCG(seed, 0))}
	kept := map[string]bool{}
	r := relay.New(relay.Config{Bus: b, Name: "the-bus", Log: slog.New(slog.DiscardHandler), Keep: func(_ context.Context, _ string, body []byte) error {
		if b.r.IntN(10) == 0 {
			return errors.New("full")
		}
		var said struct{ Record events.DynamoDBEventRecord }
		if err := json.Unmarshal(body, &said); err != nil {
			return err
		}
		kept[said.Record.Change.SequenceNumber] = true
		return nil
	}})
	var stream []events.DynamoDBEventRecord
	want, aside := map[string]bool{}, map[string]bool{}
	for n := range most {
		e := record(n, partition, event(n))
		if n%97 == 0 {
			e = record(n, "event#agent#2026-11-20#3", event(n)) // which isn't an agent's
			aside[e.Change.SequenceNumber] = true
		} else {
			want[fmt.Sprintf("id-%03d", n)] = true
		}
		if stream = append(stream, e); b.r.IntN(10) == 0 {
			stream = append(stream, e) // again
		}
	}
	for n := range stream { // some come later
		m := min(n+b.r.IntN(50), len(stream)-1)
		stream[n], stream[m] = stream[m], stream[n]
	}
	rounds := 0
	for at := 0; at < len(stream); rounds++ {
		if rounds > 10*most {
			t.Fatal("it doesn't get on")
		}
		some := stream[at:min(at+1+b.r.IntN(100), len(stream))]
		out, err := r.Handle(t.Context(), events.DynamoDBEvent{Records: some})
		if err != nil || b.r.IntN(10) == 0 { // or it was killed before it could say what it had done
			continue
		}
		if len(out.BatchItemFailures) == 0 {
			at += len(some)
			continue
		}
		at += slices.IndexFunc(some, func(r events.DynamoDBEventRecord) bool {
			return r.Change.SequenceNumber == out.BatchItemFailures[0].ItemIdentifier
		})
	}
	got := map[string]bool{}
	for _, id := range b.ids() {
		got[id] = true
	}
	if !maps.Equal(got, want) || !maps.Equal(kept, aside) {
		t.Errorf("%d of %d are put, %d of %d kept aside", len(got), len(want), len(kept), len(aside))
	}
}
