package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/stile-dev/stile/pkg/relay"
)

// bus keeps what it took, and refuses what it is told to.
type bus struct {
	refuse  map[string]string // an event's id → code
	down    error
	dropped int // entries that an answer lacks

	calls  []int // entries in each
	taken  []map[string]any
	shapes []types.PutEventsRequestEntry
}

func (b *bus) PutEvents(_ context.Context, in *eventbridge.PutEventsInput, _ ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	if b.calls = append(b.calls, len(in.Entries)); b.down != nil {
		return nil, b.down
	}
	out := &eventbridge.PutEventsOutput{}
	for _, e := range in.Entries {
		var detail map[string]any
		if err := json.Unmarshal([]byte(*e.Detail), &detail); err != nil {
			return nil, err
		}
		if code := b.refuse[detail["id"].(string)]; code != "" {
			out.Entries = append(out.Entries, types.PutEventsResultEntry{ErrorCode: &code, ErrorMessage: aws.String("no")})
			continue
		}
		b.taken, b.shapes = append(b.taken, detail), append(b.shapes, e)
		out.Entries = append(out.Entries, types.PutEventsResultEntry{EventId: aws.String("x")})
	}
	out.Entries = out.Entries[:len(out.Entries)-b.dropped]
	return out, nil
}

func (b *bus) ids() (ids []string) {
	for _, d := range b.taken {
		ids = append(ids, d["id"].(string))
	}
	return ids
}

var at = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func event(n int) string {
	return fmt.Sprintf(`{"id":"id-%03d","time":"2026-11-20T11:59:59.5Z","type":"user.login","source":"function/sign-user","data":{"method":"iam"}}`, n)
}

// record is one of the stream, with the sequence number n.
func record(n int, pk, event string) events.DynamoDBEventRecord {
	return events.DynamoDBEventRecord{EventName: "INSERT", Change: events.DynamoDBStreamRecord{
		SequenceNumber:              fmt.Sprintf("%021d", n),
		ApproximateCreationDateTime: events.SecondsEpochTime{Time: at},
		NewImage: map[string]events.DynamoDBAttributeValue{
			"pk": events.NewStringAttribute(pk), "sk": events.NewStringAttribute("01receipt"), "event": events.NewStringAttribute(event),
			"received_ms": events.NewNumberAttribute(fmt.Sprint(at.UnixMilli())),
		},
	}}
}

const partition = "event#function/sign-user#2026-11-20#3"

func batch(n int) (b events.DynamoDBEvent) {
	for i := range n {
		b.Records = append(b.Records, record(i, partition, event(i)))
	}
	return b
}

// relayed hands a batch to a relay, and returns the number that it goes on from, -1 for none, and what was kept aside.
func relayed(t *testing.T, b *bus, full error, records events.DynamoDBEvent) (from int, kept map[string]string) {
	t.Helper()
	kept = map[string]string{}
	r := relay.New(relay.Config{Bus: b, Name: "the-bus", Log: slog.New(slog.DiscardHandler), Keep: func(_ context.Context, key string, body []byte) error {
		if full == nil {
			kept[key] = string(body)
		}
		return full
	}})
	out, err := r.Handle(t.Context(), records)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.BatchItemFailures) == 0 {
		return -1, kept
	}
	if _, err := fmt.Sscanf(out.BatchItemFailures[0].ItemIdentifier, "%d", &from); err != nil || len(out.BatchItemFailures) != 1 {
		t.Fatalf("%v: %v", out, err)
	}
	return from, kept
}

func TestEventsArePutWithWhatTheLedgerSaysOfThem(t *testing.T) {
	b := &bus{}
	from, kept := relayed(t, b, nil, batch(25))
	if from != -1 || len(kept) != 0 || !slices.Equal(b.calls, []int{10, 10, 5}) || len(b.taken) != 25 {
		t.Fatalf("from %d, %d kept, calls %v, %d taken", from, len(kept), b.calls, len(b.taken))
	}
	want := map[string]any{
		"id": "id-007", "time": "2026-11-20T11:59:59.5Z", "type": "user.login", "source": "function/sign-user", "data": map[string]any{"method": "iam"},
		"writer": "function/sign-user", "receipt": "01receipt", "received": "2026-11-20T12:00:00Z",
	}
	if got, shape := b.taken[7], b.shapes[7]; fmt.Sprint(got) != fmt.Sprint(want) ||
		*shape.EventBusName != "the-bus" || *shape.Source != "stile" || *shape.DetailType != "user.login" || !shape.Time.Equal(at) {
		t.Errorf("%v in %+v", got, shape)
	}
}

