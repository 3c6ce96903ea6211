// Package checked is what is stated of the evidence hour by hour: whether agents' events are in the ledger without gaps, whether the
// lake has what the ledger has, whether each column of an event arrives there, whether sessions have recordings, and whether each
// signature was meant.
//
// Each check states each hour of the receipts once. A statement is an event, so that it can't be taken back, and an hour without one
// was not checked. What a check found is told by events of its own before its statement.
package checked

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
)

// The checks.
const (
	Sequences  = "sequences"  // agents number their events: no number is missing
	Lake       = "lake"       // what the ledger received is in the lake, and nothing else
	Canaries   = "canaries"   // the event that is written each hour to try it is in the lake, with a value in each column
	Recordings = "recordings" // sessions that began have recordings that end
	Signatures = "signatures" // what KMS signed with the cluster's keys was meant by a signer, and the reverse
)

// Checks are all checks, in the order in which they are told.
var Checks = []string{Sequences, Lake, Canaries, Recordings, Signatures}

// Hour is how long the period of a statement is.
const Hour = time.Hour

// lead is how long before the first hour of a check its first look is at least, so that the deployment that brings it is over by then.
const lead = 10 * time.Minute

// First is the first hour that a check states which looks for the first time now: what was before, it can't know, and no deployment
// rings for it.
func First(now time.Time) time.Time {
	return now.UTC().Add(lead + Hour - time.Nanosecond).Truncate(Hour)
}

// Statement is what a check says of an hour.
type Statement struct {
	Check    string
	From     time.Time // whole hours, UTC; To is one later
	To       time.Time
	Looked   int    // how many things were looked at: events, columns, sessions or signatures
	Found    int    // how many of them are not as they should be
	Which    string // the names of those, where they have short ones
	Unproved string // what could not be proved and why, a sentence; "" when all was
}

// Proves reports whether the check found everything as it should be, and could tell.
func (s Statement) Proves() bool { return s.Found == 0 && s.Unproved == "" }

// mostUnproved is how many bytes an event says of what could not be proved: it has them twice, and each may take six in JSON.
const mostUnproved = 1000

// Event is the statement as an event of whoever makes it, a function of this cluster.
func (s Statement) Event(cluster, writer string, entropy io.Reader, now time.Time) audit.Event {
	e := audit.New(audit.EvidenceChecked, entropy, now)
	e.Cluster, e.Source, e.Actor = cluster, writer, writer
	e.Outcome = audit.Success
	if !s.Proves() {
		e.Outcome = audit.Failure
	}
	e.Data = map[string]string{
		"check": s.Check, "from": s.From.UTC().Format(time.RFC3339), "to": s.To.UTC().Format(time.RFC3339),
		"looked": strconv.Itoa(s.Looked), "found": strconv.Itoa(s.Found),
	}
	if s.Found > 0 {
		e.Reason = fmt.Sprintf("%d of %d are not as they should be", s.Found, s.Looked)
	}
	if s.Which != "" {
		e.Reason, e.Data["which"] = e.Reason+": "+s.Which, s.Which
	}
	if s.Unproved != "" {
		unproved := s.Unproved
		if len(unproved) > mostUnproved { // else nothing could be stated
			unproved = strings.ToValidUTF8(unproved[:mostUnproved], "") + "…"
		}
		e.Reason, e.Data["unproved"] = unproved, unproved
	}
	return e
}

// Short is as much of a text as what is told of the evidence has room for: so many bytes at most before what says that it goes on.
func Short(text string, most int) string {
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// Read returns the statement that an event is, and whether it is one.
func Read(e audit.Event) (Statement, bool) {
	s := Statement{Check: e.Data["check"], Which: e.Data["which"], Unproved: e.Data["unproved"]}
	var faults [4]error
	s.From, faults[0] = time.Parse(time.RFC3339, e.Data["from"])
	s.To, faults[1] = time.Parse(time.RFC3339, e.Data["to"])
	s.Looked, faults[2] = strconv.Atoi(e.Data["looked"])
	s.Found, faults[3] = strconv.Atoi(e.Data["found"])
	return s, e.Type == audit.EvidenceChecked && errors.Join(faults[:]...) == nil
}

// Span is a time that begins and ends at whole hours, and what is said of it.
type Span struct {
	From, To time.Time
	Looked   int
	Found    int
	Which    string
	Unproved string
}

// Summary is what the statements of one check say of a time.
type Summary struct {
	Check  string
	Hours  int    // whole hours of that time
	Proved int    // hours of which all was as it should be
	Looked int    // things that were looked at in all hours
	Found  []Span // hours in which something was found
	// Unproved are hours of which something could not be proved, those beside each other with the same reason as one; an hour of
	// which there is no statement has the reason "".
	Unproved []Span
}

// Sum says what statements prove of a time, a summary for each of the checks in their order. Of two statements of an hour the worse
// counts; one of no whole hour or of another time counts for nothing.
func Sum(all []Statement, from, to time.Time) []Summary {
	from, to = from.UTC(), to.UTC().Truncate(Hour)
	if whole := from.Truncate(Hour); whole.Before(from) {
		from = whole.Add(Hour)
	}
	said := map[string]map[time.Time]Statement{}
	for _, s := range all {
		at := s.From.UTC()
		if !at.Equal(at.Truncate(Hour)) || !s.To.Equal(at.Add(Hour)) {
			continue
		}
		if said[s.Check] == nil {
			said[s.Check] = map[time.Time]Statement{}
		}
		if was, ok := said[s.Check][at]; !ok || was.Proves() {
			said[s.Check][at] = s
		}
	}
	var out []Summary
	for _, check := range Checks {
		sum := Summary{Check: check}
		for at := from; at.Before(to); at = at.Add(Hour) {
			s, ok := said[check][at]
			sum.add(at, s, ok)
		}
		out = append(out, sum)
	}
	return out
}

// add takes an hour, behind those before it.
func (s *Summary) add(at time.Time, said Statement, ok bool) {
	s.Hours++
	s.Looked += said.Looked
	if ok && said.Proves() {
		s.Proved++
		return
	}
	hour := Span{at, at.Add(Hour), said.Looked, said.Found, said.Which, said.Unproved}
	if said.Found > 0 {
		s.Found = append(s.Found, hour)
	}
	if ok && said.Unproved == "" {
		return
	}
	if n := len(s.Unproved); n > 0 && s.Unproved[n-1].To.Equal(at) && s.Unproved[n-1].Unproved == said.Unproved {
		s.Unproved[n-1].To = hour.To
		s.Unproved[n-1].Looked += hour.Looked
		s.Unproved[n-1].Found += hour.Found
		return
	}
	s.Unproved = append(s.Unproved, hour)
}
