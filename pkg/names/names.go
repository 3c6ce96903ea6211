// Package names has every literal that two sides must spell alike: table entities, environment
// variables, header names, ALPN protocols, document kinds and key purposes.
//
// It imports only the standard library, because the CDK app imports it and nothing else from the product.
package names

// Purposes of the KMS keys: one asymmetric P-256 key each, and one HMAC key for login and join challenges.
const (
	KeyRoot      = "root"      // signs trust documents
	KeyPolicy    = "policy"    // signs policy and revocations documents
	KeyUserSSH   = "user-ssh"  // signs people's SSH certificates
	KeyUserX509  = "user-x509" // signs people's X.509 certificates
	KeyHostSSH   = "host-ssh"  // signs agents' SSH host certificates
	KeyHostX509  = "host-x509" // signs agents' and proxies' X.509 certificates
	KeyChallenge = "challenge" // HMAC_256: challenges made by login and join, verified by the signers
)

// Environment variables of functions and of the proxy's task, set by the templates.
const (
	EnvCluster          = "STILE_CLUSTER"           // cluster id, a UUID
	EnvClusterName      = "STILE_CLUSTER_NAME"      // the cluster's name: the last part of a node's full name
	EnvEpoch            = "STILE_EPOCH"             // in which documents are, 1 or more
	EnvTableState       = "STILE_TABLE_STATE"       // table names
	EnvTableSecrets     = "STILE_TABLE_SECRETS"     //
	EnvTableLedger      = "STILE_TABLE_LEDGER"      //
	EnvTablePresence    = "STILE_TABLE_PRESENCE"    //
	EnvAgentAMD64       = "STILE_AGENT_AMD64"       // key of the agent's program for amd64 in the bucket of documents
	EnvAgentARM64       = "STILE_AGENT_ARM64"       // for arm64
	EnvBucketDocuments  = "STILE_BUCKET_DOCUMENTS"  // bucket of signed documents
	EnvBucketRecordings = "STILE_BUCKET_RECORDINGS" // bucket of recordings
	EnvBucketLake       = "STILE_BUCKET_LAKE"       // bucket of the audit lake
	EnvBucketResults    = "STILE_BUCKET_RESULTS"    // bucket of what queries found
	EnvReaderRole       = "STILE_READER_ROLE"       // ARN of the role by which one recording is read
	EnvKeyPrefix        = "STILE_KEY_"              // + purpose in upper case with _: the key's ARN, as STILE_KEY_USER_SSH
	EnvSignUser         = "STILE_FN_SIGN_USER"      // function names to invoke
	EnvSignHost         = "STILE_FN_SIGN_HOST"      //
	EnvPublish          = "STILE_FN_PUBLISH"        //
	EnvQuery            = "STILE_FN_QUERY"          //
	EnvBootstrapAdmin   = "STILE_BOOTSTRAP_ADMIN"   // JSON of resource.IAMMatch: who is the first administrator
	EnvFleetRole        = "STILE_FLEET_ROLE"        // JSON of resource.IAMMatch: the role that proxies join with
	EnvCanaryRole       = "STILE_CANARY_ROLE"       // JSON of resource.IAMMatch: the role of the synthetic login
	EnvAPI              = "STILE_API"               // URL of the API, with its stage
	EnvPublicAddr       = "STILE_PUBLIC_ADDR"       // host:port where clients and agents reach the proxies
	EnvListen           = "STILE_LISTEN"            // the address that the proxy listens on, such as :8443
	EnvProxyProtocol    = "STILE_PROXY_PROTOCOL"    // CIDRs, comma-separated, whose connections begin with a PROXY v2 header
	EnvLinger           = "STILE_LINGER"            // seconds for which a proxy that was told to end is still sent people
	EnvHome             = "STILE_HOME"              // an engineer's directory, ~/.stile by default
)

// The bus and what is around it.
const (
	BusSource = "stile"        // the source of every audit event on the bus
	KeptAside = "relay/"       // prefix in the bucket of failures of events that can't be put on the bus
	EnvBus    = "STILE_BUS"    // name of the bus
	EnvFailed = "STILE_FAILED" // bucket of what was given up

	EnvSignings = "STILE_SIGNINGS" // URL of the queue of CloudTrail's records of signatures
	EnvSigners  = "STILE_SIGNERS"  // JSON: ARN of a role to the function that signs by it
)

