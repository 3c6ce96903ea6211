package audit

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
)

// Field is what one key of a type's data means, of which all values are text and numbers decimal; or one field of every event.
type Field struct {
	Name    string
	Meaning string // one line for the reference: what it is, its unit or form
	Always  bool   // whether every event of the type has it, also of earlier releases
	Kept    bool   // no code writes it any more; it stands in events of before
}

// Group is what the codes of one first digit are about.
type Group struct {
	Digit byte
	Title string
}

// Groups are the groups of codes, in their order.
var Groups = []Group{
	{'1', "Logins and API calls"},
	{'2', "Agents and proxies"},
	{'3', "Certificates"},
	{'4', "Resources"},
	{'5', "Documents"},
	{'6', "Sessions and recordings"},
	{'7', "The ledger"},
}

// Field returns what the table says about a key of the type's data, and whether it says anything.
func (r Row) Field(name string) (Field, bool) {
	for _, f := range r.Fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// maxStrange is of how many keys that the type doesn't have Validate tells.
const maxStrange = 8

// maxNewer is how many keys an event of a newer release may have that the type doesn't have here. They are spelt as ours are.
const maxNewer = 16

var newerShape = regexp.MustCompile(`^[a-z][a-z0-9_.]{0,63}$`)

// dataFaults tells of keys that the type doesn't have, unless a newer release may, and of what is lacking.
func dataFaults(row Row, data map[string]string, newer bool) (faults []fault.Field) {
	strange := 0
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if _, ok := row.Field(key); ok {
			continue
		}
		if strange++; newer && strange <= maxNewer && newerShape.MatchString(key) {
			continue
		}
		if len(faults) < maxStrange {
			faults = append(faults, fault.Field{Path: "data." + clip(key), Reason: "an event of this type has no such data"})
		}
	}
	for _, f := range row.Fields {
		if _, ok := data[f.Name]; f.Always && !ok {
			faults = append(faults, fault.Field{Path: "data." + f.Name, Reason: "an event of this type must have it"})
		}
	}
	return faults
}

// Writers of events.
const (
	signUser = names.WriterFunction + "sign-user"
	signHost = names.WriterFunction + "sign-host"
	adminFn  = names.WriterFunction + "admin"
	publish  = names.WriterFunction + "publish"
	queryFn  = names.WriterFunction + "query"
	recFn    = names.WriterFunction + "recording"
)

// Meanings that several types share.
const (
	certificate = "id of the user's certificate, crt_<ulid>"
	uid         = "what identifies the user when names change hands, usr_…"
)

func always(name, meaning string) []Field {
	return []Field{{Name: name, Meaning: meaning, Always: true}}
}
func optional(name, meaning string) []Field { return []Field{{Name: name, Meaning: meaning}} }
func kept(name, meaning string) []Field     { return []Field{{Name: name, Meaning: meaning, Kept: true}} }

func by(writers ...string) []string { return writers }

func of(fields ...[]Field) []Field { return slices.Concat(fields...) }

// maybe is the fields of another type in one that doesn't always have them.
func maybe(fields []Field) []Field {
	out := slices.Clone(fields)
	for i := range out {
		out[i].Always = false
	}
	return out
}

