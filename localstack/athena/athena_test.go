package athena_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/localstack/athena"
	"github.com/stile-dev/stile/localstack/gate/gatetest"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

const account = "111122223333"

// nowhere and nothing are for tests that ask no query.
type (
	nowhere struct{ athena.Buckets }
	nothing struct{ athena.Catalog }
)

// when is the time of the tests.
var when = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func open(t testing.TB, dir string) (*athena.Service, *iam.Authority) {
	t.Helper()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	s, err := athena.Open(athena.Config{Dir: dir, Authority: a, Buckets: nowhere{}, Catalog: nothing{}, Now: func() time.Time { return when }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), a.Close()); err != nil {
			t.Error(err)
		}
	})
	return s, a
}

// group is a workgroup of which edit changes the configuration and the properties.
func group(edit func(configuration, properties map[string]any)) resource.Resource {
	configuration := map[string]any{
		"BytesScannedCutoffPerQuery": json.Number("10000000"), "EnforceWorkGroupConfiguration": "true", "PublishCloudWatchMetricsEnabled": true,
		"EngineVersion": map[string]any{"SelectedEngineVersion": "Athena engine version 3"},
		"ResultConfiguration": map[string]any{
			"OutputLocation": "s3://lake/answers/", "ExpectedBucketOwner": account,
			"EncryptionConfiguration": map[string]any{"EncryptionOption": "SSE_KMS", "KmsKey": "arn:aws:kms:us-east-1:" + account + ":key/1"},
		},
	}
	properties := map[string]any{"Name": "audit", "Description": "who did what", "State": "ENABLED", "WorkGroupConfiguration": configuration}
	if edit != nil {
		edit(configuration, properties)
	}
	return resource.Resource{Stack: "Data", StackID: "id", LogicalID: "Group", Type: "AWS::Athena::WorkGroup", Properties: properties}
}

func query(logical string, more map[string]any) resource.Resource {
	properties := map[string]any{"Name": logical, "Database": "lake", "QueryString": "SELECT 1", "WorkGroup": "audit"}
	maps.Copy(properties, more)
	return resource.Resource{Stack: "Data", StackID: "id", LogicalID: logical, Type: "AWS::Athena::NamedQuery", Properties: properties}
}

// provision makes resources and returns their physical ids.
func provision(t testing.TB, s *athena.Service, list ...resource.Resource) (ids []string) {
	t.Helper()
	for _, r := range list {
		out, err := s.Provision(r)
		if err != nil || out.Ref == "" {
			t.Fatalf("%s: %+v %v", r.LogicalID, out, err)
		}
		ids = append(ids, out.Ref)
	}
	return ids
}

func TestAWorkgroupIsMadeOnceAndChanged(t *testing.T) {
	s, _ := open(t, t.TempDir())
	out, err := s.Provision(group(nil))
	if err != nil || out.Ref != "audit" || out.Attributes["WorkGroupConfiguration.EngineVersion.EffectiveEngineVersion"] != "Athena engine version 3" || out.Attributes["CreationTime"] != fmt.Sprint(when.Unix()) {
		t.Fatalf("%+v %v", out, err)
	}
	if _, err := s.Provision(group(nil)); !errors.Is(err, resource.ErrExists) {
		t.Errorf("a second time: %v", err)
	}
	changed := group(func(_, properties map[string]any) { properties["State"] = "DISABLED" })
	changed.PhysicalID = "audit"
	provision(t, s, changed)
	changed.Properties["Name"] = "other"
	if _, err := s.Provision(changed); err == nil || !strings.Contains(err.Error(), "cannot be renamed") {
		t.Errorf("under another name: %v", err)
	}
}

