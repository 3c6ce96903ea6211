package named

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	nameShape = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	// headShape is a parameter in a file's head: -- :name kind[ least..most][ = default]: what it says
	headShape = regexp.MustCompile(`^:([a-z][a-z_]*) (text|number|days|time)(?: (-?[0-9]+)\.\.(-?[0-9]+))?(?: = (\S+))?: (\S.*)$`)
)

// Parse reads a query from its file: comments that say the question and then, a line each, the parameters; and the SQL.
// It fails unless the SQL uses the parameters of the head and no others, and each default is a value that may be given.
func Parse(name, text string) (Query, error) {
	q := Query{Name: name}
	if !nameShape.MatchString(name) {
		return Query{}, fmt.Errorf("reading query %q: a name is lower-case words with hyphens", name)
	}
	lines := strings.Split(text, "\n")
	head := 0
	for ; head < len(lines) && strings.HasPrefix(lines[head], "--"); head++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines[head], "--"))
		if head == 0 {
			q.Question = line
			continue
		}
		p, err := parameter(line)
		if err == nil && q.has(p.Name) {
			err = errors.New("the parameter is there twice")
		}
		if err != nil {
			return Query{}, fmt.Errorf("reading query %s, line %d: %w", name, head+1, err)
		}
		q.Parameters = append(q.Parameters, p)
	}
	if !strings.HasSuffix(q.Question, "?") {
		return Query{}, fmt.Errorf("reading query %s: its first line is not a question", name)
	}
	q.SQL = strings.TrimSpace(strings.Join(lines[head:], "\n"))
	if err := q.check(); err != nil {
		return Query{}, fmt.Errorf("reading query %s: %w", name, err)
	}
	return q, nil
}

func parameter(line string) (Parameter, error) {
	m := headShape.FindStringSubmatch(line)
	if m == nil {
		return Parameter{}, fmt.Errorf("%q is not a parameter", line)
	}
	p := Parameter{Name: m[1], Kind: Kind(m[2]), Default: m[5], Says: m[6]}
	if p.counts() != (m[3] != "") {
		return Parameter{}, errors.New("a number has bounds, and nothing else has")
	}
	if p.counts() {
		var err, err2 error
		p.Least, err = strconv.ParseInt(m[3], 10, 32)
		p.Most, err2 = strconv.ParseInt(m[4], 10, 32)
		if err := errors.Join(err, err2); err != nil {
			return Parameter{}, err
		}
	}
	if p.Default != "" {
		if _, why := p.literal(p.Default); why != "" {
			return Parameter{}, fmt.Errorf("the default of %s: %s", p.Name, why)
		}
	}
	return p, nil
}

// counts reports whether a parameter's value is a number.
func (p Parameter) counts() bool { return p.Kind == Number || p.Kind == Days }

func (q Query) has(name string) bool {
	return slices.ContainsFunc(q.Parameters, func(p Parameter) bool { return p.Name == name })
}

// check holds the SQL's markers to the parameters.
func (q Query) check() error {
	used := map[string]bool{}
	for _, piece := range pieces(q.SQL) {
		switch {
		case piece.marker && !q.has(piece.text):
			return fmt.Errorf("the SQL uses :%s, which the head lacks", piece.text)
		case piece.marker:
			used[piece.text] = true
		case piece.code && strings.ContainsAny(piece.text, "?;"):
			return errors.New("the SQL has ? or ; outside of text")
		}
	}
	for _, p := range q.Parameters {
		if !used[p.Name] {
			return fmt.Errorf("the SQL doesn't use :%s", p.Name)
		}
	}
	return nil
}

// piece is a part of SQL: a marker by its name, code, or what isn't read as code: text, a quoted name or a comment.
type piece struct {
	text   string
	marker bool
	code   bool
}

// shape finds what isn't code, and markers. A quote or comment that has no end goes to the end of the text.
var shape = regexp.MustCompile(`(?s)'(?:[^']|'')*(?:'|$)|"(?:[^"]|"")*(?:"|$)|--[^\n]*|/\*.*?(?:\*/|$)|:[a-z][a-z_]*`)

// pieces cuts SQL into its parts, which together are the whole.
func pieces(sql string) (out []piece) {
	at := 0
	for _, span := range shape.FindAllStringIndex(sql, -1) {
		if span[0] > at {
			out = append(out, piece{text: sql[at:span[0]], code: true})
		}
		found := sql[span[0]:span[1]]
		if name, ok := strings.CutPrefix(found, ":"); ok {
			out = append(out, piece{text: name, marker: true})
		} else {
			out = append(out, piece{text: found})
		}
		at = span[1]
	}
	if at < len(sql) {
		out = append(out, piece{text: sql[at:], code: true})
	}
	return out
}
