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
	LimitReached       Type = "limit.reached"
	RecordingChunk     Type = "recording.chunk"
	RecordingEnd       Type = "recording.end"
	RecordingDamaged   Type = "recording.damaged"
	RecordingRead      Type = "recording.read"
	RecordingAbandoned Type = "recording.abandoned"

	SessionDenialsCounted Type = "session.denials_counted"
)

// Row is what the table says about a type.
type Row struct {
	Code    string // S, four digits of which the first is the group, I for information or W for warning
	Summary string // one line for the reference
}

// Types is the table of types and codes. Rows are added; none is changed or removed.
var Types = map[Type]Row{
	UserLogin:          {"S1000I", "somebody logged in"},
	UserLoginRefused:   {"S1001W", "a login was refused"},
	RequestRefused:     {"S1002W", "an API call was refused: its signature, certificate or permission"},
	AgentJoin:          {"S2000I", "an agent joined"},
	AgentJoinRefused:   {"S2001W", "an agent or proxy was refused"},
	AgentQuarantined:   {"S2002W", "an agent claimed a name that another holds"},
	AgentRenew:         {"S2003I", "an agent or proxy renewed its certificate"},
	ProxyJoin:          {"S2004I", "a proxy joined"},
	AgentCopied:        {"S2005W", "an agent's state directory is in use twice: a superseded certificate was renewed, or two instances were connected"},
	AgentUnjudged:      {"S2006W", "an agent or proxy renewed in a new epoch by a certificate that its restored record doesn't know"},
	CertificateIssued:  {"S3000I", "a certificate was signed"},
	CertificateRefused: {"S3001W", "a certificate was not signed"},
	ResourceCreated:    {"S4000I", "a role, user, mapping or token was created"},
	ResourceUpdated:    {"S4001I", "a role, user, mapping or token was changed"},
	ResourceDeleted:    {"S4002I", "a role, user, mapping, token or node was deleted"},
	TrustPublished:     {"S5000I", "a trust document was published"},
	PolicyPublished:    {"S5001I", "a policy document was published"},
	DocumentRefused:    {"S5002W", "an older, unsigned or foreign document was refused"},
	ListCoarsened:      {"S5003W", "revocations could not be kept apart: more was revoked than was asked for"},
	DocumentsStale:     {"S5004W", "an agent was brought no newer documents for minutes"},
	DocumentsFresh:     {"S5005I", "an agent whose documents were stale has fresh ones again"},
	SessionStart:       {"S6000I", "a session began"},
	SessionEnd:         {"S6001I", "a session ended"},
	SessionDenied:      {"S6002W", "a session was denied"},
	LimitReached:       {"S6004W", "a user or an agent had too much open at a proxy, which ended or refused what was beyond"},
	RecordingChunk:     {"S6100I", "a piece of a session's recording was sealed: its number and hash"},
	RecordingEnd:       {"S6101I", "a session's recording was sealed: how many pieces, how much, and what is missing"},
	RecordingDamaged:   {"S6102W", "a piece of a session's recording could not be kept, read or uploaded"},
	RecordingRead:      {"S6103I", "somebody was given a recording to read"},
	RecordingAbandoned: {"S6104W", "the agent of a recording isn't heard of any more: what it brought so far is all there is"},

	SessionDenialsCounted: {"S6003W", "so many denials of a user were not recorded one by one"},
}

func (e Event) size() int {
	b, err := json.Marshal(e)
	if err != nil {
		return MaxSize + 1
	}
	return len(b)
}
