// Package audit says what an audit event is: its fields, the table of types and codes, and what makes one
// valid. Functions, proxies and agents all write events of this one shape, and queries read them for years:
// fields and codes are added and never change their meaning.
//
// It doesn't write anything anywhere and reads no clock. Its entry points are [New] and [Event.Validate].
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/strict"
)

// Outcome is how it went.
type Outcome string

// The outcomes.
const (
	Success Outcome = "success"
	Failure Outcome = "failure" // it could not be done
	Denied  Outcome = "denied"  // it was not allowed
)

// Event is one thing that happened. [Common] says the same of its fields in words for the reference.
type Event struct {
	ID          string            `json:"id"`                     // ULID in lower case
	Time        time.Time         `json:"time"`                   // UTC, whole milliseconds
	Type        Type              `json:"type"`                   //
	Code        string            `json:"code"`                   // the type's code
	Cluster     string            `json:"cluster"`                //
	Actor       string            `json:"actor"`                  // user/<name>, agent/<id>, proxy/<id>, aws/<arn>, function/<name>; never empty
	ActorRoles  []string          `json:"actor_roles,omitempty"`  //
	TargetKind  string            `json:"target_kind,omitempty"`  // node, role, token, certificate, document, …
	Target      string            `json:"target,omitempty"`       //
	Scope       string            `json:"scope,omitempty"`        // of the target
	SessionID   string            `json:"session_id,omitempty"`   // ses_<ulid>
	RequestID   string            `json:"request_id,omitempty"`   // of the API call or AWS call that caused it
	DecisionID  string            `json:"decision_id,omitempty"`  // dec_<ulid>
	Outcome     Outcome           `json:"outcome"`                //
	Reason      string            `json:"reason,omitempty"`       // a sentence; needed unless the outcome is success
	SourceIP    string            `json:"source_ip,omitempty"`    // of the actor
	Source      string            `json:"source"`                 // who delivered it: function/<name>, proxy/<id>, agent/<id>; set by whoever receives it, not by the sender
	SourceEpoch string            `json:"source_epoch,omitempty"` // changes when the source starts
	Seq         uint64            `json:"seq,omitempty"`          // counts the source's events from 1 in an epoch
	SourceAfter string            `json:"source_after,omitempty"` // in an epoch's first event: <epoch>:<seq> of the source's last event before it
	Data        map[string]string `json:"data,omitempty"`         // what only this type has; no secrets
}

// Common says what the fields of every event mean, by their names in JSON and in their order.
var Common = []Field{
	{Name: "id", Meaning: "the event's name: a ULID in lower case, which begins with the time", Always: true},
	{Name: "time", Meaning: "when it happened, by the clock of the machine that reports it: RFC 3339, UTC, whole milliseconds", Always: true},
	{Name: "type", Meaning: "what happened: one of the types below", Always: true},
	{Name: "code", Meaning: "the type's code, as S1000I; it ends with W when somebody should look", Always: true},
	{Name: "cluster", Meaning: "id of the cluster, a UUID", Always: true},
	{Name: "actor", Meaning: "who did it: user/<name>, agent/<id>, proxy/<id>, function/<name>, aws/<role and session> before a name is known, or unknown", Always: true},
	{Name: "actor_roles", Meaning: "the actor's roles at that moment"},
	{Name: "target_kind", Meaning: "what kind of thing it was done to: node, db, role, token, certificate, document, …; never without a target"},
	{Name: "target", Meaning: "the thing's name or id"},
	{Name: "scope", Meaning: "the target's scope, as /payments"},
	{Name: "session_id", Meaning: "the session it belongs to, ses_<ulid>"},
	{Name: "request_id", Meaning: "the API call that caused it"},
	{Name: "decision_id", Meaning: "the decision that a refused caller was told, dec_<ulid>"},
	{Name: "outcome", Meaning: "success, failure (it could not be done) or denied (it was not allowed)", Always: true},
	{Name: "reason", Meaning: "a sentence that says why; always there unless the outcome is success"},
	{Name: "source_ip", Meaning: "the IP address that the actor came from"},
	{Name: "source", Meaning: "who delivered the event: function/<name>, proxy/<id> or agent/<id>; the receiver sets it, not the sender", Always: true},
	{Name: "source_epoch", Meaning: "changes each time the source starts"},
	{Name: "seq", Meaning: "the event's number among those of its source in the epoch, from 1"},
	{Name: "source_after", Meaning: "in an epoch's first event the one before it: <epoch>:<seq>"},
	{Name: "data", Meaning: "what only this type has: the fields below, names and values both text; no secrets"},
}