func TestWhatWasNotPutComesAgainAndTheRestIsPut(t *testing.T) {
	for name, b := range map[string]*bus{
		"an entry":       {refuse: map[string]string{"id-012": "ThrottlingException", "id-017": "InternalFailure"}},
		"an answer lost": {dropped: 1},
		"the bus":        {down: errors.New("unreachable")},
	} {
		from, kept := relayed(t, b, nil, batch(25))
		want := map[string]int{"an entry": 12}[name]
		if from != want || len(kept) != 0 || len(b.calls) != 3 {
			t.Errorf("%s: from %d, %d kept, %d calls", name, from, len(kept), len(b.calls))
		}
		if name == "an entry" && (len(b.taken) != 23 || !slices.Contains(b.ids(), "id-024")) {
			t.Errorf("%v are put", b.ids())
		}
	}
}

func TestWhatCanNeverBePutIsKeptAsideAndHoldsUpNothing(t *testing.T) {
	records := batch(20)
	bad := map[int]events.DynamoDBEventRecord{
		2:  record(2, partition, "not JSON"),
		3:  record(3, partition, strings.Replace(event(3), `"id-003"`, `3`, 1)),
		4:  record(4, "event#proxy#2026-11-20#3", event(4)),
		5:  record(5, partition, strings.Replace(event(5), "{", `{"WRITER":"function/admin",`, 1)),
		6:  record(6, partition, strings.Replace(event(6), "{", `{"ſource":"function/sign-user",`, 1)),
		7:  record(7, partition, strings.Replace(event(7), "iam", strings.Repeat("x", 16<<10), 1)),
		8:  record(8, partition, `null`),
		14: record(14, partition, event(14)), // which the bus doesn't take
	}
	for n, r := range bad {
		records.Records[n] = r
	}
	delete(records.Records[9].Change.NewImage, "event")
	records.Records[10].Change.NewImage["received_ms"] = events.NewStringAttribute("12")
	b := &bus{refuse: map[string]string{"id-014": "MalformedDetail"}}
	from, kept := relayed(t, b, nil, records)
	if from != -1 || len(kept) != 10 || len(b.taken) != 10 {
		t.Errorf("from %d, %d kept, %v put", from, len(kept), b.ids())
	}
	for _, n := range []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 14} {
		body := kept[fmt.Sprintf("relay/2026/11/20/%021d.json", n)]
		var said struct {
			Why    string
			Record events.DynamoDBEventRecord
		}
		if err := json.Unmarshal([]byte(body), &said); err != nil || said.Why == "" || said.Record.Change.SequenceNumber != fmt.Sprintf("%021d", n) {
			t.Errorf("of %d is kept %q: %v", n, body, err)
		}
	}
	if from, _ := relayed(t, &bus{refuse: b.refuse}, errors.New("full"), records); from != 2 {
		t.Errorf("it goes on behind what could not be kept, from %d", from)
	}
}

func TestWhatAnEventSaysOfItsReceiptIsNotBelieved(t *testing.T) {
	b := &bus{}
	forged := strings.Replace(event(0), "{", `{"writer":"function/admin","receipt":"0","received":"2020-01-01T00:00:00Z",`, 1)
	relayed(t, b, nil, events.DynamoDBEvent{Records: []events.DynamoDBEventRecord{record(0, partition, forged)}})
	if d := b.taken[0]; d["writer"] != "function/sign-user" || d["receipt"] != "01receipt" || d["received"] != "2026-11-20T12:00:00Z" {
		t.Errorf("%v", d)
	}
}
