package glue_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

const account = "111122223333"

func open(t *testing.T, dir string) *glue.Service {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	s, err := glue.Open(glue.Config{Dir: dir, Authority: a})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), a.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func database() resource.Resource {
	return resource.Resource{LogicalID: "Database", Type: "AWS::Glue::Database", Properties: map[string]any{
		"CatalogId": account, "DatabaseInput": map[string]any{"Name": "lake", "Description": "events"},
	}}
}

// table is a table with a partition key of each type of projection.
func table(edit func(input, storage, parameters map[string]any)) resource.Resource {
	column := func(name, kind string) any { return map[string]any{"Name": name, "Type": kind} }
	parameters := map[string]any{
		"classification": "parquet", "projection.enabled": "true",
		"projection.day.type": "date", "projection.day.range": "2026-01-01,NOW+1DAYS", "projection.day.format": "yyyy-MM-dd",
		"projection.hour.type": "integer", "projection.hour.range": "0,23", "projection.hour.digits": "2",
		"projection.kind.type": "enum", "projection.kind.values": "a,b", "projection.tenant.type": "injected",
		"storage.location.template": "s3://lake/${tenant}/${kind}/${day}/${hour}/",
	}
	storage := map[string]any{
		"Location":    "s3://lake/",
		"InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat", "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
		"SerdeInfo": map[string]any{"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
		"Columns":   []any{column("id", "string"), column("attributes", "map<string, string>")},
	}
	input := map[string]any{
		"Name": "events", "TableType": "EXTERNAL_TABLE", "Parameters": parameters, "StorageDescriptor": storage,
		"PartitionKeys": []any{column("day", "string"), column("hour", "int"), column("kind", "string"), column("tenant", "string")},
	}
	if edit != nil {
		edit(input, storage, parameters)
	}
	return resource.Resource{LogicalID: "Table", Type: "AWS::Glue::Table", Properties: map[string]any{"CatalogId": account, "DatabaseName": "lake", "TableInput": input}}
}

func TestATableHasANewVersionWithEachChange(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.Provision(table(nil)); !errors.Is(err, glue.ErrNotFound) {
		t.Errorf("without its database: %v", err)
	}
	for _, r := range []resource.Resource{database(), table(nil)} {
		out, err := s.Provision(r)
		if err != nil || out.Ref == "" {
			t.Fatalf("%+v %v", out, err)
		}
		if _, err := s.Provision(r); !errors.Is(err, resource.ErrExists) {
			t.Errorf("%s a second time: %v", r.Type, err)
		}
	}
	again := table(nil)
	again.PhysicalID = "events"
	changed := table(func(_, _, parameters map[string]any) { parameters["projection.kind.values"] = "a,b,c" })
	changed.PhysicalID = "events"
	for i, r := range []resource.Resource{again, changed, changed} {
		if _, err := s.Provision(r); err != nil {
			t.Fatal(err)
		}
		got, err := s.Find("lake", "events")
		if want := string("011"[i]); err != nil || got.Version != want || got.Columns[1].Type != "map<string,string>" {
			t.Errorf("%d: %+v %v", i, got, err)
		}
	}
	gone := database()
	gone.PhysicalID = "lake"
	if err := s.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find("lake", "events"); !errors.Is(err, glue.ErrNotFound) {
		t.Errorf("after its database was deleted: %v", err)
	}
}

func TestATableThatAthenaCouldNotReadIsRefused(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.Provision(database()); err != nil {
		t.Fatal(err)
	}
	set := func(values map[string]any) func(_, _, parameters map[string]any) {
		return func(_, _, parameters map[string]any) {
			maps.Copy(parameters, values)
			maps.DeleteFunc(parameters, func(_ string, v any) bool { return v == nil })
		}
	}
	for want, edit := range map[string]func(input, storage, parameters map[string]any){
		"projection.enabled: \"yes\"":             set(map[string]any{"projection.enabled": "yes"}),
		"projection.day.type: \"\" is none":       set(map[string]any{"projection.day.type": nil}),
		"projection.day.format is missing":        set(map[string]any{"projection.day.format": nil}),
		"\"2026\" is neither a date":              set(map[string]any{"projection.day.range": "2026,NOW"}),
		"is not two dates":                        set(map[string]any{"projection.day.range": "2026-01-01"}),
		"ends before it begins":                   set(map[string]any{"projection.day.range": "2026-01-02,2026-01-01"}),
		"\"YYYY-MM-dd\" is not of":                set(map[string]any{"projection.day.format": "YYYY-MM-dd"}),
		"\"DAY\" is none of":                      set(map[string]any{"projection.day.interval.unit": "DAY"}),
		"finer than a day":                        set(map[string]any{"projection.day.format": "yyyy-MM-dd HH", "projection.day.range": "NOW-1DAY,NOW"}),
		"projection.hour.range: \"0-23\"":         set(map[string]any{"projection.hour.range": "0-23"}),
		"projection.hour.digits: \"two\"":         set(map[string]any{"projection.hour.digits": "two"}),
		"projection.kind.values is missing":       set(map[string]any{"projection.kind.values": nil}),
		"projection.kind.range does not belong":   set(map[string]any{"projection.kind.range": "0,1"}),
		"projection.dya.type: is of no partition": set(map[string]any{"projection.dya.type": "date"}),
		"lacks ${day}":                            set(map[string]any{"storage.location.template": "s3://lake/${tenant}/${kind}/${hour}/"}),
		"${other} is no partition key":            set(map[string]any{"storage.location.template": "s3://lake/${tenant}/${kind}/${day}/${hour}/${other}/"}),
		"to end with /":                           set(map[string]any{"storage.location.template": "s3://lake/${tenant}/${kind}/${day}/${hour}"}),
		"only Parquet":                            func(_, storage, _ map[string]any) { storage["InputFormat"] = "x" },
		"does not begin with s3://":               func(_, storage, _ map[string]any) { storage["Location"] = "lake" },
		"EXTERNAL_TABLE":                          func(input, _, _ map[string]any) { input["TableType"] = "MANAGED_TABLE" },
		"only a VIRTUAL_VIEW has one":             func(input, _, _ map[string]any) { input["ViewOriginalText"] = "/* Presto View: e30= */" },
		"\"Events\" is none":                      func(input, _, _ map[string]any) { input["Name"] = "Events" },
		"\"decimal(1,2)\", and here": func(_, storage, _ map[string]any) {
			storage["Columns"] = []any{map[string]any{"Name": "a", "Type": "decimal(1,2)"}}
		},
		"day appears twice": func(_, storage, _ map[string]any) {
			storage["Columns"] = []any{map[string]any{"Name": "day", "Type": "string"}}
		},
		"\"Owner\"": func(input, _, _ map[string]any) { input["Owner"] = "me" },
	} {
		if _, err := s.Provision(table(edit)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
	if _, err := s.Provision(table(set(map[string]any{
		"projection.day.format": "yyyy-MM-dd HH", "projection.day.range": "NOW-1DAY,NOW",
		"projection.day.interval": "1", "projection.day.interval.unit": "HOURS",
	}))); err != nil {
		t.Errorf("by the hour: %v", err)
	}
}

func TestACatalogIsOfItsAccount(t *testing.T) {
	s := open(t, t.TempDir())
	r := database()
	r.Properties["CatalogId"] = "999999999999"
	if _, err := s.Provision(r); err == nil || !strings.Contains(err.Error(), "is not this account") {
		t.Errorf("%v", err)
	}
}
