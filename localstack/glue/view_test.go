package glue_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

// view is a view of two columns, after edit has changed its JSON and its TableInput.
func view(edit func(sql, input map[string]any)) resource.Resource {
	column := func(name, kind string) any { return map[string]any{"name": name, "type": kind} }
	sql := map[string]any{
		"originalSql": "SELECT id, tags FROM events", "catalog": "awsdatacatalog", "schema": "lake",
		"columns": []any{column("id", "varchar"), column("tags", "array(varchar)")},
	}
	input := map[string]any{
		"Name": "recent", "TableType": "VIRTUAL_VIEW", "Description": "what came lately", "ViewExpandedText": "/* Presto View */",
		"Parameters": map[string]any{"presto_view": "true", "comment": "Presto View"}, "PartitionKeys": []any{},
		"StorageDescriptor": map[string]any{"SerdeInfo": map[string]any{}, "Columns": []any{
			map[string]any{"Name": "id", "Type": "string", "Comment": "of the event"}, map[string]any{"Name": "tags", "Type": "array<string>"},
		}},
	}
	if edit != nil {
		edit(sql, input)
	}
	if _, given := input["ViewOriginalText"]; !given {
		raw, err := json.Marshal(sql)
		if err != nil {
			panic(err)
		}
		input["ViewOriginalText"] = original(string(raw))
	}
	return resource.Resource{LogicalID: "View", Type: "AWS::Glue::Table", Properties: map[string]any{"CatalogId": account, "DatabaseName": "lake", "TableInput": input}}
}

func original(text string) string {
	return "/* Presto View: " + base64.StdEncoding.EncodeToString([]byte(text)) + " */"
}

func TestAViewIsKeptWithItsQuery(t *testing.T) {
	s := open(t, t.TempDir())
	for _, r := range []resource.Resource{database(), view(nil)} {
		if _, err := s.Provision(r); err != nil {
			t.Fatal(err)
		}
	}
	want := view(nil).Properties["TableInput"].(map[string]any)["ViewOriginalText"]
	got, err := s.Find("lake", "recent")
	if err != nil || got.ViewOriginalText != want || got.ViewExpandedText != "/* Presto View */" || got.Version != "0" || got.Type != "VIRTUAL_VIEW" {
		t.Errorf("%+v %v", got, err)
	}
	changed := view(func(sql, _ map[string]any) { sql["originalSql"] = "SELECT id, tags FROM events LIMIT 1" })
	changed.PhysicalID = "recent"
	if _, err := s.Provision(changed); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Find("lake", "recent"); err != nil || got.Version != "1" || got.ViewOriginalText == want {
		t.Errorf("%+v %v", got, err)
	}
	if err := s.Remove(changed); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find("lake", "recent"); err == nil {
		t.Error("a view that was removed is found")
	}
}

