package iam

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// operand is one value of a condition in a policy, read for its operator.
type operand struct {
	raw     string
	pattern pattern
	number  float64
	time    time.Time
	prefix  netip.Prefix
}

// operator compares an operand with a value of the context.
type operator struct {
	negated bool
	null    bool
	read    func(at, value string, variables bool) (operand, error)
	match   func(o operand, value string, c condition) bool
}

// operators is every operator that is understood, by the name that policies use.
// Binary is left out: nothing here has a binary key.
var operators = buildOperators()

func buildOperators() map[string]operator {
	m := map[string]operator{"Null": {null: true, read: readBool}, "Bool": {read: readText, match: matchBool}}
	pair := func(yes, no string, o operator) {
		m[yes] = o
		o.negated = true
		m[no] = o
	}
	pair("StringEquals", "StringNotEquals", operator{read: readText, match: matchEquals})
	pair("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", operator{read: readText, match: matchFold})
	pair("StringLike", "StringNotLike", operator{read: readText, match: matchLike})
	pair("ArnEquals", "ArnNotEquals", operator{read: readText, match: matchARN})
	pair("ArnLike", "ArnNotLike", operator{read: readText, match: matchARN})
	pair("IpAddress", "NotIpAddress", operator{read: readPrefix, match: matchPrefix})
	for name, holds := range map[string]func(int) bool{
		"LessThan": func(c int) bool { return c < 0 }, "LessThanEquals": func(c int) bool { return c <= 0 },
		"GreaterThan": func(c int) bool { return c > 0 }, "GreaterThanEquals": func(c int) bool { return c >= 0 },
	} {
		m["Numeric"+name] = operator{read: readNumber, match: matchNumber(holds)}
		m["Date"+name] = operator{read: readDate, match: matchDate(holds)}
	}
	equal := func(c int) bool { return c == 0 }
	pair("NumericEquals", "NumericNotEquals", operator{read: readNumber, match: matchNumber(equal)})
	pair("DateEquals", "DateNotEquals", operator{read: readDate, match: matchDate(equal)})
	return m
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

func readNumber(at, value string, _ bool) (operand, error) {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return operand{}, fmt.Errorf("%s: %q is no number", at, value)
	}
	return operand{raw: value, number: n}, nil
}

func readDate(at, value string, _ bool) (operand, error) {
	t, err := parseDate(value)
	if err != nil {
		return operand{}, fmt.Errorf("%s: %w", at, err)
	}
	return operand{raw: value, time: t}, nil
}

func readPrefix(at, value string, _ bool) (operand, error) {
	p, err := parsePrefix(value)
	if err != nil {
		return operand{}, fmt.Errorf("%s: %q is no address and no CIDR range", at, value)
	}
	return operand{raw: value, prefix: p}, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// parseDate reads the W3C forms of ISO 8601 and seconds since the epoch.
func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly, "2006-01", "2006"} {
		if layout == "2006" && len(s) != 4 {
			continue
		}
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	return time.Time{}, fmt.Errorf("%q is no date; write 2006-01-02T15:04:05Z", s)
}

func matchEquals(o operand, value string, c condition) bool {
	p, ok := o.pattern.expand(c)
	return ok && p.plain() == value
}

func matchFold(o operand, value string, c condition) bool {
	p, ok := o.pattern.expand(c)
	return ok && strings.EqualFold(p.plain(), value)
}

func matchLike(o operand, value string, c condition) bool {
	p, ok := o.pattern.expand(c)
	return ok && like(p.glyphs(), value)
}

func matchARN(o operand, value string, c condition) bool {
	p, ok := o.pattern.expand(c)
	whole := len(p.split(6)) == 6 || len(p) == 1 && p[0].kind == anyRun
	return ok && whole && likeARN(p, value)
}

func matchBool(o operand, value string, c condition) bool {
	p, ok := o.pattern.expand(c)
	return ok && strings.EqualFold(p.plain(), value)
}

func matchNumber(holds func(int) bool) func(operand, string, condition) bool {
	return func(o operand, value string, _ condition) bool {
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return false
		}
		switch {
		case n < o.number:
			return holds(-1)
		case n > o.number:
			return holds(1)
		default:
			return n == o.number && holds(0)
		}
	}
}

func matchDate(holds func(int) bool) func(operand, string, condition) bool {
	return func(o operand, value string, _ condition) bool {
		t, err := parseDate(value)
		return err == nil && holds(t.Compare(o.time))
	}
}

func matchPrefix(o operand, value string, _ condition) bool {
	a, err := netip.ParseAddr(value)
	return err == nil && o.prefix.Contains(a.Unmap())
}
