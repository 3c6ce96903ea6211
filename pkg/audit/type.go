package audit

import "encoding/json"

// Type names what happened: <what>.<verb in the past or state>.
type Type string

// The types.
const (
	UserLogin          Type = "user.login"
	UserLoginRefused   Type = "user.login_refused"
	AgentJoin          Type = "agent.join"
	AgentJoinRefused   Type = "agent.join_refused"
	AgentQuarantined   Type = "agent.quarantined"
	AgentCopied        Type = "agent.copied"
	AgentRenew         Type = "agent.renew"
	AgentUnjudged      Type = "agent.unjudged"
	ProxyJoin          Type = "proxy.join"
	CertificateIssued  Type = "certificate.issued"
	CertificateRefused Type = "certificate.refused"
	ResourceCreated    Type = "resource.created"
	ResourceUpdated    Type = "resource.updated"
	ResourceDeleted    Type = "resource.deleted"
	RequestRefused     Type = "request.refused"
	DocumentRefused    Type = "document.refused"
	TrustPublished     Type = "trust.published"
	PolicyPublished    Type = "policy.published"
	ListCoarsened      Type = "revocations.coarsened"
	DocumentsStale     Type = "documents.stale"
	DocumentsFresh     Type = "documents.fresh"
	SessionStart       Type = "session.start"
	SessionEnd         Type = "session.end"
	SessionDenied      Type = "session.denied"
	SessionResize      Type = "session.resize"
	LimitReached       Type = "limit.reached"
	RecordingChunk     Type = "recording.chunk"
	RecordingEnd       Type = "recording.end"
	RecordingDamaged   Type = "recording.damaged"
	RecordingRead      Type = "recording.read"
	RecordingAbandoned Type = "recording.abandoned"
	RecordingMissing   Type = "recording.missing"
	LedgerGap          Type = "ledger.gap"
	LakeQueried        Type = "lake.queried"
	LakeRead           Type = "lake.read"
	LakeMissing        Type = "lake.missing"
	LakeForeign        Type = "lake.foreign"
	EvidenceChecked    Type = "evidence.checked"
	EvidenceCanary     Type = "evidence.canary"

	SessionDenialsCounted Type = "session.denials_counted"

	SigningUnclaimed  Type = "signing.unclaimed"
	SigningUnrecorded Type = "signing.unrecorded"
)

// Row is what the table says about a type.
type Row struct {
	Code    string   // S, four digits of which the first is the group, I for information or W for warning
	Summary string   // one line for the reference
	By      []string // who writes it: function/<name>, agent, proxy; nobody any more when it is empty
	Fields  []Field  // what its data may hold, in the order of the reference
}

