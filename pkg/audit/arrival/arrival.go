// Package arrival says what the lake has of an item of the ledger: the event's fields as they were written, and beside them whose
// partition it is in, its receipt, and when it was received. Whatever takes events out of the ledger for SQL goes by it, so that an
// event that comes by two ways says the same by both.
//
// It decides nothing of what an event is worth. Its entry point is [Of].
package arrival

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
)

// Arrival is what the ledger says of an event.
type Arrival struct {
	Writer   string    `json:"writer"`   // whose partition it is in, which the table's policies vouch for: function/<name>, proxy or agent
	Receipt  string    `json:"receipt"`  // its sort key
	Received time.Time `json:"received"` // when the ledger did, UTC

	Event  audit.Event                `json:"-"`
	fields map[string]json.RawMessage // of the event, as they were written
}

const (
	mostType    = 128 // bytes of an event's type, as EventBridge takes it for a detail-type
	mostReceipt = 64  // bytes of a sort key: a receipt has 26, and a key that is none may have 1,024
)

// field is how fields are spelt. What reads them behind the bus takes upper case for lower, so that another spelling might
// pass there for what the ledger says.
var field = regexp.MustCompile(`^[a-z_]+$`)

// Of reads an event's JSON out of the partition pk, where it stands under sk. An error means that it has no place in the lake.
func Of(pk, sk, body string, receivedMS int64) (Arrival, error) {
	if len(body) > audit.MaxSize {
		return Arrival{}, fmt.Errorf("it has %d bytes, and an event has at most %d", len(body), audit.MaxSize)
	}
	e, err := audit.Parse([]byte(body))
	if err != nil {
		return Arrival{}, err
	}
	switch {
	case len(e.Type) > mostType:
		return Arrival{}, fmt.Errorf("its type has %d bytes, and no type has more than %d", len(e.Type), mostType)
	case len(sk) > mostReceipt:
		return Arrival{}, fmt.Errorf("its sort key has %d bytes, and is no receipt", len(sk))
	}
	a := Arrival{Receipt: sk, Received: time.UnixMilli(receivedMS).UTC(), Event: e}
	a.Writer, _, _ = strings.Cut(strings.TrimPrefix(pk, names.Event+"#"), "#")
	if a.Writer != audit.Writer(e.Source) {
		return Arrival{}, fmt.Errorf("it is of %s and says that it is of %s", a.Writer, e.Source)
	}
	if err := json.Unmarshal([]byte(body), &a.fields); err != nil {
		return Arrival{}, fmt.Errorf("reading an event's fields: %w", err)
	}
	for name := range a.fields {
		if !field.MatchString(name) {
			return Arrival{}, fmt.Errorf("it has a field %q", name)
		}
	}
	return a, nil
}

// JSON is the event's fields with what the ledger says of it, which stands in place of fields of these names.
func (a Arrival) JSON() ([]byte, error) {
	raw, err := json.Marshal(a)
	fields := maps.Clone(a.fields)
	if err == nil {
		err = json.Unmarshal(raw, &fields)
	}
	var out bytes.Buffer
	if err == nil {
		to := json.NewEncoder(&out)
		to.SetEscapeHTML(false) // which makes six bytes of one, in what was measured already
		err = to.Encode(fields)
	}
	if err != nil {
		return nil, fmt.Errorf("writing an event for the lake: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
