package iam

import (
	"fmt"
	"strings"
)

// operand is one value of a condition in a policy, read for its operator.
type operand struct {
	raw     string
	pattern pattern
}

// operator compares an operand with a value of the context.
type operator struct {
	negated bool
	null    bool
	read    func(at, value string, variables bool) (operand, error)
	match   func(o operand, value string, c condition) bool
}

// operators is every operator that is understood, by the name that policies use. Numbers, dates, addresses and binary
// values are left out, since no condition key that is supplied here holds one; so is what ignores case.
var operators = map[string]operator{
	"Bool":            {read: readBool, match: matchBool},
	"Null":            {read: readBool, null: true},
	"StringEquals":    {read: readText, match: matchEquals},
	"StringNotEquals": {read: readText, match: matchEquals, negated: true},
	"StringLike":      {read: readText, match: matchLike},
	"StringNotLike":   {read: readText, match: matchLike, negated: true},
	"ArnEquals":       {read: readText, match: matchARN},
	"ArnNotEquals":    {read: readText, match: matchARN, negated: true},
	"ArnLike":         {read: readText, match: matchARN},
	"ArnNotLike":      {read: readText, match: matchARN, negated: true},
}

func readText(at, value string, variables bool) (operand, error) {
	p, err := compile(at, value, variables)
	return operand{raw: value, pattern: p}, err
}

func readBool(at, value string, _ bool) (operand, error) {
	if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
		return operand{}, fmt.Errorf("%s: %q is neither true nor false", at, value)
	}
	return operand{raw: value}, nil
}

func matchEquals(o operand, value string, c condition) bool {
	p, ok := o.pattern.expand(c)
	return ok && p.plain() == value
}

func matchLike(o operand, value string, c condition) bool {
	p, ok := o.pattern.expand(c)
	return ok && like(p.glyphs(), value)
}

func matchARN(o operand, value string, c condition) bool {
	p, ok := o.pattern.expand(c)
	return ok && likeARN(p, value)
}

func matchBool(o operand, value string, _ condition) bool { return strings.EqualFold(o.raw, value) }
