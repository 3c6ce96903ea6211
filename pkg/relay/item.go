package relay

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/stile-dev/stile/pkg/audit/arrival"
	"github.com/stile-dev/stile/pkg/names"
)

// Item is an event as it stands in the ledger.
type Item struct {
	Partition string // its partition key
	Receipt   string // its sort key
	Received  time.Time
	Event     string // JSON
}

// Ready is an event that can be put on the bus, as what it is there.
type Ready struct {
	ID      string // the event's
	Writer  string // whose partition it stands in
	Receipt string

	kind, detail string
	received     time.Time
}

// Ready makes of an item what is put on the bus. An error means that it never can be.
func (i Item) Ready() (Ready, error) {
	a, err := arrival.Of(i.Partition, i.Receipt, i.Event, i.Received.UnixMilli())
	if err != nil {
		return Ready{}, err
	}
	detail, err := a.JSON()
	if err != nil {
		return Ready{}, err
	}
	return Ready{ID: a.Event.ID, Writer: a.Writer, Receipt: a.Receipt, kind: string(a.Event.Type), detail: string(detail), received: a.Received}, nil
}

// entry is what a call puts on a bus.
func (r Ready) entry(bus string) types.PutEventsRequestEntry {
	return types.PutEventsRequestEntry{
		EventBusName: &bus, Source: aws.String(names.BusSource), DetailType: &r.kind, Detail: &r.detail, Time: &r.received,
	}
}