// Types is the table of types and codes. Rows are added, and fields to rows; none is changed or removed.
var Types = map[Type]Row{
	UserLogin:          {"S1000I", "somebody logged in", by(signUser), of(login, always("uid", uid), always("logins", "the logins that the certificate allows, separated by commas"))},
	UserLoginRefused:   {"S1001W", "a login was refused", by(signUser), of(login, optional("uid", uid), optional("logins", "the logins that the certificate would have allowed, separated by commas"), code)},
	RequestRefused:     {"S1002W", "an API call was refused: its signature, certificate or permission", by(adminFn, queryFn, recFn), of(caller)},
	AgentJoin:          {"S2000I", "an agent joined", by(signHost), of(join)},
	AgentJoinRefused:   {"S2001W", "an agent or proxy was refused", by(signHost), of(join, code)},
	AgentQuarantined:   {"S2002W", "an agent claimed a name that another holds", by(signHost), of(join, code)},
	AgentRenew:         {"S2003I", "an agent or proxy renewed its certificate", by(signHost), of(join)},
	ProxyJoin:          {"S2004I", "a proxy joined", by(signHost), of(join)},
	AgentCopied:        {"S2005W", "an agent's state directory is in use twice: a superseded certificate was renewed, or two instances were connected", by(signHost, "proxy"), of(maybe(join), maybe(code), copied)},
	AgentUnjudged:      {"S2006W", "an agent or proxy renewed in a new epoch by a certificate that its restored record doesn't know", by(signHost), of(join, unjudged)},
	CertificateIssued:  {"S3000I", "a certificate was signed", nil, nil},
	CertificateRefused: {"S3001W", "a certificate was not signed", nil, nil},
	ResourceCreated:    {"S4000I", "a role, user, mapping or token was created", by(adminFn), of(caller, change, after)},
	ResourceUpdated:    {"S4001I", "a role, user, mapping or token was changed", by(adminFn), of(caller, change, before, after)},
	ResourceDeleted:    {"S4002I", "a role, user, mapping, token or node was deleted", by(adminFn), of(caller, change, before)},
	TrustPublished:     {"S5000I", "a trust document was published", by("function/rotate"), trusted()},
	PolicyPublished:    {"S5001I", "a policy document was published", by(publish), of(published)},
	DocumentRefused:    {"S5002W", "an older, unsigned or foreign document was refused", by("agent", "proxy"), of(optional("refused_between", "how many refusals were not recorded since the one before; an agent says it"))},
	ListCoarsened:      {"S5003W", "revocations could not be kept apart: more was revoked than was asked for", by(publish), of(coarsened)},
	DocumentsStale:     {"S5004W", "an agent was brought no newer documents for minutes", by("agent"), nil},
	DocumentsFresh:     {"S5005I", "an agent whose documents were stale has fresh ones again", by("agent"), nil},
	SessionStart:       {"S6000I", "a session began", by("agent"), of(always("certificate", certificate), used, decided, started)},
	SessionEnd:         {"S6001I", "a session ended", by("agent", "function/sweep"), of(optional("certificate", certificate), used, ended)},
	SessionDenied:      {"S6002W", "a session was denied", by("agent", "proxy"), of(always("certificate", certificate), used, decided, denied)},
	SessionResize:      {"S6005I", "the terminal of a session has another size: the first change, and then one event in ten seconds at most; session.end tells the rest", by("agent"), of(always("certificate", certificate), used, resized)},
	LimitReached:       {"S6004W", "a user or an agent had too much open at a proxy, which ended or refused what was beyond", by("proxy"), of(optional("unrecorded", "how many events of the same actor and reason were not recorded since the one before"))},
	RecordingChunk:     {"S6100I", "a piece of a session's recording was sealed: its number and hash", by("agent"), of(chunk)},
	RecordingEnd:       {"S6101I", "a session's recording was sealed: how many pieces, how much, and what is missing", by("agent"), of(sealed)},
	RecordingDamaged:   {"S6102W", "a piece of a session's recording could not be kept, read or uploaded", by("agent"), of(optional("uid", uid))},
	RecordingRead:      {"S6103I", "somebody was given a recording to read", by("function/recording"), of(read)},
	RecordingAbandoned: {"S6104W", "the agent of a recording isn't heard of any more: what it brought so far is all there is", by("function/sweep"), of(abandoned)},
	RecordingMissing:   {"S6105W", "a session that was to be recorded has no recording", by("function/sweep"), of(unrecorded)},
	LedgerGap:          {"S7000W", "events that an agent numbered are not in the ledger", by("function/sweep"), of(missed)},
	LakeQueried:        {"S7001I", "somebody asked the audit lake", by(queryFn), of(caller, asked)},
	EvidenceChecked:    {"S7002I", "what was received in an hour was checked: failure is the outcome when something was found, or could not be proved", by("function/sweep"), of(checks)},
	LakeRead:           {"S7006I", "somebody was given the whole of what an event had no room for", by(queryFn), of(caller)},
	LakeMissing:        {"S7003W", "the lake lacks events that the ledger received in an hour, though they were sent again", by("function/sweep"), of(compared)},
	LakeForeign:        {"S7004W", "the lake has events of an hour that the ledger doesn't have, or the ledger some that aren't what it received", by("function/sweep"), of(compared, strange)},

	EvidenceCanary: {"S7005I", "an event that has a value in each field, of which the hour's check sees whether each arrives in the lake; nobody did anything", by("function/sweep"), of(tried)},

	SigningUnclaimed:  {"S3002W", "a key of the cluster signed, and no function says that it asked for it", by("function/sweep"), of(signedBy)},
	SigningUnrecorded: {"S3003W", "a function says that it signed, and CloudTrail has no record of it: who else signed can't be known", by("function/sweep"), of(lacking)},

	SessionDenialsCounted: {"S6003W", "so many denials of a user were not recorded one by one", by("agent"), of(counted)},
}

func (e Event) size() int {
	b, err := json.Marshal(e)
	if err != nil {
		return MaxSize + 1
	}
	return len(b)
}
