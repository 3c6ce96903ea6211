package iam

import (
	"fmt"
	"slices"
	"strings"
)

// pattern is text with wildcards and policy variables, compiled once. What a variable stands for is
// never read as a wildcard or as a colon of an ARN.
type pattern []atom

type atom struct {
	kind     atomKind
	text     string // literal text, or the variable's key
	fallback string // ${key, 'fallback'}
	has      bool   // there is a fallback
}

type atomKind int

const (
	literal atomKind = iota
	anyRun           // *
	anyOne           // ?
	variable
	separator // a colon that was written as one
)

// compile reads a pattern; with variables as of Version 2012-10-17.
func compile(at, s string, variables bool) (pattern, error) {
	var p pattern
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			p = append(p, atom{kind: literal, text: text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '*':
			flush()
			p = append(p, atom{kind: anyRun})
		case c == '?':
			flush()
			p = append(p, atom{kind: anyOne})
		case c == ':':
			flush()
			p = append(p, atom{kind: separator})
		case variables && strings.HasPrefix(s[i:], "${"):
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return nil, fmt.Errorf("%s: %q: ${ without }", at, s)
			}
			a, err := readVariable(s[i+2 : i+end])
			if err != nil {
				return nil, fmt.Errorf("%s: %q: %w", at, s, err)
			}
			flush()
			p = append(p, a)
			i += end
		default:
			text.WriteByte(c)
		}
	}
	flush()
	return p, nil
}

func readVariable(s string) (atom, error) {
	if s == "*" || s == "?" || s == "$" {
		return atom{kind: literal, text: s}, nil
	}
	key, fallback, has := strings.Cut(s, ",")
	key, fallback = strings.TrimSpace(key), strings.TrimSpace(fallback)
	if has {
		if len(fallback) < 2 || fallback[0] != '\'' || fallback[len(fallback)-1] != '\'' {
			return atom{}, fmt.Errorf("the default in ${%s} must stand in single quotes", s)
		}
		fallback = fallback[1 : len(fallback)-1]
	}
	prefix, name, ok := strings.Cut(key, ":")
	if !ok || prefix == "" || name == "" || strings.ContainsAny(key, " \t${") {
		return atom{}, fmt.Errorf("${%s} is not a condition key", s)
	}
	if !supplied(key) {
		return atom{}, fmt.Errorf("the local AWS does not supply the condition key %s", key)
	}
	return atom{kind: variable, text: key, fallback: fallback, has: has}, nil
}

// expand replaces variables by single values of the context. A variable without one makes the pattern
// match nothing, as on AWS.
func (p pattern) expand(c condition) (pattern, bool) {
	out := make(pattern, 0, len(p))
	for _, a := range p {
		if a.kind != variable {
			out = append(out, a)
			continue
		}
		values := c.get(a.text)
		switch {
		case len(values) == 1:
			out = append(out, atom{kind: literal, text: values[0]})
		case len(values) == 0 && a.has:
			out = append(out, atom{kind: literal, text: a.fallback})
		default:
			return nil, false
		}
	}
	return out, true
}

// text is the pattern as plain text, wildcards being ordinary characters, for operators that have none.
func (p pattern) plain() string {
	var b strings.Builder
	for _, a := range p {
		switch a.kind {
		case anyRun:
			b.WriteByte('*')
		case anyOne:
			b.WriteByte('?')
		case separator:
			b.WriteByte(':')
		default:
			b.WriteString(a.text)
		}
	}
	return b.String()
}

// glyph is one character to match: a rune or a wildcard.
type glyph struct {
	r    rune
	wild atomKind // anyRun, anyOne, or literal
}

func (p pattern) glyphs() []glyph {
	var out []glyph
	for _, a := range p {
		switch a.kind {
		case anyRun, anyOne:
			out = append(out, glyph{wild: a.kind})
		case separator:
			out = append(out, glyph{r: ':'})
		default:
			for _, r := range a.text {
				out = append(out, glyph{r: r})
			}
		}
	}
	return out
}

// like matches all of s, * standing for any run and ? for any one character.
func like(p []glyph, s string) bool {
	text := []rune(s)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(text) {
		switch {
		case i < len(p) && p[i].wild == anyRun:
			star, mark = i, j
			i++
		case i < len(p) && (p[i].wild == anyOne || p[i].wild == literal && p[i].r == text[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i].wild == anyRun {
		i++
	}
	return i == len(p)
}

// likeARN matches the six parts of an ARN one by one; a wildcard never matches across one of the first five
// colons. A pattern with fewer parts matches nothing, except for a lone *, which matches everything.
func likeARN(p pattern, arn string) bool {
	if len(p) == 1 && p[0].kind == anyRun {
		return true
	}
	parts, wanted := strings.SplitN(arn, ":", 6), p.split(6)
	if len(parts) < 6 || len(wanted) < 6 || parts[0] != "arn" {
		return false
	}
	for i, want := range wanted {
		if !like(want.glyphs(), parts[i]) {
			return false
		}
	}
	return true
}

// split cuts at written colons into at most n parts.
func (p pattern) split(n int) []pattern {
	parts := []pattern{nil}
	for _, a := range p {
		if a.kind == separator && len(parts) < n {
			parts = append(parts, nil)
			continue
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], a)
	}
	return parts
}

// has reports whether the pattern contains an atom of one of the kinds.
func (p pattern) has(kinds ...atomKind) bool {
	return slices.ContainsFunc(p, func(a atom) bool { return slices.Contains(kinds, a.kind) })
}

// likeAction compares actions, which are not case-sensitive, with * and ? as wildcards.
func likeAction(p, action string) bool {
	var g []glyph
	for _, r := range strings.ToLower(p) {
		switch r {
		case '*':
			g = append(g, glyph{wild: anyRun})
		case '?':
			g = append(g, glyph{wild: anyOne})
		default:
			g = append(g, glyph{r: r})
		}
	}
	return like(g, strings.ToLower(action))
}
