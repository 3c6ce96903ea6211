// Package checked is what is stated of the evidence hour by hour: whether agents' events are in the ledger without gaps, whether the
// lake has what the ledger has, whether sessions have recordings, and whether each signature was meant.
//
// Each check states each hour of the receipts once. A statement is an event, so that it can't be taken back, and an hour without one
// was not checked. What a check found is told by events of its own before its statement.
package checked

import (
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
)

// The checks.
const (
	Sequences  = "sequences"  // agents number their events: no number is missing
	Lake       = "lake"       // what the ledger received is in the lake, and nothing else
	Recordings = "recordings" // sessions that began have recordings that end
	Signatures = "signatures" // what KMS signed with the cluster's keys was meant by a signer, and the reverse
)

// Checks are all checks, in the order in which they are told.
var Checks = []string{Sequences, Lake, Recordings, Signatures}

// Hour is how long the period of a statement is.
const Hour = time.Hour

// Statement is what a check says of an hour.
type Statement struct {
	Check    string
	From     time.Time // whole hours, UTC; To is one later
	To       time.Time
	Looked   int    // how many things were looked at: events, sessions or signatures
	Found    int    // how many of them are not as they should be
	Unproved string // what could not be proved and why, a sentence; "" when all was
}

// Proves reports whether the check found everything as it should be, and could tell.
func (s Statement) Proves() bool { return s.Found == 0 && s.Unproved == "" }

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
	if s.Unproved != "" {
		e.Reason, e.Data["unproved"] = s.Unproved, s.Unproved
	}
	return e
}

// Read returns the statement that an event is, and whether it is one.
func Read(e audit.Event) (Statement, bool) {
	s := Statement{Check: e.Data["check"], Unproved: e.Data["unproved"]}
	var faults [4]error
	s.From, faults[0] = time.Parse(time.RFC3339, e.Data["from"])
	s.To, faults[1] = time.Parse(time.RFC3339, e.Data["to"])
	s.Looked, faults[2] = strconv.Atoi(e.Data["looked"])
	s.Found, faults[3] = strconv.Atoi(e.Data["found"])
	return s, e.Type == audit.EvidenceChecked && errors.Join(faults[:]...) == nil
}
