package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
)

// event begins an audit event about a user and a target of this agent.
func (r *Register) event(kind audit.Type, q Request) audit.Event {
	host := r.config.Host()
	e := audit.New(kind, r.config.Entropy, r.config.Gate.Now())
	e.Actor, e.ActorRoles = "user/"+q.User.Name, q.User.Roles
	e.TargetKind, e.Target, e.Scope = q.Hint.Target.Kind, q.Hint.Target.Name, host.Scope
	e.Data = map[string]string{"certificate": q.User.Certificate, "uid": q.User.UID}
	for _, use := range resource.UsesOf(q.Hint.Target.Kind) { // whatever else a client says is left out
		if value, ok := q.Use[use.Name]; ok {
			e.Data[use.Name] = clip(value, 128)
		}
	}
	if q.Hint.TraceID != "" {
		e.Data["trace_id"] = clip(q.Hint.TraceID, 64)
	}
	if q.Hint.Source.IsValid() {
		e.SourceIP = q.Hint.Source.Addr().Unmap().String()
	}
	return e
}

// describe adds what a decision was based on, so that it can be reproduced: traits, labels, versions, grants.
func describe(e *audit.Event, host identity.Host, u identity.User, d policy.Decision) {
	add := func(name string, v any, there bool) {
		if b, err := json.Marshal(v); err == nil && there {
			e.Data[name] = string(b)
		}
	}
	add("traits", u.Traits, len(u.Traits) > 0)
	add("labels", host.Labels, len(host.Labels) > 0)
	if len(d.Grants) > 0 {
		e.Data["grants"] = strings.Join(d.Grants, ",")
	}
	v := u.Versions
	e.Data["versions"] = fmt.Sprintf("trust=%d.%d policy=%d.%d revocations=%d.%d", v.Trust.Epoch, v.Trust.Counter,
		v.Policy.Epoch, v.Policy.Counter, v.Revocations.Epoch, v.Revocations.Counter)
}

// detailed is an error that knows more than the user needs: what the decision is based on.
type detailed interface {
	error
	Details() map[string]string
}

func details(e *audit.Event, cause error) {
	if d, ok := errors.AsType[detailed](cause); ok {
		maps.Copy(e.Data, d.Details())
	}
}

// How much of a command an event has: so many bytes, which take no more than so many in JSON.
const (
	maxCommand     = 4 << 10
	maxCommandJSON = 8 << 10
)

// command adds the command that a session runs. Where the event doesn't have all of it byte for byte, it says how long it is and
// what it hashes to: what counts could be behind what is shown.
func command(e *audit.Event, whole string) {
	if whole == "" {
		return
	}
	shown := beginning(whole)
	e.Data["command"] = shown
	if shown != whole {
		e.Data["command_sha256"], e.Data["command_bytes"] = audit.Sum(whole), strconv.Itoa(len(whole))
	}
}

// beginning is as much of a text as an event has of a command: whole characters, with one U+FFFD for what isn't UTF-8 in a row.
func beginning(whole string) string {
	end, size := 0, 0
	for end < len(whole) {
		r, n := utf8.DecodeRuneInString(whole[end:])
		switch {
		case r < ' ', r == '<', r == '>', r == '&', r == '\u2028', r == '\u2029': // as package json writes them
			size += len(`\u0000`)
		case r == '"', r == '\\':
			size += 2
		default:
			size += utf8.RuneLen(r)
		}
		if end+n > maxCommand || size > maxCommandJSON {
			break
		}
		end += n
	}
	return strings.ToValidUTF8(whole[:end], "\uFFFD")
}

// bulky are the data that are dropped first, or cut to size, when an event would be too large.
var bulky = []string{"trace", "traits", "labels", "command"}

// maxUnknown is of how many data that a service may not say an event names.
const maxUnknown = 4

// maxReason is how much of a reason an event keeps, in bytes.
const maxReason = 2 << 10

// fit leaves out what a service may not say in an event of the type, keeps the event below a size, as far as leaving out what
// is bulky can, and names what it left out.
func fit(e audit.Event, size int) audit.Event {
	if e.Reason = strings.ToValidUTF8(e.Reason, "?"); len(e.Reason) > maxReason {
		e.Reason = strings.ToValidUTF8(clip(e.Reason, maxReason), "") + " …"
	}
	var left []string
	for _, name := range slices.Sorted(maps.Keys(e.Data)) {
		if _, ok := audit.Types[e.Type].Field(name); !ok { // without it there is still an event
			left = append(left, fmt.Sprintf("%s (unknown, %d bytes)", clip(name, 64), len(e.Data[name])))
			delete(e.Data, name)
		}
	}
	if len(left) > maxUnknown {
		left = append(left[:maxUnknown], fmt.Sprintf("%d more", len(left)-maxUnknown))
	}
	for _, name := range bulky {
		b, err := json.Marshal(e)
		if err != nil || len(b) <= size-1024 { // room for what the journal adds, and for what is said of what was left out
			break
		}
		if value, ok := e.Data[name]; ok {
			delete(e.Data, name)
			left = append(left, fmt.Sprintf("%s (%d bytes, SHA-256 %s)", name, len(value), audit.Sum(value)))
		}
	}
	if left != nil {
		e.Data["left_out"] = strings.Join(left, ", ")
	}
	return e
}

// record keeps an event; one that can't be kept is logged, as there is nobody left to tell.
func (r *Register) record(e audit.Event) {
	if err := r.config.Journal.Record(fit(e, audit.MaxSize)); err != nil {
		r.config.Log.Error("Audit event not kept", "type", string(e.Type), "session_id", e.SessionID, "error", err)
	}
}

func clip(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}