// ErrTaken says that another event stands under the id of one that was to be written. Writing it again doesn't help.
var ErrTaken = errors.New("another event has this id already")

// Unknown is the actor of whom nothing is known, not even a role.
const Unknown = "unknown"

// Times that readers everywhere can read.
const (
	firstYear = 1970
	lastYear  = 2261
)

// MaxSize is how many bytes of JSON an event may take.
const MaxSize = 16 << 10

// New makes an event of a type, happening now; its outcome is success until the caller says otherwise.
// Entropy is 10 random bytes for the id.
func New(t Type, entropy io.Reader, now time.Time) Event {
	now = now.UTC().Truncate(time.Millisecond)
	return Event{ID: newID(entropy, now), Time: now, Type: t, Code: Types[t].Code, Outcome: Success}
}

// newID panics when entropy runs out, which crypto/rand.Reader never does.
func newID(entropy io.Reader, now time.Time) string {
	id, err := ulid.New(ulid.Timestamp(now), entropy)
	if err != nil {
		panic(fmt.Sprintf("audit: making an id: %v", err))
	}
	return strings.ToLower(id.String())
}

var (
	idShape     = regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{26}$`)
	sourceShape = regexp.MustCompile(`^(function|proxy|agent)/[^/#]+$`) // a # would end the writer's name in a partition key
)

// Validate reports all faults of an event that is to be written as one [fault.BadInput].
func (e Event) Validate() error { return e.validate(false) }

// Received is [Event.Validate] for what was written elsewhere. An agent may be of a release after this one, where its types have
// more keys: those say nothing here, and no session goes without its start because of them.
func (e Event) Received() error { return e.validate(Writer(e.Source) == names.WriterAgent) }

func (e Event) validate(newer bool) error {
	var faults []fault.Field
	check := func(ok bool, path, reason string) {
		if !ok {
			faults = append(faults, fault.Field{Path: path, Reason: reason})
		}
	}
	row, known := Types[e.Type]
	check(idShape.MatchString(e.ID), "id", "an event's id must be a ULID in lower case")
	check(!e.Time.IsZero() && e.Time.Equal(e.Time.Truncate(time.Millisecond)), "time", "an event's time must be in whole milliseconds")
	check(e.Time.IsZero() || e.Time.Year() >= firstYear && e.Time.Year() <= lastYear, "time", fmt.Sprintf("an event's time must be in the years %d to %d", firstYear, lastYear))
	check(e.Seq <= math.MaxInt64, "seq", "a number is at most 2^63-1, as columns have them")
	check(known, "type", fmt.Sprintf("there is no type of event %q", e.Type))
	check(!known || e.Code == row.Code, "code", fmt.Sprintf("the code of %s is %s", e.Type, row.Code))
	check(e.Cluster != "", "cluster", "an event must name its cluster")
	check(e.Actor != "", "actor", "an event must name its actor")
	check(sourceShape.MatchString(e.Source), "source", "an event's source must be function/<name>, proxy/<id> or agent/<id>")
	check(e.Outcome == Success || e.Outcome == Failure || e.Outcome == Denied, "outcome", "an outcome must be success, failure or denied")
	check(e.Outcome == Success || e.Reason != "", "reason", "an event that was denied or failed must have a reason")
	check((e.TargetKind == "") == (e.Target == ""), "target", "a target must come with its kind")
	check(e.size() <= MaxSize, "data", fmt.Sprintf("an event may take at most %d bytes", MaxSize))
	if known {
		faults = append(faults, dataFaults(row, e.Data, newer)...)
	}
	if len(faults) > 0 {
		return strict.Refuse(faults)
	}
	return nil
}

// Sum is the SHA-256 of a text that an event has no room for, in hex: its field <name>_sha256, and under which name it is kept.
func Sum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

var sumShape = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ReadSum refuses what can't be a [Sum].
func ReadSum(text string) error {
	if sumShape.MatchString(text) {
		return nil
	}
	return fault.Newf(fault.BadInput, "give the value of a field of an event whose name ends in _sha256", "%.80q is no SHA-256 in hex", text)
}

// Writer returns whose partitions the events of a source are in: each function's own, and one for all proxies and one
// for all agents, since any proxy may bring what any agent says.
func Writer(source string) string {
	kind, _, _ := strings.Cut(source, "/")
	if kind == names.WriterProxy || kind == names.WriterAgent {
		return kind
	}
	return source
}
