package glue_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

func TestAnObjectIsInThePartitionThatTheProjectionMakes(t *testing.T) {
	now := time.Date(2026, 3, 4, 23, 59, 59, 0, time.UTC)
	projected := func(template string, keys []string, parameters map[string]string) glue.Table {
		out := glue.Table{Location: "s3://lake/t", Parameters: map[string]string{"projection.enabled": "true"}}
		if template != "" {
			out.Parameters["storage.location.template"] = template
		}
		for _, k := range keys {
			out.Partitions = append(out.Partitions, glue.Column{Name: k, Type: "string"})
		}
		for k, v := range parameters {
			out.Parameters["projection."+k] = v
		}
		return out
	}
	date := func(format, bounds string) map[string]string {
		return map[string]string{"day.type": "date", "day.format": format, "day.range": bounds}
	}
	with := func(parameters map[string]string, name, value string) map[string]string {
		parameters[name] = value
		return parameters
	}
	day := []string{"day"}
	for _, c := range []struct {
		name  string
		table glue.Table
		uri   string
		want  string // values, "" for no partition
	}{
		{"today", projected("s3://lake/t/day=${day}/", day, date("yyyy-MM-dd", "2026-01-01,NOW")), "s3://lake/t/day=2026-03-04/x", "2026-03-04"},
		{"the first day", projected("s3://lake/t/day=${day}/", day, date("yyyy-MM-dd", "2026-01-01,NOW")), "s3://lake/t/day=2026-01-01/deep/x", "2026-01-01"},
		{"the day before it", projected("s3://lake/t/day=${day}/", day, date("yyyy-MM-dd", "2026-01-01,NOW")), "s3://lake/t/day=2025-12-31/x", ""},
		{"tomorrow", projected("s3://lake/t/day=${day}/", day, date("yyyy-MM-dd", "2026-01-01,NOW")), "s3://lake/t/day=2026-03-05/x", ""},
		{"tomorrow, if the range says so", projected("s3://lake/t/day=${day}/", day, date("yyyy-MM-dd", "NOW-1YEARS,NOW+1DAYS")), "s3://lake/t/day=2026-03-05/x", "2026-03-05"},
		{"a year ago", projected("s3://lake/t/day=${day}/", day, date("yyyy-MM-dd", "NOW-1YEARS,NOW")), "s3://lake/t/day=2025-03-04/x", "2025-03-04"},
		{"more than a year ago", projected("s3://lake/t/day=${day}/", day, date("yyyy-MM-dd", "NOW-1YEARS,NOW")), "s3://lake/t/day=2025-03-03/x", ""},
		{"no day of the calendar", projected("s3://lake/t/day=${day}/", day, date("yyyy-MM-dd", "2026-01-01,NOW")), "s3://lake/t/day=2026-02-30/x", ""},
		{"another format", projected("s3://lake/t/day=${day}/", day, date("yyyy-MM-dd", "2026-01-01,NOW")), "s3://lake/t/day=20260301/x", ""},
		{"another folder", projected("s3://lake/t/day=${day}/", day, date("yyyy-MM-dd", "2026-01-01,NOW")), "s3://lake/u/day=2026-03-01/x", ""},
		{"no folder", projected("s3://lake/t/day=${day}/", day, date("yyyy-MM-dd", "2026-01-01,NOW")), "s3://lake/t/day=2026-03-01", ""},
		{"folders of a date", projected("s3://lake/t/${day}/", day, date("yyyy/MM/dd", "2026/01/01,NOW")), "s3://lake/t/2026/03/01/x", "2026/03/01"},
		{"without a template", projected("", day, date("yyyy-MM-dd", "2026-01-01,NOW")), "s3://lake/t/day=2026-03-01/x", "2026-03-01"},
		{"every second day", projected("", day, with(date("yyyy-MM-dd", "2026-01-01,NOW"), "day.interval", "2")), "s3://lake/t/day=2026-01-03/x", "2026-01-03"},
		{"between two second days", projected("", day, with(date("yyyy-MM-dd", "2026-01-01,NOW"), "day.interval", "2")), "s3://lake/t/day=2026-01-02/x", ""},
		{"a month", projected("", day, date("yyyy-MM", "2026-01,NOW")), "s3://lake/t/day=2026-03/x", "2026-03"},
		{"an enum", projected("", []string{"k"}, map[string]string{"k.type": "enum", "k.values": "a, b"}), "s3://lake/t/k=b/x", "b"},
		{"not of the enum", projected("", []string{"k"}, map[string]string{"k.type": "enum", "k.values": "a, b"}), "s3://lake/t/k=c/x", ""},
		{"an integer", projected("", []string{"k"}, map[string]string{"k.type": "integer", "k.range": "0,23", "k.digits": "2"}), "s3://lake/t/k=07/x", "07"},
		{"an integer with other digits", projected("", []string{"k"}, map[string]string{"k.type": "integer", "k.range": "0,23", "k.digits": "2"}), "s3://lake/t/k=7/x", ""},
		{"an integer above", projected("", []string{"k"}, map[string]string{"k.type": "integer", "k.range": "0,23"}), "s3://lake/t/k=24/x", ""},
		{"an integer between", projected("", []string{"k"}, map[string]string{"k.type": "integer", "k.range": "0,23", "k.interval": "2"}), "s3://lake/t/k=3/x", ""},
		{"injected", projected("", []string{"k"}, map[string]string{"k.type": "injected"}), "s3://lake/t/k=3/x", ""},
		{"injected, and named", projected("", []string{"k"}, map[string]string{"k.type": "injected"}), "s3://lake/t/k=named/x", "named"},
		{"two keys", projected("s3://lake/t/${k}/${day}/", []string{"day", "k"}, with(with(date("yyyy-MM-dd", "2026-01-01,NOW"), "k.type", "enum"), "k.values", "a")), "s3://lake/t/a/2026-03-04/x", "2026-03-04 a"},
		{"without projection", glue.Table{Location: "s3://lake/t", Partitions: []glue.Column{{Name: "day", Type: "string"}}}, "s3://lake/t/day=2026-03-04/x", ""},
	} {
		named := map[string][]string{}
		for _, key := range c.table.Injected() {
			named[key] = []string{"named", "other"}
		}
		values, ok := c.table.Partition(c.uri, now, named)
		if got := strings.Join(values, " "); got != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q %v, want %q", c.name, got, ok, c.want)
		}
	}
	if values, ok := (glue.Table{Location: "s3://lake/t"}).Partition("s3://lake/t/x", now, nil); !ok || values != nil {
		t.Errorf("a table without partitions: %q %v", values, ok)
	}
}

