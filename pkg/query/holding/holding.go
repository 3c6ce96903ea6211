// Package holding is how a function of ours asks the lake what it has of the ledger's receipts: digests of spans of them, the keys
// in a span, and all that it says of one. The questions' texts are fixed, and only the ends of a span and the receipt are the asker's.
//
// It asks nothing itself. Its entry points are [Request.Compose] for the side that asks Athena, and [Key], [Sum] and [Differing] for
// the side that compares.
package holding

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
)

// The questions.
const (
	Digests = "digests" // of each span of receipts: how many keys the lake has of it, and their digest
	Keys    = "keys"    // all keys between two receipts
	Row     = "row"     // each column of what the lake has under one receipt
)

// Name is under which a call has its [Request].
const Name = "holding"

// Call is what the function that asks Athena is sent. No event of API Gateway looks like it.
type Call struct {
	Holding Request `json:"holding"`
}

// Request begins a question, or goes on with one.
type Request struct {
	Ask  string    `json:"ask,omitempty"` // a question that begins: about what was received in [From, To)
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`

	Receipt string `json:"receipt,omitempty"` // what a question about a row is about, instead of a time

	ID     string `json:"id,omitempty"`     // of a question that was begun
	Cursor string `json:"cursor,omitempty"` // of a page of its rows; "" is the first
}

// Answer is how a question goes, with a page of what it found once it has ended.
type Answer struct {
	ID   string     `json:"id"`
	Done bool       `json:"done"`
	Why  string     `json:"why,omitempty"` // it failed; then there are no rows
	Rows [][]string `json:"rows,omitempty"`
	Next string     `json:"next,omitempty"` // cursor of the next page
}

// early is how much earlier than a receipt its arrival is looked for: clocks differ.
const early = time.Hour

// key is SQL for [Key]: what is missing there is nothing, and is no receipt.
const key = "receipt || ' ' || coalesce(writer, '') || ' ' || coalesce(id, '')"

// from are the deliveries that a question is about. Athena replaces the question marks by the literals of [Request.Compose].
const from = " AS item FROM " + names.LakeTable + " WHERE day >= ? AND receipt >= ? AND receipt < ?"

// total is the last column of each question: how many rows there are, by which an answer that lacks some shows it.
const total = ", CAST(count(*) OVER () AS varchar) AS total FROM "

// texts are the questions, whose columns are all text.
var texts = map[string]string{
	Digests: "SELECT span, CAST(keys AS varchar) AS keys, digest" + total +
		"(SELECT span, count(*) AS keys, to_hex(sha256(to_utf8(array_join(array_sort(array_agg(item)), '')))) AS digest FROM " +
		"(SELECT DISTINCT substr(receipt, 1, 7) AS span, to_hex(sha256(to_utf8(" + key + ")))" + from + ") AS each GROUP BY span) AS spans",
	Keys: "SELECT item" + total + "(SELECT DISTINCT " + key + from + ") AS each",
	Row:  row(),
}

// Columns are how many columns a question finds: of digests the span, the number of its keys and their digest, of keys the key, of a
// row those of the table; and behind them the number of rows.
var Columns = map[string]int{Digests: 4, Keys: 2, Row: len(names.LakeColumns) + 1}

// Ours reports whether a query that Athena knows is one of these questions.
func Ours(text string) bool {
	return text != "" && slices.Contains(slices.Collect(maps.Values(texts)), text)
}

// longest is the longest time that a question is about.
const longest = 24 * time.Hour

// receipts are what a receipt can be. Nothing else becomes a literal.
var receipts = regexp.MustCompile(`^[0-7][0-9a-hjkmnp-tv-z]{25}$`)

// Compose returns the SQL of a question that begins, and the literals for its question marks.
func (r Request) Compose() (text string, literals []string, err error) {
	if r.Ask == Row {
		return r.one()
	}
	text, known := texts[r.Ask]
	if !known || r.Receipt != "" || !r.From.Before(r.To) || r.To.Sub(r.From) > longest {
		return "", nil, fault.Newf(fault.BadInput, "ask for digests or keys of a span of a day at most", "there is no question %.40q about %s to %s", r.Ask, r.From, r.To)
	}
	day := r.From.UTC().Add(-early).Format(time.DateOnly)
	return text, []string{literal(day), literal(begin(r.From)), literal(begin(r.To))}, nil
}

// one is Compose of a question about a row.
func (r Request) one() (text string, literals []string, err error) {
	id, err := ulid.ParseStrict(strings.ToUpper(r.Receipt))
	if err != nil || !receipts.MatchString(r.Receipt) || !r.From.IsZero() || !r.To.IsZero() {
		return "", nil, fault.Newf(fault.BadInput, "ask for the row of one receipt, and of no time", "there is no row of %.40q", r.Receipt)
	}
	day := ulid.Time(id.Time()).UTC().Add(-early).Format(time.DateOnly)
	return texts[Row], []string{literal(day), literal(r.Receipt)}, nil
}

func literal(text string) string { return "'" + text + "'" }