func TestAWorkgroupThatAthenaWouldRefuseIsRefused(t *testing.T) {
	s, _ := open(t, t.TempDir())
	set := func(name string, value any) func(c, p map[string]any) {
		return func(c, _ map[string]any) { c[name] = value }
	}
	property := func(name string, value any) func(c, p map[string]any) {
		return func(_, p map[string]any) { p[name] = value }
	}
	result := func(name string, value any) func(c, p map[string]any) {
		return func(c, _ map[string]any) { c["ResultConfiguration"].(map[string]any)[name] = value }
	}
	for _, c := range []struct {
		want string
		edit func(configuration, properties map[string]any)
	}{
		{"BytesScannedCutoffPerQuery: 9999999 is less than 10000000", set("BytesScannedCutoffPerQuery", json.Number("9999999"))},
		{"\"-\" is not a whole number", set("BytesScannedCutoffPerQuery", "-")},
		{"\"maybe\" is not a boolean", set("EnforceWorkGroupConfiguration", "maybe")},
		{"SelectedEngineVersion: \"Athena engine version 2\" is not supported", set("EngineVersion", map[string]any{"SelectedEngineVersion": "Athena engine version 2"})},
		{"unknown field \"EffectiveEngineVersion\"", set("EngineVersion", map[string]any{"EffectiveEngineVersion": "Athena engine version 3"})},
		{"unknown field \"ExecutionRole\"", set("ExecutionRole", "arn:aws:iam::1:role/x")},
		{"OutputLocation: \"lake/answers/\" is not s3://", result("OutputLocation", "lake/answers/")},
		{"OutputLocation: \"s3://lake/answers\" is not s3://", result("OutputLocation", "s3://lake/answers")},
		{"OutputLocation: \"s3://lake\" is not s3://", result("OutputLocation", "s3://lake")},
		{"ExpectedBucketOwner: \"me\" is not the id of an account", result("ExpectedBucketOwner", "me")},
		{"EncryptionOption: \"AES\" is none of SSE_S3", result("EncryptionConfiguration", map[string]any{"EncryptionOption": "AES"})},
		{"KmsKey: is missing, which SSE_KMS needs", result("EncryptionConfiguration", map[string]any{"EncryptionOption": "SSE_KMS"})},
		{"KmsKey: SSE_S3 has none", result("EncryptionConfiguration", map[string]any{"EncryptionOption": "SSE_S3", "KmsKey": "k"})},
		{"S3AclOption: \"PRIVATE\" is not", result("AclConfiguration", map[string]any{"S3AclOption": "PRIVATE"})},
		{"Name: \"\" is none", property("Name", "")},
		{"Name: \"primary\" is none", property("Name", "primary")},
		{"Name: \"a b\" is none", property("Name", "a b")},
		{"State: \"ON\" is neither", property("State", "ON")},
		{"Description: it is longer than 1024", property("Description", strings.Repeat("x", 1025))},
		{"unknown field \"WorkGroupConfigurationUpdates\"", property("WorkGroupConfigurationUpdates", map[string]any{})},
	} {
		if _, err := s.Provision(group(c.edit)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want …%s…", err, c.want)
		}
	}
	bare := resource.Resource{LogicalID: "Bare", Type: "AWS::Athena::WorkGroup", Properties: map[string]any{"Name": "bare"}}
	provision(t, s, bare)
	if _, err := s.Provision(resource.Resource{Type: "AWS::Athena::DataCatalog"}); err == nil {
		t.Error("a data catalog was made")
	}
}

func TestANamedQueryIsReplacedAndNeverChanged(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	if _, err := s.Provision(query("one", nil)); err == nil || !strings.Contains(err.Error(), "there is no workgroup \"audit\"") {
		t.Errorf("without its workgroup: %v", err)
	}
	ids := provision(t, s, group(nil), query("one", nil), query("two", nil))
	if ids[1] == ids[2] || len(ids[1]) != 36 {
		t.Errorf("ids %q", ids)
	}
	again := query("one", nil)
	if _, err := s.Provision(again); !errors.Is(err, resource.ErrExists) {
		t.Errorf("a second time: %v", err)
	}
	again.Begun = true // its deployment was interrupted
	if got := provision(t, s, again); got[0] != ids[1] {
		t.Errorf("after an interruption it is %s, and was %s", got[0], ids[1])
	}
	again.Begun, again.PhysicalID = false, ids[1]
	provision(t, s, again)
	again.Properties["QueryString"] = "SELECT 2"
	if _, err := s.Provision(again); err == nil || !strings.Contains(err.Error(), "is replaced and not changed") {
		t.Errorf("changed in its place: %v", err)
	}
	again.PhysicalID, again.Generation = "", 1
	if got := provision(t, s, again); got[0] == ids[1] {
		t.Error("what replaces a query has its id")
	}
}

