package athena_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stile-dev/stile/localstack/gate/gatetest"
)

func allowed(action string, groups ...string) string {
	var on []string
	for _, name := range groups {
		on = append(on, fmt.Sprintf("%q", "arn:aws:athena:us-east-1:"+account+":workgroup/"+name))
	}
	return `{"Effect":"Allow","Action":"` + action + `","Resource":[` + strings.Join(on, ",") + `]}`
}

func TestAWorkgroupIsShownWithItsConfiguration(t *testing.T) {
	s, a := open(t, t.TempDir())
	provision(t, s, group(nil))
	call := gatetest.Ask(t, s, a, allowed("athena:GetWorkGroup", "audit", "primary"))
	const want = `{"WorkGroup":{"Configuration":{"BytesScannedCutoffPerQuery":10000000,"EnforceWorkGroupConfiguration":true,"PublishCloudWatchMetricsEnabled":true,` +
		`"RequesterPaysEnabled":false,"ResultConfiguration":{"OutputLocation":"s3://lake/answers/","ExpectedBucketOwner":"111122223333",` +
		`"EncryptionConfiguration":{"EncryptionOption":"SSE_KMS","KmsKey":"arn:aws:kms:us-east-1:111122223333:key/1"}},` +
		`"EngineVersion":{"SelectedEngineVersion":"Athena engine version 3","EffectiveEngineVersion":"Athena engine version 3"}},` +
		`"CreationTime":1772600767,"Description":"who did what","Name":"audit","State":"ENABLED"}}`
	if status, body := call("AmazonAthena.GetWorkGroup", `{"WorkGroup":"audit"}`); status != http.StatusOK || body != want {
		t.Errorf("%d %s, want %s", status, body, want)
	}
	if status, body := call("AmazonAthena.GetWorkGroup", `{"WorkGroup":"primary"}`); status != http.StatusOK || !strings.Contains(body, `"SelectedEngineVersion":"AUTO"`) {
		t.Errorf("the account's own: %d %s", status, body)
	}
}

func TestNamedQueriesAreListedByPagesAndShown(t *testing.T) {
	s, a := open(t, t.TempDir())
	ids := provision(t, s, group(nil), query("one", nil), query("two", map[string]any{"Description": "the second"}), query("three", nil), query("own", map[string]any{"WorkGroup": "primary"}))
	call := gatetest.Ask(t, s, a, allowed("athena:*", "audit"))
	var page struct {
		NamedQueryIds []string
		NextToken     string
	}
	var listed []string
	for range 2 {
		request := `{"WorkGroup":"audit","MaxResults":2,"NextToken":"` + page.NextToken + `"}`
		page.NextToken = ""
		status, body := call("AmazonAthena.ListNamedQueries", request)
		if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, body, err)
		}
		listed = append(listed, page.NamedQueryIds...)
	}
	if want := slices.Sorted(slices.Values(ids[1:4])); !slices.Equal(listed, want) || page.NextToken != "" {
		t.Errorf("listed %q and %q, want %q", listed, page.NextToken, want)
	}
	want := `{"NamedQuery":{"NamedQueryId":"` + ids[2] + `","Name":"two","Description":"the second","Database":"lake","QueryString":"SELECT 1","WorkGroup":"audit"}}`
	if status, body := call("AmazonAthena.GetNamedQuery", `{"NamedQueryId":"`+ids[2]+`"}`); status != http.StatusOK || body != want {
		t.Errorf("%d %s, want %s", status, body, want)
	}
	call = gatetest.Ask(t, s, a, allowed("athena:*", "audit", "primary"))
	want = `{"NamedQueries":[{"NamedQueryId":"` + ids[1] + `","Name":"one","Database":"lake","QueryString":"SELECT 1","WorkGroup":"audit"}],` +
		`"UnprocessedNamedQueryIds":[{"NamedQueryId":"gone","ErrorCode":"INVALID_INPUT","ErrorMessage":"NamedQuery was not found"}]}`
	if status, body := call("AmazonAthena.BatchGetNamedQuery", `{"NamedQueryIds":["`+ids[1]+`","gone"]}`); status != http.StatusOK || body != want {
		t.Errorf("%d %s, want %s", status, body, want)
	}
}

