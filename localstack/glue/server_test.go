package glue_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stile-dev/stile/localstack/gate/gatetest"
	"github.com/stile-dev/stile/localstack/glue"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

// ask is a catalog behind the gate, and calls it with a role that may do what the statement says.
func ask(t *testing.T, statement string, made ...resource.Resource) func(operation, body string) (int, string) {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	s, err := glue.Open(glue.Config{Dir: t.TempDir(), Authority: a})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range made {
		if _, err := s.Provision(r); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), a.Close()); err != nil {
			t.Error(err)
		}
	})
	return gatetest.Ask(t, s, a, statement)
}

func allowed(action string, on ...string) string {
	for i, one := range on {
		on[i] = fmt.Sprintf("%q", "arn:aws:glue:us-east-1:"+account+":"+one)
	}
	return `{"Effect":"Allow","Action":"` + action + `","Resource":[` + strings.Join(on, ",") + `]}`
}

// shown is a table as Glue answers it.
type shown struct {
	Name, DatabaseName, CatalogId, Description, TableType, VersionId string
	ViewOriginalText, ViewExpandedText                               string
	Parameters                                                       map[string]string
	PartitionKeys                                                    []struct{ Name, Type string }
	StorageDescriptor                                                struct {
		Location, InputFormat string
		Columns               []struct{ Name, Type, Comment string }
	}
}

func TestTablesAndViewsAreShown(t *testing.T) {
	call := ask(t, allowed("glue:GetTable*", "catalog", "database/lake", "table/lake/*"), database(), table(nil), view(nil))
	var one struct{ Table shown }
	status, body := call("AWSGlue.GetTable", `{"DatabaseName":"Lake","Name":"Recent","CatalogId":"`+account+`"}`)
	if err := json.Unmarshal([]byte(body), &one); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s %v", status, body, err)
	}
	input := view(nil).Properties["TableInput"].(map[string]any)
	if v := one.Table; v.Name != "recent" || v.DatabaseName != "lake" || v.CatalogId != account || v.Description != "what came lately" || v.TableType != "VIRTUAL_VIEW" ||
		v.VersionId != "0" || v.ViewOriginalText != input["ViewOriginalText"] || v.ViewExpandedText != "/* Presto View */" || v.Parameters["presto_view"] != "true" ||
		fmt.Sprint(v.StorageDescriptor.Columns) != "[{id string of the event} {tags array<string> }]" || len(v.PartitionKeys) != 0 || v.StorageDescriptor.InputFormat != "" {
		t.Errorf("the view is shown as %s", body)
	}
	var page struct {
		TableList []shown
		NextToken string
	}
	var names []string
	for range 2 {
		request := `{"DatabaseName":"lake","MaxResults":1,"NextToken":"` + page.NextToken + `"}`
		page.TableList, page.NextToken = nil, ""
		status, body = call("AWSGlue.GetTables", request)
		if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK || len(page.TableList) != 1 {
			t.Fatalf("%d %s %v", status, body, err)
		}
		names = append(names, page.TableList[0].Name+" "+page.NextToken)
		if v := page.TableList[0]; v.Name == "events" && (v.TableType != "EXTERNAL_TABLE" || v.StorageDescriptor.Location != "s3://lake/" || v.StorageDescriptor.InputFormat == "" || len(v.PartitionKeys) != 4) {
			t.Errorf("the table is shown as %s", body)
		}
	}
	if got := strings.Join(names, ","); got != "events events,recent " {
		t.Errorf("pages %s", got)
	}
}

func TestWhatTheCatalogDoesNotAnswerIsRefused(t *testing.T) {
	call := ask(t, allowed("glue:*", "*"), database(), view(nil))
	for _, c := range []struct{ operation, body, want string }{
		{"AWSGlue.GetTable", `{"DatabaseName":"lake","Name":"gone"}`, "EntityNotFoundException"},
		{"AWSGlue.GetTable", `{"DatabaseName":"gone","Name":"recent"}`, "EntityNotFoundException"},
		{"AWSGlue.GetTable", `{"DatabaseName":"lake","Name":"recent","CatalogId":"999999999999"}`, "EntityNotFoundException"},
		{"AWSGlue.GetTable", `{"DatabaseName":"lake"}`, "InvalidInputException"},
		{"AWSGlue.GetTables", `{"DatabaseName":"gone"}`, "EntityNotFoundException"},
		{"AWSGlue.GetTables", `{"DatabaseName":"lake","MaxResults":101}`, "InvalidInputException"},
		{"AWSGlue.GetTables", `{"DatabaseName":"lake","Expression":"r.*"}`, `member \"Expression\"`},
		{"AWSGlue.GetTables", `{`, "SerializationException"},
		{"AWSGlue.CreateTable", `{}`, "UnknownOperationException"},
		{"GetTable", `{}`, "UnknownOperationException"},
	} {
		if status, body := call(c.operation, c.body); status != http.StatusBadRequest || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s, want %s", c.operation, c.body, status, body, c.want)
		}
	}
}

func TestATableIsShownToWhoMaySeeCatalogDatabaseAndTable(t *testing.T) {
	for _, c := range []struct {
		on   []string
		want int
	}{
		{[]string{"catalog", "database/lake", "table/lake/recent"}, http.StatusOK},
		{[]string{"database/lake", "table/lake/recent"}, http.StatusBadRequest},
		{[]string{"catalog", "table/lake/recent"}, http.StatusBadRequest},
		{[]string{"catalog", "database/lake", "table/lake/events"}, http.StatusBadRequest},
	} {
		name := strings.Join(c.on, " ")
		call := ask(t, allowed("glue:*", c.on...), database(), view(nil))
		for operation, body := range map[string]string{"AWSGlue.GetTable": `{"DatabaseName":"lake","Name":"recent"}`, "AWSGlue.GetTables": `{"DatabaseName":"lake"}`} {
			if status, body := call(operation, body); status != c.want || c.want != http.StatusOK && !strings.Contains(body, "AccessDeniedException") {
				t.Errorf("%s with %s: %d %s", operation, name, status, body)
			}
		}
	}
}
