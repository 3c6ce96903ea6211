package serve

import (
	"fmt"
	"io"
	"testing"
	"time"
)

func TestTheSameRefusalIsRecordedOnceAMinuteAndTheOthersCounted(t *testing.T) {
	var r refusals
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for i, want := range []bool{true, false, false} {
		if _, record := r.next(io.EOF, now); record != want {
			t.Errorf("time %d: recorded %v", i, record)
		}
	}
	if left, record := r.next(io.ErrUnexpectedEOF, now); !record || left != 2 {
		t.Errorf("another one: %v, after %d", record, left)
	}
	if left, record := r.next(io.EOF, now.Add(time.Minute)); !record || left != 0 {
		t.Errorf("a minute later: %v, after %d", record, left)
	}
}

// TestSec_S65_AProxyCannotFillTheSpoolWithDocuments: a proxy that offers one bad document after another, each refused
// for a reason of its own.
func TestSec_S65_AProxyCannotFillTheSpoolWithDocuments(t *testing.T) {
	var r refusals
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	recorded := 0
	for i := range 10_000 {
		if _, record := r.next(fmt.Errorf("refused for reason %d", i), now.Add(time.Duration(i)*time.Millisecond)); record {
			recorded++
		}
	}
	if recorded != refusalBurst {
		t.Errorf("%d of 10000 refusals in 10 s were recorded", recorded)
	}
	if len(r.seen) > 2*refusalBurst {
		t.Errorf("%d are remembered", len(r.seen))
	}
	if left, record := r.next(io.EOF, now.Add(time.Hour)); !record || left != 10_000-refusalBurst {
		t.Errorf("an hour later: %v, after %d that were left out", record, left)
	}
}
