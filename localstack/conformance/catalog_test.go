package conformance_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// show calls an operation of a service that speaks JSON 1.1, and reads its answer.
func show(t *testing.T, service, target string, in map[string]any, into any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	got := raw{Method: http.MethodPost, Service: service, Body: string(body), Header: map[string]string{
		"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1",
	}}.send(t)
	if got.Status != http.StatusOK {
		t.Fatalf("%s: %d %s", target, got.Status, got.Body)
	}
	if err := json.Unmarshal([]byte(got.Body), into); err != nil {
		t.Fatalf("%s: %v in %s", target, err, got.Body)
	}
}

// catalogTable is a table or a view as Glue shows it.
type catalogTable struct {
	Name, TableType, ViewOriginalText string
	Parameters                        map[string]string
}

func TestTheCatalogShowsAViewAsItWasDeclared(t *testing.T) {
	t.Parallel()
	database := lake(t)["Database"]
	var one struct{ Table catalogTable }
	show(t, "glue", "AWSGlue.GetTable", map[string]any{"DatabaseName": database, "Name": "recent"}, &one)
	var all struct{ TableList []catalogTable }
	show(t, "glue", "AWSGlue.GetTables", map[string]any{"DatabaseName": database}, &all)
	var kinds []string
	for _, table := range all.TableList {
		kinds = append(kinds, table.Name+" "+table.TableType)
	}
	slices.Sort(kinds)
	encoded := strings.TrimSuffix(strings.TrimPrefix(one.Table.ViewOriginalText, "/* Presto View: "), " */")
	query, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var view struct{ OriginalSQL string }
	if err := json.Unmarshal(query, &view); err != nil {
		t.Fatal(err)
	}
	saw(t, "glue/view/shown", fmt.Sprintf("%s\npresto_view %s\n%s", strings.Join(kinds, "\n"), one.Table.Parameters["presto_view"], view.OriginalSQL),
		"events EXTERNAL_TABLE\npieces EXTERNAL_TABLE\nrecent VIRTUAL_VIEW\npresto_view true\nSELECT 'one' AS id, ARRAY['a'] AS tags")
}

func TestAWorkgroupSaysWhatItsTemplateDoes(t *testing.T) {
	t.Parallel()
	outputs := lake(t)
	var got struct {
		WorkGroup struct {
			State         string
			Configuration struct {
				BytesScannedCutoffPerQuery    int
				EnforceWorkGroupConfiguration bool
				EngineVersion                 struct{ SelectedEngineVersion string }
				ResultConfiguration           struct {
					OutputLocation, ExpectedBucketOwner string
					EncryptionConfiguration             struct{ EncryptionOption string }
				}
			}
		}
	}
	show(t, "athena", "AmazonAthena.GetWorkGroup", map[string]any{"WorkGroup": outputs["WorkGroup"]}, &got)
	c := got.WorkGroup.Configuration
	location := strings.TrimPrefix(c.ResultConfiguration.OutputLocation, "s3://"+outputs["Bucket"])
	saw(t, "athena/workgroup/settings", fmt.Sprintf("%s, %d bytes, enforced %v\n%s of the account %v, %s\n%s", got.WorkGroup.State, c.BytesScannedCutoffPerQuery,
		c.EnforceWorkGroupConfiguration, location, c.ResultConfiguration.ExpectedBucketOwner == here.Account,
		c.ResultConfiguration.EncryptionConfiguration.EncryptionOption, c.EngineVersion.SelectedEngineVersion),
		"ENABLED, 10000000 bytes, enforced true\n/answers/ of the account true, SSE_S3\nAthena engine version 3")
}

func TestANamedQueryIsListedInItsWorkgroup(t *testing.T) {
	t.Parallel()
	outputs := lake(t)
	var list struct{ NamedQueryIds []string }
	show(t, "athena", "AmazonAthena.ListNamedQueries", map[string]any{"WorkGroup": outputs["WorkGroup"]}, &list)
	type query struct{ NamedQueryId, Name, Database, QueryString, WorkGroup string }
	var one struct{ NamedQuery query }
	show(t, "athena", "AmazonAthena.GetNamedQuery", map[string]any{"NamedQueryId": outputs["NamedQuery"]}, &one)
	var many struct{ NamedQueries []query }
	show(t, "athena", "AmazonAthena.BatchGetNamedQuery", map[string]any{"NamedQueryIds": list.NamedQueryIds}, &many)
	q := one.NamedQuery
	saw(t, "athena/query/named", fmt.Sprintf("listed %v, the same alone and among others %v\n%s of the database %v and the workgroup %v: %s",
		slices.Equal(list.NamedQueryIds, []string{outputs["NamedQuery"]}), slices.Equal(many.NamedQueries, []query{q}), q.Name,
		q.Database == outputs["Database"], q.WorkGroup == outputs["WorkGroup"], q.QueryString),
		"listed true, the same alone and among others true\nrecent of the database true and the workgroup true: SELECT * FROM recent")
}