// Fields that several types share, or too many for a line of the table.
var (
	login = of(
		always("method", "how the user proved who they are, as iam"),
		optional("aws", "the AWS role that was proven: <partition>:<account>:<role>:<role id>"),
		optional("mapping", "the mapping that admits the identity"),
	)
	code   = always("code", "the code of the fault, as denied")
	caller = of(always("uid", uid), always("certificate", certificate))
	change = of(
		optional("revision", "the resource's revision after the change, a number; of a deletion the one that was deleted"),
		optional("revoked", "what was revoked with it: a kind and its value, as user ada"),
	)
	before = of(
		optional("before", "the resource before the change: its metadata and spec as JSON, cut where the event has no more room"),
		optional("before_sha256", "SHA-256 of the whole of before, hex, when it was cut; by it the whole is kept"),
	)
	after = of(
		optional("after", "the resource after the change: its metadata and spec as JSON, cut where the event has no more room"),
		optional("after_sha256", "SHA-256 of the whole of after, hex, when it was cut; by it the whole is kept"),
	)
	join = of(
		always("token", "name of the token that admits it; empty when none was named"),
		optional("claimed", "the targets that it claims, kind/name, separated by blanks"),
		always("method", "how it proved who it is, iam or token"),
		optional("repeated", "true for the answer to a request that had been carried out before"),
		optional("aws", "the AWS role that was proven: <partition>:<account>:<role>:<role id>"),
		kept("claimed_name", "the node's name that it claims"),
	)
	copied = of(
		optional("shown", "id of the certificate that was shown, crt_<ulid>; sign-host says it"),
		optional("in_force", "id of the certificate in force, crt_<ulid>; sign-host says it"),
		optional("first_source", "address and port of the instance connected longest; a proxy says it"),
		optional("second_source", "address and port of the other instance; a proxy says it"),
	)
	unjudged = of(
		always("shown", "id of the certificate that was shown, crt_<ulid>"),
		always("restored", "id of the certificate in the restored record, crt_<ulid>"),
		always("epoch", "the epoch that documents are in, a number"),
	)
	published = of(
		always("version", "the document's version, <epoch>.<counter>"),
		always("input", "number of the newest change that the document holds"),
		always("roles", "how many roles it has"),
		optional("locks", "how many locks it has"),
		always("revoked", "how many entries the lists of revocations have together"),
		optional("key", "id of the key that signed it"),
	)
	coarsened = of(
		always("list", "the list: users or agents"),
		always("groups", "how many groups had their entries replaced by one that revokes the whole group"),
		always("entries", "how many entries were replaced"),
		optional("everybody", "true when all of the list are revoked"),
		optional("lost", "how many orders to revoke were missing from the table"),
		optional("epoch", "the epoch that begins with a restored table, a number"),
	)
	used = of(
		optional("uid", uid),
		optional("login", "the login on a node"),
		optional("database", "the database"),
		optional("user", "the user in the database"),
		optional("group", "the group in a Kubernetes cluster"),
		optional("trace_id", "the client's name for its attempt, at most 64 bytes"),
		optional("left_out", "what was left out for want of room, with its size and its SHA-256, or because a service may not say it"),
	)
	decided = of(
		optional("versions", "what the user's certificate was issued by: trust=<epoch>.<counter> policy=… revocations=…"),
		optional("traits", "the user's traits, JSON: name to list of values"),
		optional("labels", "the agent's labels, JSON: name to value"),
		optional("grants", "ids of the access requests that were granted, separated by commas"),
	)
	resized = of(
		always("columns", "columns of the terminal after its last change of size"),
		always("rows", "its rows after that"),
		always("resizes", "how many changes of size no event has told before this one"),
	)
	started = of(
		optional("kind", "what began: shell or exec on a node, the target's kind elsewhere"),
		optional("pty", "true when the session has a terminal, or false"),
		optional("command", "the command; of one that is long, or isn't UTF-8, its beginning as text: at most 4 KiB"),
		optional("command_sha256", "SHA-256 of the whole command, hex, when command isn't all of it byte for byte"),
		optional("command_bytes", "how many bytes the whole command has, when command isn't all of it byte for byte"),
		optional("recording", "how it is recorded: strict, best-effort, off, or none with the reason"),
	)
	ended = of(
		optional("bytes_in", "bytes that the process was sent"),
		optional("bytes_out", "bytes that it wrote"),
		optional("bytes", "bytes that a service moved, when it doesn't tell directions apart"),
		optional("exit_status", "the process's exit status, a number"),
		optional("exit_signal", "the signal that ended the process, as KILL"),
		optional("left", "a sentence about a process that was left running"),
		optional("chunks", "how many pieces the recording has so far"),
		optional("agent", "the agent that isn't heard of any more, agt_<ulid>; sweep says it"),
		optional("last", "SHA-256 of the last piece of the recording, hex; sweep says it"),
		optional("missing", "how many runs of pieces are missing; sweep says it"),
		maybe(resized),
	)
	denied = of(
		optional("trace", "what the roles had to say, JSON, denials first, at most 2 KiB"),
		optional("steps", "how many steps the trace had, when not all are in it"),
		optional("denied_between", "how many denials of the user were not recorded since the one before; a proxy says it"),
		kept("denials_between", "the same, as agents said it"),
		kept("roles_asked", "how many roles were asked"),
		kept("kind", "what would have begun"),
	)
	counted = of(
		always("denials", "how many denials were not recorded"),
		always("since", "when counting began, RFC 3339"),
		optional("uid", "what identifies the user, usr_…; without it, many users are counted together"),
		optional("left_out", "what was left out for want of room, with the sizes"),
	)
	chunk = of(
		optional("uid", uid),
		always("seq", "the piece's number, from 0"),
		always("sha256", "SHA-256 of the sealed piece, hex"),
		always("bytes", "bytes of the session that the piece holds"),
		optional("size", "bytes of the sealed piece"),
	)
	sealed = of(
		optional("uid", uid),
		always("chunks", "how many pieces the recording has"),
		always("last", "SHA-256 of the last piece, hex"),
		always("bytes", "bytes of the session that the pieces hold"),
		optional("unrecorded_bytes", "bytes that were shown without being recorded"),
		optional("incomplete", "how many runs of pieces are missing"),
	)
	read = of(
		always("certificate", certificate),
		optional("uid", uid),
		always("user", "whose session was recorded"),
		optional("after", "the name after which the page of objects begins"),
	)
	abandoned = of(
		always("uid", uid),
		always("agent", "the agent, agt_<ulid>"),
		always("chunks", "how many pieces there are"),
		optional("last", "SHA-256 of the last piece, hex"),
		optional("missing", "how many runs of pieces are missing"),
	)
	unrecorded = of(
		always("agent", "the agent that had the session, agt_<ulid>"),
		always("recording", "how the session was to be recorded: strict or best-effort"),
		always("started", "when it began, by the agent's clock, RFC 3339"),
	)
	missed = of(
		always("source", "whose events are missing, agent/<id>"),
		always("epoch", "the source_epoch of the missing events; one of more than 64 bytes is named by its SHA-256"),
		always("from", "the lowest seq that is missing"),
		always("to", "the highest seq that is missing, when the gap was told"),
		optional("after", "when the newest event below the gap was received, RFC 3339; without it, none of the epoch was"),
		always("seen", "when the event was received that showed the gap, RFC 3339"),
		optional("more", "how many more gaps of the source were found and are not told one by one"),
	)
	signedBy = of(
		always("signed", "when KMS was asked, RFC 3339; of a message that can't be read, when it came"),
		optional("request", "id of the request to KMS, as CloudTrail has it"),
		optional("by", "ARN of the caller of KMS, as CloudTrail has it"),
		optional("message", "SHA-256 of a message that can't be read as a record, hex"),
	)
	lacking = of(
		always("from", "where the hour begins, RFC 3339"),
		always("to", "where it ends, RFC 3339"),
		always("claimed", "how many signatures the function claims to have asked for in the hour"),
		always("lacking", "of how many of them CloudTrail's record didn't come"),
		always("requests", "ids of the requests to KMS of up to ten of these, separated by spaces"),
	)
	compared = of(
		always("from", "where the hour of the receipts begins, RFC 3339"),
		always("to", "where it ends, RFC 3339"),
		always("count", "how many events"),
		always("examples", "some of them, separated by commas: receipt, writer and id of each; of one that isn't what was received, its receipt and partition"),
	)
	strange = of(
		always("foreign", "how many the lake has and the ledger doesn't"),
		always("altered", "how many of the ledger's aren't what it received under their receipts"),
	)
	checks = of(
		always("check", "sequences: no number of agents' events is missing; lake: the lake has what the ledger received; canaries: each column of the hour's canary arrived in the lake; recordings: sessions have recordings; signatures: each signature was meant by a signer"),
		always("from", "where the hour begins, RFC 3339"),
		always("to", "where it ends, RFC 3339"),
		always("looked", "how many events, columns, sessions or signatures were looked at"),
		always("found", "how many of them are not as they should be; events of their own tell of them, and of columns which"),
		optional("which", "which columns are not as they should be, separated by commas"),
		optional("unproved", "what could not be proved, and why"),
	)
	tried = of(
		always("hour", "the hour of which it is the canary, by when it begins, RFC 3339"),
		always("text", "characters that something on the way may take for its own"),
		always("filler", "text that makes the event as long as one may be"),
	)
	asked = of(
		always("since", "where the period begins that was asked about, RFC 3339"),
		always("until", "where it ends, RFC 3339"),
		optional("sql", "the SQL that was asked, cut where the event has no room for more; a named query's name is the target"),
		optional("sql_sha256", "SHA-256 of the whole of sql, hex, when it was cut; by it the whole is kept"),
		optional("parameters", "the parameters of a named query, JSON: name to value"),
	)
)

// trusted lists the keys of a trust document by purpose and state.
func trusted() (all []Field) {
	for _, purpose := range []string{names.KeyRoot, names.KeyPolicy, names.KeyUserSSH, names.KeyUserX509, names.KeyHostSSH, names.KeyHostX509} {
		for _, state := range []string{"next", "active", "retiring"} {
			all = append(all, Field{Name: purpose + "." + state, Meaning: fmt.Sprintf("id of the key for %s that is %s; of several the last", purpose, state)})
		}
	}
	return all
}
