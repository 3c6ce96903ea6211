package audit_test

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/audit/ocsf"
)

// TestTheReferenceSaysWhatTheTablesSay holds docs/reference/audit-events.md to the tables; -update writes it.
func TestTheReferenceSaysWhatTheTablesSay(t *testing.T) {
	golden(t, "../../../docs/reference/audit-events.md", []byte(reference(t)))
}

func TestEveryFieldOfAnEventIsDescribed(t *testing.T) {
	fields := jsonFields()
	if len(fields) != len(audit.Common) {
		t.Fatalf("%d fields, %d rows", len(fields), len(audit.Common))
	}
	for i, f := range fields {
		row := audit.Common[i]
		if row.Name != f.name || row.Always == f.omitted || row.Meaning == "" || row.Kept {
			t.Errorf("field %d is %+v, and its row is %+v", i, f, row)
		}
	}
}

func TestEveryCodeIsOfAGroup(t *testing.T) {
	for of, row := range audit.Types {
		if !slices.ContainsFunc(audit.Groups, func(g audit.Group) bool { return g.Digit == row.Code[1] }) {
			t.Errorf("%s has the code %s", of, row.Code)
		}
		for i, f := range row.Fields {
			if f.Name == "" || f.Meaning == "" || strings.ContainsAny(f.Meaning, "\n|") {
				t.Errorf("%s: %+v", of, f)
			}
			if slices.ContainsFunc(row.Fields[:i], func(g audit.Field) bool { return g.Name == f.Name }) {
				t.Errorf("%s has %s twice", of, f.Name)
			}
		}
	}
}

type jsonField struct {
	name, form string
	omitted    bool // when it is empty
}

func jsonFields() (all []jsonField) {
	for f := range reflect.TypeFor[audit.Event]().Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, jsonField{name, form(f.Type), options == "omitempty"})
	}
	return all
}

func form(of reflect.Type) string {
	switch {
	case of == reflect.TypeFor[time.Time]():
		return "time, as text"
	case of.Kind() == reflect.String:
		return "text"
	case of.Kind() == reflect.Uint64:
		return "number"
	case of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.String:
		return "list of text"
	case of.Kind() == reflect.Map && of.Elem().Kind() == reflect.String:
		return "object of text"
	}
	return of.String()
}

func reference(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Audit events

<!-- Written by go test ./pkg/audit -update from the tables in pkg/audit. -->

Every audit event is one JSON object. It has the fields of the first table; what belongs to its type alone is in ` + "`data`" + `. [Audit events](../audit.md) says where events stand and how far to believe them.

Types, codes and fields are added and never change their meaning. A reader skips what it doesn't know. An event is refused when its ` + "`data`" + ` has a field that isn't listed here, or lacks one that is always there.

## OCSF

` + "`pkg/audit/ocsf`" + ` says each event as the [Open Cybersecurity Schema Framework](https://schema.ocsf.io/1.2.0/) does, version ` + ocsf.Version + `: its class and activity are below. ` + "`severity_id`" + ` is 1 (informational) to 4 (high), ` + "`status_id`" + ` 1 for a success and 2 for what failed or was denied. What OCSF has no place for stands in ` + "`unmapped`" + ` by its name here, the data whole. ` + "`stile audit ls --session ID --format ocsf`" + ` prints them so, with ` + "`standing`, `received` and `why` in `unmapped`" + `.

## Fields of every event

| field | form | always there | what it is |
|---|---|---|---|
`)
	for i, f := range jsonFields() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.form, yes(!f.omitted), cell(audit.Common[i].Meaning))
	}
	b.WriteString("\n## Types\n\n| code | type | when it is written | class of OCSF |\n|---|---|---|---|\n")
	types := slices.SortedFunc(maps.Keys(audit.Types), func(a, b audit.Type) int {
		return cmp.Compare(audit.Types[a].Code, audit.Types[b].Code)
	})
	for _, of := range types {
		fmt.Fprintf(&b, "| `%s` | [`%s`](#%s) | %s | %s |\n", audit.Types[of].Code, of, anchor(of), cell(audit.Types[of].Summary), class(of))
	}
	for _, g := range audit.Groups {
		fmt.Fprintf(&b, "\n## %cxxx: %s\n", g.Digit, g.Title)
		for _, of := range types {
			if audit.Types[of].Code[1] == g.Digit {
				describe(&b, of, audit.Types[of])
			}
		}
	}
	return b.String()
}

func describe(b *strings.Builder, of audit.Type, row audit.Row) {
	fmt.Fprintf(b, "\n### %s\n\n`%s`: %s.\n\n", of, row.Code, cell(row.Summary))
	if len(row.By) > 0 {
		fmt.Fprintf(b, "Written by: %s.\n", strings.Join(row.By, ", "))
	} else {
		b.WriteString("Nothing writes it; the code is taken.\n")
	}
	fmt.Fprintf(b, "\nOCSF: %s, activity %d, severity %d: %s.\n", class(of), ocsf.Types[of].Activity, ocsf.Types[of].Severity, cell(ocsf.Types[of].Why))
	if len(row.Fields) == 0 {
		b.WriteString("\nIts `data` is empty.\n")
		return
	}
	b.WriteString("\n| data | always there | what it is |\n|---|---|---|\n")
	for _, f := range row.Fields {
		there := yes(f.Always)
		if f.Kept {
			there = "earlier releases"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.Name, there, cell(f.Meaning))
	}
}

func class(of audit.Type) string {
	c := ocsf.Types[of].Class
	if c == ocsf.NetworkActivity && of != audit.SessionDenialsCounted { // which names no target
		return fmt.Sprintf("%s (%d), on nodes %s (%d)", ocsf.Classes[c], c, ocsf.Classes[ocsf.SSHActivity], ocsf.SSHActivity)
	}
	return fmt.Sprintf("%s (%d)", ocsf.Classes[c], c)
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

// cell keeps < and > from being taken for HTML.
func cell(s string) string { return strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(s) }

// anchor is what a heading is linked by.
func anchor(of audit.Type) string { return strings.ReplaceAll(string(of), ".", "") }
