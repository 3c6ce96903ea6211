package dynamodb_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/stile-dev/stile/localstack/dynamodb"
	"github.com/stile-dev/stile/localstack/resource"
)

const tableJSON = `{"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"S"}],
 "KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],"BillingMode":"PAY_PER_REQUEST",
 "PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true},"SSESpecification":{"SSEEnabled":true,"SSEType":"KMS"},
 "StreamSpecification":{"StreamViewType":"NEW_IMAGE"},"TimeToLiveSpecification":{"AttributeName":"expires","Enabled":true},
 "DeletionProtectionEnabled":true,"Tags":[{"Key":"team","Value":"core"}]}`

const globalJSON = `{"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],
 "BillingMode":"PAY_PER_REQUEST","StreamSpecification":{"StreamViewType":"NEW_AND_OLD_IMAGES"},"SSESpecification":{"SSEEnabled":false},
 "TimeToLiveSpecification":{"AttributeName":"expires","Enabled":true},
 "Replicas":[{"Region":"eu-west-1","DeletionProtectionEnabled":true,"PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true},"Tags":[{"Key":"a","Value":"b"}],"TableClass":"STANDARD"}]}`

func declared(t testing.TB, kind, text string, change map[string]any) resource.Resource {
	t.Helper()
	properties := map[string]any{}
	if err := json.Unmarshal([]byte(text), &properties); err != nil {
		t.Fatal(err)
	}
	maps.Copy(properties, change)
	return resource.Resource{Stack: "Data", StackID: "arn:aws:cloudformation:eu-west-1:111122223333:stack/Data/u", LogicalID: "StateTable", Type: kind, Properties: properties}
}

func TestProvisioningTwiceChangesNothing(t *testing.T) {
	for kind, text := range map[string]string{"AWS::DynamoDB::Table": tableJSON, "AWS::DynamoDB::GlobalTable": globalJSON} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, func(c *dynamodb.Config) { c.Dir = dir })
			first, err := s.Provision(declared(t, kind, text, nil))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(first.Ref, "Data-StateTable-") || first.Attributes["Arn"] != "arn:aws:dynamodb:eu-west-1:111122223333:table/"+first.Ref {
				t.Errorf("got %+v", first)
			}
			again := declared(t, kind, text, nil)
			again.PhysicalID = first.Ref
			second, err := s.Provision(again)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first, second); diff != "" {
				t.Error(diff)
			}
			c := client(t, s)
			ttl, err := c.DescribeTimeToLive(t.Context(), &sdk.DescribeTimeToLiveInput{TableName: &first.Ref})
			if err != nil || aws.ToString(ttl.TimeToLiveDescription.AttributeName) != "expires" {
				t.Errorf("time to live: %+v, %v", ttl, err)
			}
			_, err = c.DeleteTable(t.Context(), &sdk.DeleteTableInput{TableName: &first.Ref})
			refused(t, err, "ValidationException", "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
		})
	}
}

func TestChangedPropertiesAreAppliedAndAChangedKeyIsRefused(t *testing.T) {
	s := open(t)
	named := map[string]any{"TableName": "state"}
	if _, err := s.Provision(declared(t, "AWS::DynamoDB::Table", tableJSON, named)); err != nil {
		t.Fatal(err)
	}
	named["TimeToLiveSpecification"] = map[string]any{"AttributeName": "gone", "Enabled": "true"}
	named["DeletionProtectionEnabled"] = false
	if _, err := s.Provision(declared(t, "AWS::DynamoDB::Table", tableJSON, named)); err != nil {
		t.Fatal(err)
	}
	c := client(t, s)
	ttl, err := c.DescribeTimeToLive(t.Context(), &sdk.DescribeTimeToLiveInput{TableName: aws.String("state")})
	if err != nil || aws.ToString(ttl.TimeToLiveDescription.AttributeName) != "gone" {
		t.Errorf("time to live: %+v, %v", ttl, err)
	}
	named["KeySchema"] = []any{map[string]any{"AttributeName": "sk", "KeyType": "HASH"}, map[string]any{"AttributeName": "pk", "KeyType": "RANGE"}}
	if _, err := s.Provision(declared(t, "AWS::DynamoDB::Table", tableJSON, named)); err == nil || !strings.Contains(err.Error(), "KeySchema") {
		t.Errorf("a changed key: %v", err)
	}
}

func TestPropertiesThatAreNotServedAreRefusedByName(t *testing.T) {
	s := open(t)
	for name, v := range map[string]any{
		"GlobalSecondaryIndexes":     []any{map[string]any{"IndexName": "i"}},
		"LocalSecondaryIndexes":      []any{map[string]any{"IndexName": "i"}},
		"KinesisStreamSpecification": map[string]any{"StreamArn": "a"},
		"Unheard":                    "of",
		"StreamSpecification":        map[string]any{"StreamViewType": "EVERYTHING"},
		"TimeToLiveSpecification":    map[string]any{"AttributeName": "a", "Enabled": true, "More": 1},
		"KeySchema":                  []any{map[string]any{"AttributeName": "nope", "KeyType": "HASH"}},
		"TableName":                  "a b",
		"ResourcePolicy":             map[string]any{"PolicyDocument": map[string]any{"Statement": "none"}},
	} {
		_, err := s.Provision(declared(t, "AWS::DynamoDB::Table", tableJSON, map[string]any{name: v}))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := s.Provision(declared(t, "AWS::DynamoDB::GlobalTable", globalJSON, map[string]any{"Replicas": []any{map[string]any{"Region": "us-east-1"}}}))
	if err == nil || !strings.Contains(err.Error(), "Replicas") {
		t.Errorf("a replica elsewhere: %v", err)
	}
	if names, err := client(t, s).ListTables(t.Context(), &sdk.ListTablesInput{}); err != nil || len(names.TableNames) != 0 {
		t.Errorf("refused tables exist: %v %v", names.TableNames, err)
	}
}

func TestAResourcePolicyDecidesToo(t *testing.T) {
	s := open(t)
	doc := map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Deny", "Principal": "*", "Action": "dynamodb:DeleteItem", "Resource": "*",
	}}}
	if _, err := s.Provision(declared(t, "AWS::DynamoDB::Table", tableJSON, map[string]any{"TableName": "state", "ResourcePolicy": map[string]any{"PolicyDocument": doc}})); err != nil {
		t.Fatal(err)
	}
	c := client(t, s)
	put(t, c, "state", key("a", "1"))
	_, err := c.DeleteItem(t.Context(), &sdk.DeleteItemInput{TableName: aws.String("state"), Key: key("a", "1")})
	allowed(t, "delete", false, err)
}
