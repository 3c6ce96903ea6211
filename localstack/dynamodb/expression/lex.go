package expression

import (
	"fmt"
	"strings"

	"github.com/stile-dev/stile/localstack/dynamodb/item"
)

// class is what a token is.
type class int

const (
	classEnd class = iota
	classWord
	classNumber
	className  // #name
	classValue // :value
	classSymbol
	classUnknown
)

// token is a piece of an expression and its place in the source.
type token struct {
	class      class
	text       string
	start, end int
}

// is reports whether the token is that symbol or, without regard to case, that keyword.
func (t token) is(text string) bool {
	switch t.class {
	case classSymbol:
		return t.text == text
	case classWord:
		return strings.EqualFold(t.text, text)
	default:
		return false
	}
}

// keywords can't be attribute names or function names.
var keywords = map[string]bool{
	"AND": true, "OR": true, "NOT": true, "BETWEEN": true, "IN": true,
	"SET": true, "REMOVE": true, "ADD": true, "DELETE": true,
}

func (t token) keyword() bool { return t.class == classWord && keywords[strings.ToUpper(t.text)] }

// lex splits the source; it never fails, what it doesn't know becomes a token that no rule accepts.
func lex(source string) []token {
	var tokens []token
	for at := 0; at < len(source); {
		if strings.IndexByte(" \t\r\n\f", source[at]) >= 0 {
			at++
			continue
		}
		t := next(source, at)
		tokens = append(tokens, t)
		at = t.end
	}
	return append(tokens, token{class: classEnd, text: "<EOF>", start: len(source), end: len(source)})
}

func next(source string, at int) token {
	make := func(c class, length int) token {
		return token{class: c, text: source[at : at+length], start: at, end: at + length}
	}
	rest := source[at:]
	switch c := rest[0]; {
	case letter(c):
		return make(classWord, span(rest, 0))
	case digit(c):
		n := 1
		for n < len(rest) && digit(rest[n]) {
			n++
		}
		return make(classNumber, n)
	case (c == '#' || c == ':') && span(rest, 1) > 1:
		kind := className
		if c == ':' {
			kind = classValue
		}
		return make(kind, span(rest, 1))
	case strings.HasPrefix(rest, "<>"), strings.HasPrefix(rest, "<="), strings.HasPrefix(rest, ">="):
		return make(classSymbol, 2)
	case strings.IndexByte("()[].,=<>+-", c) >= 0:
		return make(classSymbol, 1)
	}
	for n := range rest {
		if n > 0 {
			return make(classUnknown, n)
		}
	}
	return make(classUnknown, len(rest))
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

// span is how far letters, digits and underscores go on, counted from the start of s.
func span(s string, from int) int {
	for from < len(s) && (letter(s[from]) || digit(s[from]) || s[from] == '_') {
		from++
	}
	return from
}

// reader walks over the tokens of one expression of one kind.
type reader struct {
	kind   Kind
	source string
	tokens []token
	at     int
	depth  int
	nodes  int
}

// Limits of one expression: AWS's length, its number of operators, and a bound on nesting that keeps the stack small.
const (
	maxLength = 4096
	maxNodes  = 4096
	maxNested = 300
)

func newReader(kind Kind, source string) (*reader, error) {
	if source == "" {
		return nil, kind.fault("The expression can not be empty;")
	}
	if len(source) > maxLength {
		return nil, kind.fault(fmt.Sprintf("Expression size has exceeded the maximum allowed size; expression size: %d", len(source)))
	}
	return &reader{kind: kind, source: source, tokens: lex(source)}, nil
}

func (r *reader) peek() token { return r.tokens[r.at] }

func (r *reader) take() token {
	t := r.tokens[r.at]
	if r.at < len(r.tokens)-1 {
		r.at++
	}
	return t
}

// accept takes the next token if it is that symbol or keyword.
func (r *reader) accept(text string) bool {
	if !r.peek().is(text) {
		return false
	}
	r.take()
	return true
}

func (r *reader) expect(text string) error {
	if !r.accept(text) {
		return r.syntax()
	}
	return nil
}

// syntax is AWS's complaint about the next token, with its neighbours.
func (r *reader) syntax() error {
	t := r.peek()
	from, to := t.start, t.end
	if r.at > 0 {
		from = r.tokens[r.at-1].start
	} else if t.class == classEnd {
		from = 0
	}
	if r.at+1 < len(r.tokens)-1 {
		to = r.tokens[r.at+1].end
	}
	return r.kind.fault(fmt.Sprintf("Syntax error; token: %q, near: %q", t.text, r.source[from:to]))
}

// enter bounds nesting; leave ends it.
func (r *reader) enter() error {
	if r.depth++; r.depth > maxNested {
		return r.kind.fault("The expression is nested too deeply;")
	}
	return nil
}

func (r *reader) leave() { r.depth-- }

// fault is a complaint about an expression of this kind.
func (k Kind) fault(message string) error {
	return item.Invalid("Invalid " + string(k) + ": " + message)
}
