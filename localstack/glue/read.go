package glue

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

// ErrDenied means that a principal may not read what it asked for.
var ErrDenied = errors.New("AccessDeniedException")

// Read returns a table to a principal that queries it: who may get its database, the table and, of one with partitions, those,
// each on the catalog, the database and the table.
func (s *Service) Read(who *iam.Principal, database, table string) (Table, error) {
	in := []string{"catalog", "database/" + database}
	on := append(slices.Clone(in), "table/"+database+"/"+table)
	if err := errors.Join(s.may(who, "glue:GetDatabase", in), s.may(who, "glue:GetTable", on)); err != nil {
		return Table{}, err
	}
	t, err := s.Find(database, table)
	if err == nil && len(t.Partitions) > 0 {
		err = s.may(who, "glue:GetPartitions", on)
	}
	if err != nil {
		return Table{}, err
	}
	return t, nil
}

func (s *Service) may(who *iam.Principal, action string, on []string) error {
	for _, what := range on {
		d := s.config.Authority.Decide(who, iam.Query{Action: action, Resource: s.arn(what), Context: map[string][]string{"aws:SecureTransport": {"true"}}})
		if !d.Allowed {
			return fmt.Errorf("%s may not %s on %s %s: %w", who, action, s.arn(what), d.Reason, ErrDenied)
		}
	}
	return nil
}

// View is what a view says of itself.
type View struct {
	SQL     string   `json:"originalSql"`
	Catalog string   `json:"catalog"`
	Schema  string   `json:"schema"`  // of tables that SQL names without a database
	Columns []Column `json:"columns"` // with Presto's types
}

// View returns the query of a view; ok is false of a table.
func (t Table) View() (v View, ok bool, err error) {
	if t.Type != virtual {
		return View{}, false, nil
	}
	encoded := strings.TrimSuffix(strings.TrimPrefix(t.ViewOriginalText, viewBegins), viewEnds)
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil {
		return View{}, true, fmt.Errorf("reading the view %s.%s: %w", t.Database, t.Name, err)
	}
	return v, true, nil
}

// Root is where all of a table's objects are, as s3://bucket/prefix.
func (t Table) Root() string {
	if !t.projected() || t.Parameters[template] == "" {
		return strings.TrimSuffix(t.Location, "/") + "/"
	}
	root, _, _ := strings.Cut(t.Parameters[template], "${")
	return root
}

func (t Table) projected() bool { return t.Parameters[enabled] == "true" }

// Injected returns the partition keys whose values a query has to name.
func (t Table) Injected() (keys []string) {
	for _, c := range t.Partitions {
		if t.projected() && t.Parameters[projection+c.Name+".type"] == "injected" {
			keys = append(keys, c.Name)
		}
	}
	return keys
}

// Partition returns the values of the partition keys of an object, in their order; ok is false if the object is in no partition.
// Nobody adds partitions to this catalog, so that those of a table without projection are none. Named are the values that a query
// names of each key which is injected.
func (t Table) Partition(uri string, now time.Time, named map[string][]string) (values []string, ok bool) {
	if len(t.Partitions) == 0 {
		return nil, true
	}
	if !t.projected() {
		return nil, false
	}
	text := t.Parameters[template]
	if text == "" {
		text = t.Root()
		for _, c := range t.Partitions {
			text += c.Name + "=${" + c.Name + "}/"
		}
	}
	form, names := "^", []string(nil)
	for at := 0; at < len(text); {
		m := placeholder.FindStringSubmatchIndex(text[at:])
		if m == nil {
			form += regexp.QuoteMeta(text[at:])
			break
		}
		name := text[at+m[2] : at+m[3]]
		form += regexp.QuoteMeta(text[at:at+m[0]]) + "(" + t.valueForm(name) + ")"
		names = append(names, name)
		at += m[1]
	}
	found := regexp.MustCompile(form).FindStringSubmatch(uri)
	if found == nil {
		return nil, false
	}
	for _, c := range t.Partitions {
		value := found[1+slices.Index(names, c.Name)]
		if !t.projects(c, value, now) && !slices.Contains(named[c.Name], value) {
			return nil, false
		}
		values = append(values, value)
	}
	return values, true
}