func TestWhoQueriesATableNeedsEachRightOnEachOfItsParts(t *testing.T) {
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	s, err := glue.Open(glue.Config{Dir: t.TempDir(), Authority: a})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), a.Close()); err != nil {
			t.Error(err)
		}
	})
	for _, r := range []resource.Resource{database(), table(nil)} {
		if _, err := s.Provision(r); err != nil {
			t.Fatal(err)
		}
	}
	on := func(what string) string { return "arn:aws:glue:us-east-1:" + account + ":" + what }
	in := []string{on("catalog"), on("database/lake")}
	whole := append(slices.Clone(in), on("table/lake/events"))
	rights := map[string][]string{"glue:GetDatabase": in, "glue:GetTable": whole, "glue:GetPartitions": whole}
	read := func(rights map[string][]string) error {
		var statements []string
		for action, list := range rights {
			statements = append(statements, `{"Effect":"Allow","Action":"`+action+`","Resource":["`+strings.Join(list, `","`)+`"]}`)
		}
		role, err := a.PutRole(iam.Role{
			Name:   "analyst",
			Trust:  json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
			Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Statement":[` + strings.Join(statements, ",") + `]}`)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Mint(role.ARN, "one", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		_, who, err := a.Lookup(c.AccessKeyID)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Read(who, "lake", "events")
		return err
	}
	if err := read(rights); err != nil {
		t.Fatal(err)
	}
	for action, list := range rights {
		for i := range list {
			less := maps.Clone(rights)
			less[action] = slices.Delete(slices.Clone(list), i, i+1)
			if err := read(less); !errors.Is(err, glue.ErrDenied) || !strings.Contains(err.Error(), "may not "+action+" on "+list[i]) {
				t.Errorf("without %s on %s: %v", action, list[i], err)
			}
		}
	}
}
