package named

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stile-dev/stile/pkg/fault"
)

// longest is how many characters Athena takes in one of its parameters, quotes included:
// https://docs.aws.amazon.com/athena/latest/APIReference/API_StartQueryExecution.html
const longest = 1024

// Bind returns the SQL with ? in place of each marker, and the literals that belong there, in their order: what Athena
// takes as ExecutionParameters. Text is in single quotes, with quotes inside doubled. Values are by the parameters' names;
// one that is left out is its default. It reports all that is wrong with them as one [fault.BadInput].
func (q Query) Bind(values map[string]string) (sql string, parameters []string, err error) {
	var faults []fault.Field
	literals := map[string]string{}
	for _, p := range q.Parameters {
		value, given := values[p.Name]
		if !given {
			value = p.Default
		}
		if !given && value == "" {
			faults = append(faults, fault.Field{Path: p.Name, Reason: "the query needs it: " + p.Says})
			continue
		}
		literal, why := p.literal(value)
		if why != "" {
			faults = append(faults, fault.Field{Path: p.Name, Reason: why})
		}
		literals[p.Name] = literal
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !q.has(name) && len(faults) < mostFaults {
			faults = append(faults, fault.Field{Path: fmt.Sprintf("%.64q", name), Reason: "the query has no such parameter"})
		}
	}
	if len(faults) > 0 {
		f := fault.Newf(fault.BadInput, "see what it takes with: stile audit query --list", "the query %s can't be asked with these parameters", q.Name)
		f.Fields = faults
		return "", nil, f
	}
	var b strings.Builder
	for _, piece := range pieces(q.SQL) {
		if !piece.marker {
			b.WriteString(piece.text)
			continue
		}
		b.WriteByte('?')
		parameters = append(parameters, literals[piece.text])
	}
	return b.String(), parameters, nil
}

// Least is how long the period must be for the query to know what it says: as many days as the greatest of the values, or defaults, of
// kind [Days]. What is no such value counts for none, since Bind refuses it.
func (q Query) Least(values map[string]string) (period time.Duration) {
	for _, p := range q.Parameters {
		value, given := values[p.Name]
		if !given {
			value = p.Default
		}
		if literal, why := p.literal(value); p.Kind == Days && why == "" {
			n, err := strconv.Atoi(literal)
			if err == nil {
				period = max(period, time.Duration(n)*24*time.Hour)
			}
		}
	}
	return period
}

// mostFaults is of how many wrong parameters Bind tells.
const mostFaults = 16

var numberShape = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,9})$`)

// literal writes a value in SQL, or says why it isn't one of the parameter's.
func (p Parameter) literal(value string) (literal, why string) {
	switch p.Kind {
	case Number, Days:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || !numberShape.MatchString(value) || n < p.Least || n > p.Most {
			return "", fmt.Sprintf("it must be a whole number from %d to %d", p.Least, p.Most)
		}
		return value, ""
	case Time:
		at, err := time.Parse(time.RFC3339, value)
		if err != nil {
			at, err = time.Parse(time.DateOnly, value)
		}
		if err != nil || at.UTC().Year() < 1 || at.UTC().Year() > 9999 {
			return "", "it must be a time as 2026-01-31T12:00:00Z, or a day as 2026-01-31"
		}
		return at.UTC().Format("TIMESTAMP '2006-01-02 15:04:05.000'"), ""
	case Text:
	}
	literal = "'" + strings.ReplaceAll(value, "'", "''") + "'"
	switch {
	case value == "":
		return "", "it must not be empty"
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return "", "it must be text of one line, in UTF-8"
	case utf8.RuneCountInString(literal) > longest:
		return "", fmt.Sprintf("it must have at most %d characters, quotes counted twice", longest-2)
	}
	return literal, ""
}