func TestAViewThatAthenaCouldNotReadIsRefused(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.Provision(database()); err != nil {
		t.Fatal(err)
	}
	type edit = func(sql, input map[string]any)
	text := func(text string) edit { return func(_, input map[string]any) { input["ViewOriginalText"] = text } }
	lacks := func(name string) edit { return func(sql, _ map[string]any) { delete(sql, name) } }
	columns := func(columns ...any) edit { return func(sql, _ map[string]any) { sql["columns"] = columns } }
	one := func(name, kind any) any { return map[string]any{"name": name, "type": kind} }
	storage := func(values map[string]any) edit {
		return func(_, input map[string]any) { maps.Copy(input["StorageDescriptor"].(map[string]any), values) }
	}
	for _, c := range []struct {
		want string
		edit edit
	}{
		{"it has to be \"/* Presto View: \"", text("SELECT 1")},
		{"it has to be \"/* Presto View: \"", text("")},
		{"it has to be \"/* Presto View: \"", text("/* Presto View: e30= ")},
		{"is no base64", text("/* Presto View: {} */")},
		{"is no base64", text("/* Presto View: e30 */")},
		{"is no JSON object", text(original("SELECT 1"))},
		{"is no JSON object", text(original("[]"))},
		{"no text originalSql", text(original("null"))},
		{"no text originalSql", lacks("originalSql")},
		{"no text originalSql", func(sql, _ map[string]any) { delete(sql, "originalSql"); sql["originalSQL"] = "SELECT 1" }},
		{"no text originalSql", func(sql, _ map[string]any) { sql["originalSql"] = 1 }},
		{"no text catalog", lacks("catalog")},
		{"only awsdatacatalog is there", func(sql, _ map[string]any) { sql["catalog"] = "AwsDataCatalog" }},
		{"no text schema", lacks("schema")},
		{"no columns", lacks("columns")},
		{"no columns", columns()},
		{"no columns", columns("id", "tags")},
		{"column 1 has no name", columns(one("id", "varchar"), one("", "varchar"))},
		{"column tags has no type", columns(one("id", "varchar"), one("tags", 7))},
		{"column id has the type \"string\", which is Hive's", columns(one("id", "string"), one("tags", "array(varchar)"))},
		{"column tags has the type \"array<string>\", which is Hive's", columns(one("id", "varchar"), one("tags", "array<string>"))},
		{"its columns are [\"id\"], and those of StorageDescriptor [\"id\" \"tags\"]", columns(one("id", "varchar"))},
		{"its columns are [\"tags\" \"id\"]", columns(one("tags", "array(varchar)"), one("id", "varchar"))},
		{"it is longer than 409600", text(original(strings.Repeat("x", 400_000)))},
		{"parameter presto_view: a view needs true", func(_, input map[string]any) { input["Parameters"] = map[string]any{"presto_view": "yes"} }},
		{"parameter presto_view: a view needs true", func(_, input map[string]any) { delete(input, "Parameters") }},
		{"property ViewExpandedText: a view needs", func(_, input map[string]any) { delete(input, "ViewExpandedText") }},
		{"PartitionKeys: a view has none", func(_, input map[string]any) {
			input["PartitionKeys"] = []any{map[string]any{"Name": "day", "Type": "string"}}
		}},
		{"Location: a view has none", storage(map[string]any{"Location": "s3://lake/"})},
		{"columns alone, and no format", storage(map[string]any{"InputFormat": "x"})},
		{"Columns is missing", storage(map[string]any{"Columns": []any{}})},
		{"\"varchar(\", which is none of Hive", storage(map[string]any{"Columns": []any{map[string]any{"Name": "id", "Type": "varchar("}, map[string]any{"Name": "tags", "Type": "array<string>"}}})},
		{"\"Id\" is none", storage(map[string]any{"Columns": []any{map[string]any{"Name": "Id", "Type": "string"}}})},
		{"\"ViewText\"", func(_, input map[string]any) { input["ViewText"] = "x" }},
	} {
		if _, err := s.Provision(view(c.edit)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want …%s…", err, c.want)
		}
	}
	rich := view(func(sql, input map[string]any) {
		sql["columns"] = []any{one("id", "row(a bigint, b timestamp(3))"), one("tags", "map(varchar,varbinary)")}
		input["StorageDescriptor"] = map[string]any{"Columns": []any{
			map[string]any{"Name": "id", "Type": "struct<a:bigint, b:timestamp>"}, map[string]any{"Name": "tags", "Type": "map<string,binary>"},
		}}
	})
	if _, err := s.Provision(rich); err != nil {
		t.Errorf("types that a table may not have here: %v", err)
	}
}

func TestNothingIsWrittenToAView(t *testing.T) {
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
	role, err := a.PutRole(iam.Role{
		Name:   "delivery",
		Trust:  json.RawMessage(`{"Statement":{"Effect":"Allow","Principal":{"Service":"firehose.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
		Inline: map[string]iam.Inline{"p": {Document: json.RawMessage(`{"Statement":[{"Effect":"Allow","Action":"glue:*","Resource":"*"}]}`)}},
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
	for _, r := range []resource.Resource{database(), table(nil), view(nil)} {
		if _, err := s.Provision(r); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Schema(who, "lake", "events"); err != nil || got.Name != "events" {
		t.Errorf("a table: %+v %v", got, err)
	}
	if _, err := s.Schema(who, "lake", "recent"); err == nil || !strings.Contains(err.Error(), "lake.recent is a view") {
		t.Errorf("a view: %v", err)
	}
}
