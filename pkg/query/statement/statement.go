// Package statement puts somebody's SQL behind what it may be about: the period that was asked for, and the events of it, each once.
//
// It reads SQL no further than it must to know where one SELECT begins and ends. What a query may reach is for the role that runs it.
// Its entry point is [Compose].
package statement

import (
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/names"
)

// MostSQL is how many bytes of SQL somebody may ask.
const MostSQL = 48 << 10

// Grace is how much earlier than an event its arrival is looked for: a clock may have been ahead.
const Grace = 24 * time.Hour

// Head is what is put before somebody's SQL.
type Head struct {
	Owner        string // who asks: any text that identifies them
	Event        string // id of the event that says so, and of what was taken out of the ledger for it
	Since, Until time.Time
}

// reserved are the names that the head defines.
var reserved = []string{"asked", names.LakeView, "period"}

// Compose returns the query: the head on the first line, and from the second on the SQL as it was, but for its WITH, which goes on
// with that of the head, and a semicolon at its end; both become blanks, so that columns are what they were. It fails with
// [fault.BadInput] unless the SQL is one SELECT, or WITH and one, and with [fault.TooLarge] beyond [MostSQL]. Markers says whether
// there may be question marks, whose values Athena is given beside the query.
func Compose(h Head, sql string, markers bool) (string, error) {
	if len(sql) > MostSQL {
		return "", fault.Newf(fault.TooLarge, "ask in fewer words", "the SQL has %d bytes, and at most %d are taken", len(sql), MostSQL)
	}
	all, err := tokens(sql)
	if err != nil {
		return "", err
	}
	if !markers && slices.ContainsFunc(all, func(t token) bool { return t.text == "?" }) {
		return "", bad("SQL of your own takes no parameters", "write the value in place of the question mark, text in single quotes")
	}
	text := []byte(sql)
	if n := len(all); n > 0 && all[n-1].text == ";" {
		text[all[n-1].at] = ' '
		all = all[:n-1]
	}
	if slices.ContainsFunc(all, func(t token) bool { return t.text == ";" }) {
		return "", bad("that is more than one statement", "ask one SELECT at a time")
	}
	comma := ""
	switch first := word(all, 0); first {
	case "SELECT":
	case "WITH":
		if err := named(all); err != nil {
			return "", err
		}
		copy(text[all[0].at:], "    ")
		comma = ","
	case "":
		return "", bad("there is no SQL", "ask a SELECT, such as: SELECT type, count(*) FROM events GROUP BY type")
	default:
		return "", fault.Newf(fault.BadInput, "ask a SELECT, or WITH and a SELECT", "%.40q is not how a question begins: the lake is only read", all[0].text)
	}
	return h.text() + comma + "\n" + string(text), nil
}

func bad(message, hint string) error { return fault.New(fault.BadInput, message, hint) }

// stamp is how a time is written in SQL, in UTC as all times of the lake are.
const stamp = "timestamp '2006-01-02 15:04:05.000'"

// text is the head, on one line.
func (h Head) text() string {
	since, until := h.Since.UTC().Format(stamp), h.Until.UTC().Format(stamp)
	return opening + hex.EncodeToString([]byte(h.Owner)) + "' AS uid, '" + hex.EncodeToString([]byte(h.Event)) + "' AS event), " +
		"period AS (SELECT " + since + " AS since, " + until + " AS until), " +
		names.LakeView + " AS (" + names.LakeEvents(
		"day >= '"+h.Since.UTC().Add(-Grace).Format(time.DateOnly)+"'",
		h.Event,
		`"time" >= `+since+` AND "time" < `+until,
	) + ")"
}

// opening is how every query begins.
const opening = "WITH asked AS (SELECT '"

// Owner returns who asked a query that Compose returned; "" for any other text.
func Owner(query string) string {
	rest, ok := strings.CutPrefix(query, opening)
	encoded, _, closed := strings.Cut(rest, "'")
	owner, err := hex.DecodeString(encoded)
	if !ok || !closed || err != nil {
		return ""
	}
	return string(owner)
}

var position = regexp.MustCompile(`\bline ([0-9]+):([0-9]+)`)

// Where returns what an engine said about a query with the lines of the SQL as it was asked.
func Where(reason string) string {
	return position.ReplaceAllStringFunc(reason, func(at string) string {
		m := position.FindStringSubmatch(at)
		line, err := strconv.Atoi(m[1])
		if err != nil || line < 2 { // of the head, which nobody sees
			return at
		}
		return "line " + strconv.Itoa(line-1) + ":" + m[2]
	})
}

// token is a word, a quoted text or a sign.
type token struct {
	text string
	at   int // byte where it begins
}

// word is the token at a place in upper case; "" beyond the end. What is quoted keeps its quotes, and so is no keyword.
func word(all []token, n int) string {
	if n >= len(all) {
		return ""
	}
	return strings.ToUpper(all[n].text)
}

// named checks the names that a WITH gives: none of the head's, and none that refers to itself.
func named(all []token) error {
	if word(all, 1) == "RECURSIVE" {
		return bad("WITH RECURSIVE isn't taken", "ask without recursion; a session's events have its session_id, and a decision's its decision_id")
	}
	const shape = "write WITH name AS (SELECT …), … SELECT …"
	for n := 1; ; n++ {
		name := strings.ToLower(strings.Trim(word(all, n), `"`))
		if name == "" {
			return bad("WITH has no SELECT behind it", shape)
		}
		if slices.Contains(reserved, name) {
			return fault.Newf(fault.BadInput, "give it another name", "WITH names a query %s, which is there already", name)
		}
		n++
		if word(all, n) == "(" { // names of columns
			n = closing(all, n)
		}
		if word(all, n) != "AS" || word(all, n+1) != "(" {
			return fault.Newf(fault.BadInput, shape, "WITH has no query in parentheses behind %.64q", name)
		}
		if n = closing(all, n+1); word(all, n) != "," {
			if word(all, n) != "SELECT" {
				return bad("WITH has no SELECT behind its queries", shape)
			}
			return nil
		}
	}
}

// closing is behind the parenthesis that closes the one at a place.
func closing(all []token, n int) int {
	depth := 0
	for ; n < len(all); n++ {
		switch all[n].text {
		case "(":
			depth++
		case ")":
			if depth--; depth == 0 {
				return n + 1
			}
		}
	}
	return n
}
