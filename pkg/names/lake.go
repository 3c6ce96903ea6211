package names

import "strings"

// Column is one of the lake's table.
type Column struct{ Name, Type string } // a type of Hive's, as Glue and Athena spell it

// Lake is where audit events are in SQL.
const (
	LakeDatabase = "stile"      // in Glue
	LakeTable    = "deliveries" // there: each event as often as it was delivered
	LakePrefix   = "events/"    // in the bucket of the lake, before day=<yyyy-mm-dd>/
	LakeFailed   = "failed/"    // there: what Firehose could not convert
	LakeBodies   = "bodies/"    // there: what events had no room for, before its SHA-256
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

// Asking the lake.
const (
	LakeView      = "events" // there: each event once
	LakeWorkgroup = "stile"  // of Athena, in which functions/query asks
	LakeOrigin    = "origin" // a column of the view alone: where the event was read
)

// What LakeOrigin says.
const (
	FromLake   = "lake"
	FromLedger = "ledger"
)

// What the ledger received last is beside the lake for each question by itself: an object that is written once, before the question
// is asked, so that nobody's later one takes its place while it is read.
const (
	LakeRecent     = "recent"   // a table with the lake's columns
	RecentQuestion = "question" // its partition: the id of the event that says who asked
	RecentPrefix   = "recent/"  // in the bucket of results, before question=<id>/
)

// LakeEvents is the SELECT that makes events of deliveries: each event once, of its deliveries the one that was received first, and
// of that the lake's before the ledger's. A delivery is another's again when all that the event says is equal, and the digest in its
// receipt with it, which begins behind the receipt's time: what overwrote an event says something else and stays beside it. From
// which deliveries it is made, and which of the events it leaves, may be narrowed by conditions; empty ones take all. A question adds
// what was taken out of the ledger for it; without one the lake alone is read.
func LakeEvents(deliveries, question, events string) string {
	var columns, same []string
	for _, c := range LakeColumns {
		quoted := `"` + c.Name + `"`
		columns = append(columns, quoted)
		switch c.Name {
		case "receipt":
			same = append(same, "substr(receipt, 11)")
		case "received":
		default:
			same = append(same, quoted)
		}
	}
	all := strings.Join(columns, ", ")
	from, where := lakePart(all, FromLake, LakeTable), "n = 1"
	if deliveries != "" {
		from += " WHERE " + deliveries
	}
	if question != "" {
		from += " UNION ALL " + lakePart(all, FromLedger, LakeRecent) + " WHERE " + RecentQuestion + " = '" + strings.ReplaceAll(question, "'", "''") + "'"
	}
	if events != "" {
		where += " AND " + events
	}
	return "SELECT " + all + ", " + LakeOrigin + " FROM (SELECT *, row_number() OVER (PARTITION BY " + strings.Join(same, ", ") +
		" ORDER BY received, receipt, " + LakeOrigin + ") AS n FROM (" + from + ")) WHERE " + where
}

// lakePart reads a table with where it is from.
func lakePart(columns, origin, table string) string {
	return "SELECT " + columns + ", CAST('" + origin + "' AS varchar) AS " + LakeOrigin + " FROM " + table
}
