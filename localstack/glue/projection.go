package glue

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Athena reads a table's projection only when it is queried, and then fails or finds nothing. So what is wrong with it
// fails the deployment here. The rules are those of "Supported types for partition projection" and "Set up partition
// projection" in Athena's user guide.

const (
	projection = "projection."
	enabled    = "projection.enabled"
	template   = "storage.location.template"
)

// projectionKeys are the parameters of a column's projection, by its type; those in need begin with "!".
var projectionKeys = map[string][]string{
	"enum":     {"!values"},
	"integer":  {"!range", "interval", "digits"},
	"date":     {"!range", "!format", "interval", "interval.unit"},
	"injected": {},
}

var (
	placeholder  = regexp.MustCompile(`\$\{([^}]*)\}`)
	relativeDate = regexp.MustCompile(`^NOW\s*(([+-])\s*([0-9]+)\s*(YEARS?|MONTHS?|WEEKS?|DAYS?|HOURS?|MINUTES?|SECONDS?)\s*)?$`)
	dateUnits    = []string{"YEARS", "MONTHS", "WEEKS", "DAYS", "HOURS", "MINUTES", "SECONDS"}
)

// checkProjection refuses a projection that Athena would refuse, or that finds nothing.
func (t Table) checkProjection() error {
	var errs []error
	fail := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("parameter %s: %w", name, fmt.Errorf(format, args...)))
	}
	on := t.Parameters[enabled]
	if on != "" && on != "true" && on != "false" {
		fail(enabled, "%q is neither true nor false", on)
	}
	known := map[string]bool{enabled: true}
	for _, c := range t.Partitions {
		for _, k := range []string{"type", "values", "range", "interval", "interval.unit", "digits", "format"} {
			known[projection+c.Name+"."+k] = true
		}
		if on == "true" {
			errs = append(errs, t.checkColumn(c))
		}
	}
	for _, name := range sorted(t.Parameters) {
		if strings.HasPrefix(name, projection) && !known[name] {
			fail(name, "is of no partition key, or none that Athena knows")
		}
	}
	if on == "true" {
		if len(t.Partitions) == 0 {
			fail(enabled, "there is no partition key to project")
		}
		errs = append(errs, t.checkTemplate())
	}
	return errors.Join(errs...)
}

// checkTemplate holds that each partition has a folder of its own.
func (t Table) checkTemplate() error {
	text, given := t.Parameters[template]
	if !given {
		return nil
	}
	var named []string
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		named = append(named, m[1])
	}
	for _, c := range t.Partitions {
		if !slices.Contains(named, c.Name) {
			return fmt.Errorf("parameter %s: it lacks ${%s}", template, c.Name)
		}
	}
	for _, name := range named {
		if !slices.ContainsFunc(t.Partitions, func(c Column) bool { return c.Name == name }) {
			return fmt.Errorf("parameter %s: ${%s} is no partition key", template, name)
		}
	}
	if !strings.HasPrefix(text, "s3://") || !strings.HasSuffix(text, "/") {
		return fmt.Errorf("parameter %s: %q has to begin with s3:// and to end with /", template, text)
	}
	return nil
}

func (t Table) checkColumn(c Column) error {
	at := func(key string) string { return projection + c.Name + "." + key }
	kind := t.Parameters[at("type")]
	keys, ok := projectionKeys[kind]
	if !ok {
		return fmt.Errorf("parameter %s: %q is none of enum, integer, date and injected", at("type"), kind)
	}
	allowed := map[string]bool{"type": true}
	for _, k := range keys {
		name := strings.TrimPrefix(k, "!")
		if allowed[name] = true; name != k && t.Parameters[at(name)] == "" {
			return fmt.Errorf("parameter %s is missing, which the type %s needs", at(name), kind)
		}
	}
	for _, name := range sorted(t.Parameters) {
		if k, is := strings.CutPrefix(name, projection+c.Name+"."); is && !allowed[k] {
			return fmt.Errorf("parameter %s does not belong to the type %s", name, kind)
		}
	}
	switch kind {
	case "integer":
		return t.checkIntegers(at)
	case "date":
		return t.checkDates(at)
	}
	return nil
}

func (t Table) checkIntegers(at func(string) string) error {
	low, high, two := strings.Cut(t.Parameters[at("range")], ",")
	from, err := strconv.ParseInt(strings.TrimSpace(low), 10, 64)
	to, err2 := strconv.ParseInt(strings.TrimSpace(high), 10, 64)
	if !two || err != nil || err2 != nil || from > to {
		return fmt.Errorf("parameter %s: %q is not two whole numbers such as 0,23", at("range"), t.Parameters[at("range")])
	}
	return errors.Join(t.checkCount(at("interval")), t.checkCount(at("digits")))
}

func (t Table) checkCount(name string) error {
	text := t.Parameters[name]
	if n, err := strconv.Atoi(text); text != "" && (err != nil || n < 1) {
		return fmt.Errorf("parameter %s: %q is no positive number", name, text)
	}
	return nil
}

// checkDates reads the bounds by the column's format, or as NOW and an offset.
func (t Table) checkDates(at func(string) string) error {
	layout, fine, err := dateLayout(t.Parameters[at("format")])
	if err != nil {
		return fmt.Errorf("parameter %s: %w", at("format"), err)
	}
	low, high, two := strings.Cut(t.Parameters[at("range")], ",")
	if !two {
		return fmt.Errorf("parameter %s: %q is not two dates such as 2026-01-01,NOW", at("range"), t.Parameters[at("range")])
	}
	var bounds []time.Time
	for _, bound := range []string{strings.TrimSpace(low), strings.TrimSpace(high)} {
		if relativeDate.MatchString(bound) {
			continue
		}
		when, err := time.Parse(layout, bound)
		if err != nil {
			return fmt.Errorf("parameter %s: %q is neither a date in the format %s nor NOW with an offset", at("range"), bound, t.Parameters[at("format")])
		}
		bounds = append(bounds, when)
	}
	if len(bounds) == 2 && bounds[1].Before(bounds[0]) {
		return fmt.Errorf("parameter %s: it ends before it begins", at("range"))
	}
	unit := t.Parameters[at("interval.unit")]
	switch {
	case unit != "" && !slices.Contains(dateUnits, unit):
		return fmt.Errorf("parameter %s: %q is none of %s", at("interval.unit"), unit, strings.Join(dateUnits, ", "))
	case fine && (unit == "" || t.Parameters[at("interval")] == ""):
		return fmt.Errorf("parameter %s: dates finer than a day need an interval and its unit", at("interval"))
	}
	return t.checkCount(at("interval"))
}

// dateLetters are the pieces of Java's date formats that are known here, longest first, with Go's.
var dateLetters = [][2]string{{"yyyy", "2006"}, {"MM", "01"}, {"dd", "02"}, {"HH", "15"}, {"mm", "04"}, {"ss", "05"}}

// dateLayout turns a date format of Java into one of Go; fine says that it tells hours or less.
func dateLayout(format string) (layout string, fine bool, err error) {
	var b strings.Builder
next:
	for rest := format; rest != ""; {
		for _, pair := range dateLetters {
			if after, is := strings.CutPrefix(rest, pair[0]); is {
				b.WriteString(pair[1])
				fine = fine || strings.ContainsAny(pair[0], "Hms")
				rest = after
				continue next
			}
		}
		if c := rest[0]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return "", false, fmt.Errorf("%q is not of yyyy, MM, dd, HH, mm, ss and what separates them", format)
		}
		b.WriteByte(rest[0])
		rest = rest[1:]
	}
	return b.String(), fine, nil
}
