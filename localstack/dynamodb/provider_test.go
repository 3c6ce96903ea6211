package dynamodb_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/resource"
)

const tableJSON = `{"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"S"}],
 "KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],"BillingMode":"PAY_PER_REQUEST",
 "PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true},"StreamSpecification":{"StreamViewType":"NEW_AND_OLD_IMAGES"},
 "TimeToLiveSpecification":{"AttributeName":"expires","Enabled":true},"DeletionProtectionEnabled":true}`

// declared is a table as templates declare it; name is its name from the deployment before.
func declared(t testing.TB, name string, change map[string]any) resource.Resource {
	t.Helper()
	properties := map[string]any{}
	if err := json.Unmarshal([]byte(tableJSON), &properties); err != nil {
		t.Fatal(err)
	}
	maps.Copy(properties, change)
	return resource.Resource{
		Stack: "Data", StackID: "arn:aws:cloudformation:eu-west-1:111122223333:stack/Data/u", LogicalID: "StateTable",
		Type: "AWS::DynamoDB::Table", Properties: properties, PhysicalID: name,
	}
}

func TestProvisioningTwiceChangesNothing(t *testing.T) {
	s := open(t)
	first, err := s.Provision(declared(t, "", nil))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first.Ref, "Data-StateTable-") || first.Attributes["Arn"] != "arn:aws:dynamodb:eu-west-1:111122223333:table/"+first.Ref {
		t.Errorf("got %+v", first)
	}
	second, err := s.Provision(declared(t, first.Ref, nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	_, err = client(t, s).DeleteTable(t.Context(), &sdk.DeleteTableInput{TableName: &first.Ref})
	refused(t, err, "ValidationException", "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
}

func TestChangedPropertiesAreAppliedAndAChangedKeyIsRefused(t *testing.T) {
	s := open(t)
	change := map[string]any{}
	if _, err := s.Provision(declared(t, "state", change)); err != nil {
		t.Fatal(err)
	}
	change["DeletionProtectionEnabled"] = false
	if _, err := s.Provision(declared(t, "state", change)); err != nil {
		t.Fatal(err)
	}
	out, err := client(t, s).DescribeTable(t.Context(), &sdk.DescribeTableInput{TableName: aws.String("state")})
	if err != nil || aws.ToBool(out.Table.DeletionProtectionEnabled) {
		t.Errorf("protected still: %+v, %v", out, err)
	}
	change["KeySchema"] = []any{map[string]any{"AttributeName": "sk", "KeyType": "HASH"}, map[string]any{"AttributeName": "pk", "KeyType": "RANGE"}}
	if _, err := s.Provision(declared(t, "state", change)); err == nil || !strings.Contains(err.Error(), "KeySchema") {
		t.Errorf("a changed key: %v", err)
	}
}

func TestPropertiesThatAreNotServedAreRefusedByName(t *testing.T) {
	s := open(t)
	for _, c := range []struct {
		property string
		value    any
		want     string
	}{
		{"GlobalSecondaryIndexes", []any{map[string]any{"IndexName": "i"}}, "GlobalSecondaryIndexes"},
		{"ResourcePolicy", map[string]any{"PolicyDocument": map[string]any{}}, "ResourcePolicy"},
		{"TableName", "a b", "TableName"},
		{"StreamSpecification", map[string]any{"StreamViewType": "EVERYTHING"}, "treamViewType"},
		{"TimeToLiveSpecification", map[string]any{"AttributeName": "a", "Enabled": true, "More": 1}, "TimeToLiveSpecification.More"},
		{"KeySchema", []any{map[string]any{"AttributeName": "nope", "KeyType": "HASH"}}, "KeySchema"},
	} {
		_, err := s.Provision(declared(t, "", map[string]any{c.property: c.value}))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.property, err)
		}
	}
	if names, err := client(t, s).ListTables(t.Context(), &sdk.ListTablesInput{}); err != nil || len(names.TableNames) != 0 {
		t.Errorf("refused tables exist: %v %v", names.TableNames, err)
	}
}