// Entities: the first part of a partition key (pk), before an optional #id. Each has its sort keys (sk) beside it.
const (
	// Table state.
	Role     = "role"        // sk name
	User     = "user"        // sk name
	Mapping  = "iam_mapping" // sk name
	Token    = "token"       // sk name; the secret's hash is in table secrets
	Settings = "settings"    // sk cluster
	Agent    = "agent"       // sk agent id
	Target   = "target"      // pk target#<kind>, sk name: which agent holds kind/name
	Place    = "place"       // pk place#<token>#<token's uid>[#<role id>], sk a number: an agent that is there by a token
	Lock     = "lock"        // sk lock id
	Order    = "order"       // sk the input counter after the change, 16 digits: orders to revoke what was issued before it
	Revoked  = "revoked"     // sk users | agents: the list that the orders have led to; a base in S3 and a change of it
	Input    = "input"       // sk policy: the counter that every change of policy's inputs adds to
	Head     = "head"        // sk head: versions and places of the documents; sk revocations: that document; sk lease: publish's lease

	// Table secrets.
	TokenHash = "token_hash" // pk token_hash#<hex SHA-256 of the secret>, sk token
	Used      = "used"       // pk used#<hex SHA-256 of a challenge>, sk used: single use of evidence
	Joined    = "joined"     // pk joined#<hex SHA-256 of evidence and keys>, sk joined: the agent that joined by them
	Nonce     = "nonce"      // pk nonce#<key id>#<nonce>, sk nonce: idempotency of writing API calls

	// Table ledger.
	Event       = "event"       // pk event#<writer>#<YYYY-MM-DD>#<shard 0-7>, sk <receipt>: a ULID
	Certificate = "certificate" // pk certificate#<hex SHA-256>, sk certificate: an agent's, which signed events
	Happened    = "session"     // pk session#<session id>, sk <event id>: where an event of a session is
	Decided     = "decision"    // pk decision#<decision id>, sk <event id>: where the event of a decision is
	Issuance    = "issuance"    // pk issuance#<certificate id>, sk intent | signed#<kind>
	Claimed     = "claimed"     // pk claimed#<function>#<YYYY-MM-DDTHH>, sk <id of a request to KMS>: the function says that it signed by it

	// Table state, by functions/recording alone.
	Recorded   = "recorded"    // pk recorded#<YYYY-MM-DD of the start>, sk session id: a recording
	RecordedOf = "recorded_of" // pk recorded_of#<user's name>, sk session id: whose recording it is
	Recorder   = "recorder"    // pk recorder#<last character of the session id>, sk session id: until when the agent of a recording that isn't complete counts as alive

	// Table state, by functions/sweep alone.
	Counted = "counted" // pk counted#<agent id>, sk counted: up to which number an agent's events are in the ledger, and what is missing
	Gap     = "gap"     // sk <13 digits of milliseconds>#<agent id>: when what is missing of an agent's events is to be told
	Looked  = "looked"  // sk ledger: up to where the ledger was looked through for gaps; sk lake: up to where it was compared with the lake
	Checked = "checked" // sk the name of a check: up to which hour it has stated what it found
	Signing = "signing" // pk signing#<function or other>#<YYYY-MM-DDTHH>, sk <id of a request to KMS>: CloudTrail has a record of it

	// Table presence.
	Proxy   = "proxy"   // sk proxy id: a lease
	Tunnels = "tunnels" // pk tunnels#<proxy id>, sk shard
	Arrival = "arrival" // pk arrival#<address or IPv6 network>, sk login | join: how often somebody comes to that door; in table secrets pk arrival#<uid>, sk change
	Brought = "brought" // pk brought#<agent id>, sk claim | put: how much an agent brings of recordings, by functions/recording alone; pk brought#<uid>, sk read: how often somebody is denied one
)

// Attributes that items share.
const (
	PK      = "pk"
	SK      = "sk"
	Expires = "expires" // seconds since 1970: the tables' TTL attribute, never used to decide
)

// Writers of events, each with partitions of its own. A function may write into no other's; the proxies write into two.
const (
	WriterFunction = "function/" // + the function's name
	WriterProxy    = "proxy"     // what proxies say
	WriterAgent    = "agent"     // what agents say, through proxies
)

// Writers are all of them: readers look at the partitions of these.
var Writers = []string{
	WriterAgent, WriterProxy, WriterFunction + "admin", WriterFunction + "publish", WriterFunction + "query", WriterFunction + "recording",
	WriterFunction + "rotate", WriterFunction + "sign-host", WriterFunction + "sign-user", WriterFunction + "sweep",
}

// What package policy is asked about beside the kinds of resources.
const (
	Recording = "recording" // what sessions showed
	AuditRule = "event"     // audit events
	AuditLake = "audit"     // all audit events at once, in SQL
)

// KindNode is the kind of target that some places treat specially; package resource has the table of all kinds.
const KindNode = "node" // a server reached by SSH

// Protocols on the proxy's one port, chosen by ALPN.
const (
	ALPNTunnel  = "stile-tunnel/2"
	ALPNConnect = "stile-connect/1"
	ALPNTarget  = "stile-target/1" // inside a connection, between client and agent alone
	ALPNPeer    = "stile-peer/1"
	ALPNAPI     = "stile-api/2" // begins with what the proxy says of the caller
	ALPNAPI1    = "stile-api/1" // of the first release: begins with nothing
)

// StreamEvents is the purpose of the stream that an agent opens to a proxy for its audit events, beside its control stream.
const StreamEvents = "events" // audit events

// HTTP headers.
const (
	HeaderCertificate = "Stile-Certificate" // base64 (standard) DER of the caller's X.509 certificate
	HeaderVia         = "Stile-Via"         // a proxy's word for where the call came from, see package vouch
	HeaderChallenge   = "X-Stile-Challenge" // signed headers of the STS request that is login and join evidence
	HeaderPurpose     = "X-Stile-Purpose"   // login | join
	HeaderCluster     = "X-Stile-Cluster"   // cluster id
	HeaderKeys        = "X-Stile-Keys"      // base64url SHA-256 over both public keys, see KeysHash in package certs
)

// Purposes of a challenge.
const (
	PurposeLogin = "login"
	PurposeJoin  = "join"
)

// SSHIdentity is the SSH certificate extension that carries the identity, as JSON.
const SSHIdentity = "identity@stile.dev"

// SSHEnded is the name of the exit signal (RFC 4254 section 6.10) of a session that the node ended; stderr says why.
const SSHEnded = "ended@stile.dev"
