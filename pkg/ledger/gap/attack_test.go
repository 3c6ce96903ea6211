package gap_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/table"
)

func TestALookWhoseClockWasAheadHoldsUpNoOther(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, 400 * 24 * time.Hour} {
		b := newBook(t)
		b.bring("e1", 1)
		b.want(b.look(0))
		right := b.now
		b.look(ahead)
		b.now = right
		b.bring("e1", 2, 3, 6)
		b.want(b.look(0))
		b.bring("e1", 7)
		b.want(b.look(patience), "e1 4-5 +0")
	}
}

// What isn't an event, and what names no certificate, is passed over however long it is.
func TestSec_S63_AHostileItemHoldsUpNoLook(t *testing.T) {
	b := newBook(t)
	b.bring("e1", 1, 4)
	for n, body := range []string{"", "{}", strings.Repeat("[", 300<<10), `{"source":"agent/x","seq":18446744073709551615,"source_epoch":"e"}`} {
		i := table.Item{
			"pk": table.String(ledger.Partition("agent/x", b.now, "x")), "sk": table.String(ledger.Receipt(b.now.Add(time.Duration(n)), []byte(body))),
			"event": table.String(body), "received_ms": table.Int(b.now.UnixMilli()), "certificate": table.String(strings.Repeat("x", 3000)),
			"signature": table.Bytes([]byte(body)),
		}
		b.items[place("ledger", i)] = i
	}
	b.want(b.look(patience), "e1 2-3 +0")
}
