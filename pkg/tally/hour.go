package tally

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/checked"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Patience is how long after its end an hour is stated: CloudTrail's records come within a quarter of an hour, and are taken out of
// the queue every ten minutes.
const Patience = 30 * time.Minute

// Bounds of what is stated.
const (
	page      = 1000 // items that are read at once
	mostNamed = 10   // requests that an event names
)

// Unrecorded is what a function claims of an hour without a record of CloudTrail.
type Unrecorded struct {
	Function string
	From     time.Time // the hour
	Claimed  int       // how many requests it claims to have signed by
	Lacking  int       // of how many of them there is no record
	Requests []string  // ids of some of these
}

// Hour states whether what was signed in the hour from a time on was claimed, and tells the claims that have no record. ready is
// false before the first look.
func (t *Tally) Hour(ctx context.Context, from time.Time) (s checked.Statement, lacking []Unrecorded, ready bool, err error) {
	s = checked.Statement{Check: checked.Signatures, From: from, To: from.Add(checked.Hour)}
	i, err := t.state.Get(ctx, keyBegan)
	if errors.Is(err, table.ErrNotFound) {
		return s, nil, false, nil
	}
	if err != nil {
		return s, nil, false, err
	}
	if began := time.UnixMilli(i.Int(begins)).UTC(); from.Before(began) {
		s.Unproved = "what was signed before " + began.Format(time.RFC3339) + " was not compared with records of CloudTrail"
		return s, nil, true, nil
	}
	claims := map[string]int{}
	signers := slices.Compact(slices.Sorted(maps.Values(t.config.Signers)))
	for _, function := range append(signers, other) {
		u, err := t.compare(ctx, function, &s)
		if err != nil {
			return s, nil, false, err
		}
		claims[function] = u.Claimed
		if u.Lacking == 0 {
			continue
		}
		lacking = append(lacking, u)
		if err := t.config.Ledger.Append(ctx, t.event(u)); err != nil {
			return s, nil, false, fmt.Errorf("telling of signatures without records: %w", err)
		}
	}
	s.Unproved = unproved(lacking, claims)
	return s, lacking, true, nil
}

// steady are the functions that sign in each hour, and why. The others sign when somebody asks them to.
var steady = []struct{ function, why string }{
	{"publish", "documents are signed each minute"},
	{"sign-user", "functions/canary logs in every five minutes"},
}

// unproved says what can't be proved of an hour. That a function signed nothing isn't believed of one that signs in each hour: then
// the hour doesn't show that its signatures are claimed and recorded.
func unproved(lacking []Unrecorded, claims map[string]int) string {
	var parts []string
	for _, s := range steady {
		if claims[s.function] == 0 {
			parts = append(parts, s.function+" claims no signature, though "+s.why)
		}
	}
	silent := len(parts)
	for _, u := range lacking {
		parts = append(parts, fmt.Sprintf("of %d signatures that %s claims, CloudTrail's records of %d didn't come", u.Claimed, u.Function, u.Lacking))
	}
	out := strings.Join(parts, "; ")
	if len(parts) > silent {
		out += ": where records don't come, signatures go unseen"
	}
	return out
}

// compare goes through the claims of a function in an hour and the records beside them, both in the order of their requests.
func (t *Tally) compare(ctx context.Context, function string, s *checked.Statement) (Unrecorded, error) {
	u := Unrecorded{Function: function, From: s.From}
	record, stop := iter.Pull2(items(ctx, t.state, partition(function, s.From)))
	defer stop()
	at, err, more := record()
	advance := func(to string) error {
		for more && err == nil && (to == "" || at.Text(names.SK) < to) {
			s.Looked++
			if at.Int(unclaimed) == 1 {
				s.Found++
			}
			at, err, more = record()
		}
		return err
	}
	for claim, failed := range items(ctx, t.claims, ledger.ClaimPartition(function, s.From)) {
		if failed != nil {
			return u, failed
		}
		id := claim.Text(names.SK)
		if err := advance(id); err != nil {
			return u, err
		}
		there := more && at.Text(names.SK) == id
		if claim.Int(ledger.Doubtful) == 1 && !there {
			continue
		}
		if u.Claimed++; !there {
			if u.Lacking++; len(u.Requests) < mostNamed {
				u.Requests = append(u.Requests, id)
			}
		}
	}
	return u, advance("")
}

// items are those of a partition, in the order of their sort keys.
func items(ctx context.Context, t table.Table, pk string) iter.Seq2[table.Item, error] {
	return func(yield func(table.Item, error) bool) {
		for after, more := "", true; more; {
			var list []table.Item
			var err error
			if list, more, err = t.Page(ctx, pk, after, page); err != nil {
				yield(nil, err)
				return
			}
			for _, i := range list {
				if after = i.Text(names.SK); !yield(i, nil) {
					return
				}
			}
		}
	}
}

// event is what is said of claims without records, the same each time as long as they are the same.
func (t *Tally) event(u Unrecorded) audit.Event {
	requests := strings.Join(u.Requests, " ")
	sum := sha256.Sum256(fmt.Appendf(nil, "unrecorded\n%s\n%s\n%d\n%d\n%s", u.Function, u.From, u.Claimed, u.Lacking, requests))
	e := audit.New(audit.SigningUnrecorded, bytes.NewReader(sum[:]), u.From.Add(checked.Hour+Patience))
	e.Cluster, e.Source, e.Actor, e.Outcome = t.config.Cluster, names.WriterFunction+"sweep", names.WriterFunction+"sweep", audit.Failure
	e.TargetKind, e.Target = "function", u.Function
	e.Reason = fmt.Sprintf("of %d signatures that %s claims, CloudTrail's records of %d didn't come: it can't be proved that nobody else signed", u.Claimed, u.Function, u.Lacking)
	e.Data = map[string]string{
		"from": u.From.Format(time.RFC3339), "to": u.From.Add(checked.Hour).Format(time.RFC3339),
		"claimed": strconv.Itoa(u.Claimed), "lacking": strconv.Itoa(u.Lacking), "requests": requests,
	}
	return e
}
