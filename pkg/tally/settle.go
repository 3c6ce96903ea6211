package tally

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// other is in the place of the function when a request was made by none that signs.
const other = "other"

// Attributes of what is known of a record.
const (
	unclaimed = "unclaimed" // 1 for one that nobody claimed in time
	told      = "told"      // 1 once it is in the ledger
	since     = "at_ms"     // when it was settled, or was first found unclaimed
)

// settle reports whether a record is done with, and may leave the queue.
func (l *look) settle(ctx context.Context, r record) (bool, error) {
	if r.Failed || r.At.Before(l.began) && !r.unread() {
		return true, nil
	}
	function := l.config.Signers[r.Role]
	if function != "" {
		hour, found, err := l.claimed(ctx, function, r)
		if err != nil {
			return false, err
		}
		if found {
			return true, l.settled(ctx, function, hour, r)
		}
		if age := l.now.Sub(r.At); age < Wait && age > -Wait {
			return false, nil
		}
	}
	return l.tell(ctx, function, r)
}

// around are the times by which a claim of a record is looked for: it stands under the hour in which it was made, by the clock of
// whoever made it, and a record says when the request came.
var around = []time.Duration{0, Wait, -Wait}

// claimed looks for a function's claim of a record, and returns the hour under which it stands.
func (t *Tally) claimed(ctx context.Context, function string, r record) (hour time.Time, found bool, err error) {
	var looked []string
	for _, d := range around {
		at := r.At.Add(d)
		pk := ledger.ClaimPartition(function, at)
		if slices.Contains(looked, pk) {
			continue
		}
		looked = append(looked, pk)
		_, err := t.claims.Get(ctx, table.Key{PK: pk, SK: r.Request})
		if !errors.Is(err, table.ErrNotFound) {
			return at.Truncate(time.Hour), err == nil, err
		}
	}
	return time.Time{}, false, nil
}

// partition is where it is kept of which of a function's requests in an hour there are records.
func partition(function string, hour time.Time) string {
	return names.Signing + "#" + function + "#" + hour.UTC().Format(ledger.HourForm)
}

func (t *Tally) item(function string, hour time.Time, r record, now time.Time) table.Item {
	return table.Item{
		names.PK: table.String(partition(function, hour)), names.SK: table.String(r.Request),
		since: table.Int(now.UnixMilli()), names.Expires: table.Int(now.Add(kept).Unix()),
	}
}

// settled keeps that there is a record of what was claimed. One that comes again changes nothing.
func (l *look) settled(ctx context.Context, function string, hour time.Time, r record) error {
	err := l.state.Create(ctx, l.item(function, hour, r, l.now))
	if table.Conflicts(err) {
		return nil
	}
	return err
}

// tell tells a record that nobody claims, once. What is told is kept before it is written into the ledger, and marked after, so that a
// look that is cut off in between leaves the next one the same event to write: readers take it once.
func (l *look) tell(ctx context.Context, function string, r record) (bool, error) {
	if function == "" {
		function = other
	}
	if !l.reserve() {
		return false, nil
	}
	i := l.item(function, r.At, r, l.now)
	i[unclaimed] = table.Int(1)
	err := l.state.Create(ctx, i)
	if was, there := errors.AsType[*table.Conflict](err); there {
		if i, err = was.There, nil; i.Int(unclaimed) == 0 || i.Int(told) == 1 {
			l.release()
			return true, nil
		}
	}
	if err != nil {
		return false, err
	}
	if err := l.config.Ledger.Append(ctx, l.event(r, time.UnixMilli(i.Int(since)).UTC())); err != nil {
		return false, err
	}
	i[told] = table.Int(1)
	if err := l.state.Put(ctx, i); err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, r.Unclaimed)
	return true, nil
}

// reserve takes a place among what may be told, and release gives it back.
func (l *look) reserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room == 0 {
		return false
	}
	l.room--
	return true
}

func (l *look) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room++
}

// event is what is said of a record, the same each time.
func (l *look) event(r record, at time.Time) audit.Event {
	sum := sha256.Sum256(fmt.Appendf(nil, "unclaimed\n%s\n%s\n%s", r.Request, r.By, r.Key))
	e := audit.New(audit.SigningUnclaimed, bytes.NewReader(sum[:]), at)
	e.Cluster, e.Source, e.Actor, e.Outcome = l.config.Cluster, names.WriterFunction+"sweep", names.WriterFunction+"sweep", audit.Failure
	e.Data = map[string]string{"signed": r.At.Format(time.RFC3339)}
	if r.unread() {
		e.Reason = "what came in the place of a record of CloudTrail can't be read, so that nobody can have claimed it"
		e.Data["message"] = strings.TrimPrefix(r.Request, unread)
		return e
	}
	e.TargetKind, e.Target = "key", short(r.Key)
	if r.Key == "" {
		e.TargetKind = ""
	}
	e.Reason = fmt.Sprintf("a key of the cluster signed by request %s, and no function says that it asked for it", r.Request)
	e.Data["request"], e.Data["by"] = r.Request, short(r.By)
	return e
}

// mostText is how long an ARN is that is told.
const mostText = 512

func short(text string) string { return text[:min(len(text), mostText)] }