var digit = regexp.MustCompile(`[0-9]`)

// valueForm is how the value of a key looks in a path. A date may be several folders, as yyyy/MM/dd.
func (t Table) valueForm(name string) string {
	if layout, _, err := dateLayout(t.Parameters[projection+name+".format"]); err == nil && layout != "" {
		return digit.ReplaceAllString(regexp.QuoteMeta(layout), "[0-9]")
	}
	return "[^/]+"
}

// projects reports whether a value is one that the projection of a key makes.
func (t Table) projects(c Column, value string, now time.Time) bool {
	at := func(key string) string { return t.Parameters[projection+c.Name+"."+key] }
	switch at("type") {
	case "enum":
		return slices.ContainsFunc(strings.Split(at("values"), ","), func(v string) bool { return strings.TrimSpace(v) == value })
	case "integer":
		n, err := strconv.ParseInt(value, 10, 64)
		low, high, _ := strings.Cut(at("range"), ",")
		from, err1 := strconv.ParseInt(strings.TrimSpace(low), 10, 64)
		to, err2 := strconv.ParseInt(strings.TrimSpace(high), 10, 64)
		step, err3 := strconv.ParseInt(cmp.Or(at("interval"), "1"), 10, 64)
		digits, err4 := strconv.Atoi(cmp.Or(at("digits"), "1"))
		return errors.Join(err, err1, err2, err3, err4) == nil && from <= n && n <= to && (n-from)%step == 0 && value == fmt.Sprintf("%0*d", digits, n)
	case "date":
		return t.projectsDate(at, value, now.UTC())
	}
	return false // injected: it is what a query names
}

// projectsDate counts from the beginning of the range by its interval.
func (t Table) projectsDate(at func(string) string, value string, now time.Time) bool {
	layout, fine, err := dateLayout(at("format"))
	when, err2 := time.Parse(layout, value)
	if err != nil || err2 != nil || when.Format(layout) != value {
		return false
	}
	low, high, _ := strings.Cut(at("range"), ",")
	from, err := bound(layout, strings.TrimSpace(low), now)
	to, err2 := bound(layout, strings.TrimSpace(high), now)
	step, err3 := strconv.Atoi(cmp.Or(at("interval"), "1"))
	if errors.Join(err, err2, err3) != nil || when.Before(from) || when.After(to) {
		return false
	}
	unit := at("interval.unit")
	if unit == "" && !fine {
		unit = "DAYS"
		if !strings.Contains(layout, "02") {
			unit = "MONTHS"
		}
		if !strings.Contains(layout, "01") {
			unit = "YEARS"
		}
	}
	switch unit = strings.TrimSuffix(unit, "S"); unit {
	case "MONTH", "YEAR":
		months := (when.Year()-from.Year())*12 + int(when.Month()) - int(from.Month())
		if unit == "YEAR" {
			step *= 12
		}
		return months%step == 0 && from.AddDate(0, months, 0).Equal(when)
	}
	return when.Sub(from)%(time.Duration(step)*lengths[unit]) == 0
}

// lengths are those of the units that have one.
var lengths = map[string]time.Duration{"WEEK": 7 * 24 * time.Hour, "DAY": 24 * time.Hour, "HOUR": time.Hour, "MINUTE": time.Minute, "SECOND": time.Second}

// bound reads one end of a range of dates, which NOW makes relative.
func bound(layout, text string, now time.Time) (time.Time, error) {
	m := relativeDate.FindStringSubmatch(text)
	if m == nil {
		return time.Parse(layout, text)
	}
	if m[1] != "" {
		n, err := strconv.Atoi(m[2] + m[3])
		if err != nil {
			return time.Time{}, err
		}
		switch unit := strings.TrimSuffix(m[4], "S"); unit {
		case "YEAR":
			now = now.AddDate(n, 0, 0)
		case "MONTH":
			now = now.AddDate(0, n, 0)
		default:
			now = now.Add(time.Duration(n) * lengths[unit])
		}
	}
	return time.Parse(layout, now.Format(layout))
}
