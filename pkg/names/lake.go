package names

// Column is one of the lake's table.
type Column struct{ Name, Type string } // a type of Hive's, as Glue and Athena spell it

// Lake is where audit events are in SQL.
const (
	LakeDatabase = "stile"      // in Glue
	LakeTable    = "deliveries" // there: each event as often as it was delivered
	LakePrefix   = "events/"    // in the bucket of the lake, before day=<yyyy-mm-dd>/
)

// LakeColumns are those of an event, and then what the ledger says of it, which the relay adds. The partition is the column day.
var LakeColumns = []Column{
	{"id", "string"},
	{"time", "timestamp"},
	{"type", "string"},
	{"code", "string"},
	{"cluster", "string"},
	{"actor", "string"},
	{"actor_roles", "array<string>"},
	{"target_kind", "string"},
	{"target", "string"},
	{"scope", "string"},
	{"session_id", "string"},
	{"request_id", "string"},
	{"decision_id", "string"},
	{"outcome", "string"},
	{"reason", "string"},
	{"source_ip", "string"},
	{"source", "string"},
	{"source_epoch", "string"},
	{"seq", "bigint"},
	{"source_after", "string"},
	{"data", "map<string,string>"},
	{"writer", "string"},
	{"receipt", "string"},
	{"received", "timestamp"},
}
