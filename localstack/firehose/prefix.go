package firehose

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// prefix is the beginning of an object's key, as "Understand custom prefixes for Amazon S3 objects" in Firehose's
// developer guide has it.
type prefix []piece

// piece is a text, a time's layout or something that is known when an object is written.
type piece struct {
	text, layout string
	random, kind bool
}

const (
	standardTime = "yyyy/MM/dd/HH/" // where a prefix has no expression
	conversion   = "format-conversion-failed"
	maxPrefix    = 1024
)

// parsePrefix reads a prefix; that of errors may name their type.
func parsePrefix(text string, ofErrors bool) (prefix, error) {
	if len(text) > maxPrefix {
		return nil, fmt.Errorf("more than %d characters", maxPrefix)
	}
	var p prefix
	plain := true
	for {
		before, rest, more := strings.Cut(text, "!{")
		if before != "" {
			p = append(p, piece{text: before})
		}
		if !more {
			break
		}
		plain = false
		inner, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, errors.New("an expression !{…} does not end")
		}
		one, err := parseExpression(inner, ofErrors)
		if err != nil {
			return nil, err
		}
		p, text = append(p, one), after
	}
	if plain {
		p = append(p, piece{layout: mustLayout(standardTime)})
	}
	return p, nil
}

func parseExpression(inner string, ofErrors bool) (piece, error) {
	space, value, _ := strings.Cut(inner, ":")
	switch {
	case space == "timestamp":
		layout, err := javaLayout(value)
		return piece{layout: layout}, err
	case inner == "firehose:random-string":
		return piece{random: true}, nil
	case inner == "firehose:error-output-type" && ofErrors:
		return piece{kind: true}, nil
	case inner == "firehose:error-output-type":
		return piece{}, errors.New("!{firehose:error-output-type} is of ErrorOutputPrefix alone")
	}
	return piece{}, fmt.Errorf("!{%s} is not supported here, only !{timestamp:…}, !{firehose:random-string} and !{firehose:error-output-type} are", inner)
}

// has reports whether a piece is an expression of the sort.
func (p prefix) has(is func(piece) bool) bool {
	return slices.ContainsFunc(p, is)
}

// at is the prefix of an object whose oldest record arrived then, in UTC.
func (p prefix) at(arrived time.Time, kind string) string {
	var b strings.Builder
	for _, one := range p {
		switch {
		case one.layout != "":
			b.WriteString(arrived.UTC().Format(one.layout))
		case one.random:
			b.WriteString(rand.Text()[:11])
		case one.kind:
			b.WriteString(kind)
		default:
			b.WriteString(one.text)
		}
	}
	return b.String()
}

// letters are the pieces of Java's date formats that are known here.
var letters = [][2]string{{"yyyy", "2006"}, {"MM", "01"}, {"dd", "02"}, {"HH", "15"}, {"mm", "04"}, {"ss", "05"}}

// javaLayout turns a format of Java's DateTimeFormatter into a layout of Go.
func javaLayout(format string) (string, error) {
	if format == "" {
		return "", errors.New("!{timestamp:} has no format")
	}
	var b strings.Builder
next:
	for rest := format; rest != ""; {
		for _, pair := range letters {
			if after, is := strings.CutPrefix(rest, pair[0]); is {
				b.WriteString(pair[1])
				rest = after
				continue next
			}
		}
		switch c := rest[0]; {
		case rest[0] == '\'':
			quoted, after, closed := strings.Cut(rest[1:], "'")
			if !closed || strings.ContainsAny(quoted, "0123456789") {
				return "", fmt.Errorf("!{timestamp:%s}: what is quoted does not end, or has a digit, which is not supported here", format)
			}
			b.WriteString(quoted)
			rest = after
		case strings.IndexByte("/-_=. :", c) >= 0:
			b.WriteByte(c)
			rest = rest[1:]
		default:
			return "", fmt.Errorf("!{timestamp:%s}: only yyyy, MM, dd, HH, mm, ss, quoted text and / - _ = . : are supported here", format)
		}
	}
	return b.String(), nil
}

func mustLayout(format string) string {
	layout, err := javaLayout(format)
	if err != nil {
		panic(err) // a constant of this package
	}
	return layout
}