func TestWhatAthenaDoesNotAnswerIsRefused(t *testing.T) {
	s, a := open(t, t.TempDir())
	provision(t, s, group(nil))
	call := gatetest.Ask(t, s, a, `{"Effect":"Allow","Action":"athena:*","Resource":"*"}`)
	for _, c := range []struct{ operation, body, want string }{
		{"AmazonAthena.CreateWorkGroup", `{}`, "UnknownOperationException"},
		{"GetWorkGroup", `{"WorkGroup":"audit"}`, "UnknownOperationException"},
		{"AmazonAthena.GetWorkGroup", `{"WorkGroup":"gone"}`, "InvalidRequestException"},
		{"AmazonAthena.GetWorkGroup", `{"WorkGroup":"*"}`, "is no name of one"},
		{"AmazonAthena.GetWorkGroup", `{}`, "InvalidRequestException"},
		{"AmazonAthena.GetWorkGroup", `{"WorkGroup":"audit","Version":1}`, `doesn't know the member \"Version\" of GetWorkGroup`},
		{"AmazonAthena.GetWorkGroup", `{`, "SerializationException"},
		{"AmazonAthena.ListNamedQueries", `{"WorkGroup":"gone"}`, "WorkGroup gone is not found."},
		{"AmazonAthena.ListNamedQueries", `{"MaxResults":51}`, "InvalidRequestException"},
		{"AmazonAthena.GetNamedQuery", `{"NamedQueryId":"gone"}`, "NamedQuery gone was not found"},
		{"AmazonAthena.GetNamedQuery", `{}`, "InvalidRequestException"},
		{"AmazonAthena.BatchGetNamedQuery", `{"NamedQueryIds":[]}`, "InvalidRequestException"},
		{"AmazonAthena.BatchGetNamedQuery", `{"NamedQueryIds":[` + strings.Repeat(`"x",`, 50) + `"x"]}`, "InvalidRequestException"},
	} {
		if status, body := call(c.operation, c.body); status != http.StatusBadRequest || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s, want %s", c.operation, c.body, status, body, c.want)
		}
	}
}

func TestEachCallNeedsItsActionOnTheWorkgroup(t *testing.T) {
	s, a := open(t, t.TempDir())
	ids := provision(t, s, group(nil), query("one", nil))
	bodies := map[string]string{
		"GetWorkGroup": `{"WorkGroup":"audit"}`, "ListNamedQueries": `{"WorkGroup":"audit"}`,
		"GetNamedQuery": `{"NamedQueryId":"` + ids[1] + `"}`, "BatchGetNamedQuery": `{"NamedQueryIds":["` + ids[1] + `"]}`,
	}
	for operation, body := range bodies {
		if status, got := gatetest.Ask(t, s, a, allowed("athena:"+operation, "audit"))("AmazonAthena."+operation, body); status != http.StatusOK {
			t.Errorf("%s with its action: %d %s", operation, status, got)
		}
		for _, statement := range []string{allowed("athena:"+operation, "primary"), allowed("athena:StopQueryExecution", "audit")} {
			if status, got := gatetest.Ask(t, s, a, statement)("AmazonAthena."+operation, body); status != http.StatusBadRequest || !strings.Contains(got, "AccessDeniedException") {
				t.Errorf("%s with %s: %d %s", operation, statement, status, got)
			}
		}
	}
	const gone = `{"NamedQueryId":"gone"}`
	if _, body := gatetest.Ask(t, s, a, allowed("athena:*", "audit"))("AmazonAthena.GetNamedQuery", gone); !strings.Contains(body, "AccessDeniedException") {
		t.Errorf("a query that is none, to who may not read those of the account's own workgroup: %s", body)
	}
	if _, body := gatetest.Ask(t, s, a, allowed("athena:*", "primary"))("AmazonAthena.GetNamedQuery", gone); !strings.Contains(body, "was not found") {
		t.Errorf("a query that is none, to who may: %s", body)
	}
}
