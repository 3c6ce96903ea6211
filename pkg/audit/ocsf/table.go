package ocsf

import "github.com/stile-dev/stile/pkg/audit"

// Class is a class of OCSF: its uid, which is 1000 times its category's and more.
type Class int

// The classes that events are mapped to.
const (
	FileActivity     Class = 1001
	DetectionFinding Class = 2004
	Authentication   Class = 3002
	EntityManagement Class = 3004
	NetworkActivity  Class = 4001
	SSHActivity      Class = 4007
	APIActivity      Class = 6003
)

// Classes are the classes as OCSF calls them.
var Classes = map[Class]string{
	FileActivity: "File System Activity", DetectionFinding: "Detection Finding", Authentication: "Authentication",
	EntityManagement: "Entity Management", NetworkActivity: "Network Activity", SSHActivity: "SSH Activity", APIActivity: "API Activity",
}

// Activities, whose numbers mean something else in each class.
const (
	other = 99

	logon = 1

	created = 1
	updated = 3
	deleted = 4

	opened  = 1
	closed  = 2
	refused = 5

	begun = 1 // of findings
	over  = 3

	read = 2
)

// Severities.
const (
	informational = 1
	low           = 2
	medium        = 3
	high          = 4
	critical      = 5
)

// Row says what a type of event becomes, and why.
type Row struct {
	Class    Class // of sessions on nodes it is SSHActivity
	Activity int
	Severity int
	Why      string // one line for the reference
}

// Types is the table: each type of [audit.Types] has a row.
var Types = map[audit.Type]Row{
	audit.UserLogin:        {Authentication, logon, informational, "a person proved an identity and got a certificate"},
	audit.UserLoginRefused: {Authentication, logon, low, "a logon that failed: status_id says so"},
	audit.RequestRefused:   {APIActivity, other, low, "a call to our API; the event doesn't say whether it was to read or to change"},

	audit.AgentJoin:        {Authentication, logon, informational, "a machine proved an identity and got a certificate: the user is of the type System"},
	audit.ProxyJoin:        {Authentication, logon, informational, "a machine proved an identity and got a certificate, as an agent does"},
	audit.AgentJoinRefused: {Authentication, logon, low, "a machine's logon that failed"},
	audit.AgentRenew:       {Authentication, logon, informational, "a machine proved by its certificate who it is, for the next one"},
	audit.AgentQuarantined: {DetectionFinding, begun, high, "somebody may be taking another's name, and a person must decide"},
	audit.AgentCopied:      {DetectionFinding, begun, high, "a machine's key may be stolen"},
	audit.AgentUnjudged:    {DetectionFinding, begun, medium, "a stolen key would have passed as well"},

	audit.CertificateIssued:  {EntityManagement, created, informational, "a certificate is an entity that we manage"},
	audit.CertificateRefused: {EntityManagement, created, low, "a certificate that was not made: status_id says so"},
	audit.ResourceCreated:    {EntityManagement, created, informational, "roles, users, mappings and tokens are entities that administrators manage"},
	audit.ResourceUpdated:    {EntityManagement, updated, informational, "an administrator changed such an entity"},
	audit.ResourceDeleted:    {EntityManagement, deleted, informational, "an administrator deleted such an entity"},
	audit.TrustPublished:     {EntityManagement, updated, informational, "the document of keys has another version"},
	audit.PolicyPublished:    {EntityManagement, updated, informational, "the document of roles has another version"},
	audit.ListCoarsened:      {EntityManagement, updated, medium, "the list of revocations changed, and says more than it was asked for"},
	audit.DocumentRefused:    {DetectionFinding, begun, high, "somebody offered a document that our keys didn't sign, or an old one"},
	audit.DocumentsStale:     {DetectionFinding, begun, medium, "somebody may keep documents back"},
	audit.DocumentsFresh:     {DetectionFinding, over, informational, "ends the finding of stale documents, under the same uid"},

	audit.SessionStart:          {NetworkActivity, opened, informational, "a connection to a target was opened; to a node it is of the class SSH Activity"},
	audit.SessionEnd:            {NetworkActivity, closed, informational, "a connection to a target was closed"},
	audit.SessionResize:         {NetworkActivity, other, informational, "a connection to a target goes on, with a terminal of another size"},
	audit.SessionDenied:         {NetworkActivity, refused, low, "a connection to a target was refused"},
	audit.SessionDenialsCounted: {NetworkActivity, refused, low, "many connections were refused: count says how many, start_time since when"},
	audit.LimitReached:          {NetworkActivity, refused, low, "a proxy refused or ended connections"},

	audit.RecordingChunk:     {FileActivity, created, informational, "a piece of a recording is a file on the agent's machine"},
	audit.RecordingEnd:       {FileActivity, created, informational, "the manifest is a file on the agent's machine"},
	audit.RecordingDamaged:   {FileActivity, other, medium, "a file of the recording could not be written, read or uploaded"},
	audit.RecordingRead:      {APIActivity, read, informational, "a call to our API that reads"},
	audit.LakeRead:           {APIActivity, read, informational, "a call to our API that reads"},
	audit.LakeQueried:        {APIActivity, read, informational, "a call to our API that reads"},
	audit.RecordingAbandoned: {DetectionFinding, begun, medium, "what a session showed last may be missing"},
	audit.RecordingMissing:   {DetectionFinding, begun, high, "what a session showed is missing, and somebody may keep it back"},

	audit.LedgerGap:   {DetectionFinding, begun, high, "somebody may keep audit events back"},
	audit.LakeMissing: {DetectionFinding, begun, medium, "questions in SQL don't find all that happened"},
	audit.LakeForeign: {DetectionFinding, begun, high, "somebody may have forged audit events, or overwritten some"},

	audit.SigningUnclaimed:  {DetectionFinding, begun, critical, "somebody may have signed certificates or documents of their own"},
	audit.SigningUnrecorded: {DetectionFinding, begun, high, "somebody may sign unseen"},
	audit.EvidenceCanary:    {APIActivity, other, informational, "nobody called anything: a function of ours writes it to see whether each field arrives in the lake"},
	audit.EvidenceChecked:   {APIActivity, read, informational, "a function of ours read the evidence of an hour; status_id and unproved say whether all was as it should be"},
}