func TestANamedQueryThatAthenaWouldRefuseIsRefused(t *testing.T) {
	s, _ := open(t, t.TempDir())
	for want, more := range map[string]map[string]any{
		"Name is missing":                       {"Name": ""},
		"Database is missing":                   {"Database": ""},
		"QueryString is missing":                {"QueryString": ""},
		"Name: it is longer than 128":           {"Name": strings.Repeat("x", 129)},
		"Database: it is longer than 255":       {"Database": strings.Repeat("x", 256)},
		"Description: it is longer than 1024":   {"Description": strings.Repeat("x", 1025)},
		"QueryString: it is longer than 262144": {"QueryString": strings.Repeat("x", 262145)},
		"unknown field \"Tags\"":                {"Tags": []any{}},
		"there is no workgroup \"\\n\"":         {"WorkGroup": "\n"},
	} {
		if _, err := s.Provision(query("one", more)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
}

func TestAWorkgroupGoesWithItsQueriesOnlyIfItSaysSo(t *testing.T) {
	dir := t.TempDir()
	s, a := open(t, dir)
	list := []resource.Resource{group(nil), query("other", map[string]any{"WorkGroup": "primary"})}
	for i := range 60 {
		list = append(list, query(fmt.Sprint("q", i), nil))
	}
	provision(t, s, list...)
	gone := group(nil)
	gone.PhysicalID = "audit"
	if err := s.Remove(gone); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("with queries: %v", err)
	}
	gone.Properties["RecursiveDeleteOption"] = "true"
	for range 2 {
		if err := s.Remove(gone); err != nil {
			t.Fatal(err)
		}
	}
	call := gatetest.Ask(t, s, a, allowed("athena:*", "audit", "primary"))
	if _, body := call("AmazonAthena.GetWorkGroup", `{"WorkGroup":"audit"}`); !strings.Contains(body, "WorkGroup audit is not found.") {
		t.Errorf("the workgroup is %s", body)
	}
	var left struct{ NamedQueryIds []string }
	if _, body := call("AmazonAthena.ListNamedQueries", `{}`); json.Unmarshal([]byte(body), &left) != nil || len(left.NamedQueryIds) != 1 {
		t.Errorf("of the account's own workgroup are left %s", body)
	}
	other := query("other", nil)
	other.PhysicalID = left.NamedQueryIds[0]
	if err := s.Remove(other); err != nil {
		t.Fatal(err)
	}
	if _, body := call("AmazonAthena.ListNamedQueries", `{}`); body != `{"NamedQueryIds":[]}` {
		t.Errorf("after the last one went: %s", body)
	}
}

func TestWhatWasMadeOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	a, err := iam.Open(iam.Config{Dir: t.TempDir(), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	var ids []string
	for i := range 2 {
		s, err := athena.Open(athena.Config{Dir: dir, Authority: a, Buckets: nowhere{}, Catalog: nothing{}})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			ids = provision(t, s, group(nil), query("one", nil))
		} else if _, body := gatetest.Ask(t, s, a, allowed("athena:*", "audit"))("AmazonAthena.ListNamedQueries", `{"WorkGroup":"audit"}`); !slices.Contains(ids, "audit") || !strings.Contains(body, ids[1]) {
			t.Errorf("opened again it lists %s, want %q", body, ids)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
