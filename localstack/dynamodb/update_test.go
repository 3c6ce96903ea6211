package dynamodb_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stile-dev/stile/localstack/dynamodb"
)

// restored makes a table as a restore to a point in time does: without stream, expiry and protection.
func restored(t *testing.T, s *dynamodb.Server) *sdk.Client {
	t.Helper()
	c := client(t, s)
	if _, err := c.CreateTable(t.Context(), &sdk.CreateTableInput{
		TableName: aws.String("restored"), BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}, {AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
		},
	}); err != nil {
		t.Fatal(err)
	}
	return c
}

func stream(on bool) *sdk.UpdateTableInput {
	spec := &types.StreamSpecification{StreamEnabled: aws.Bool(on)}
	if on {
		spec.StreamViewType = types.StreamViewTypeNewAndOldImages
	}
	return &sdk.UpdateTableInput{TableName: aws.String("restored"), StreamSpecification: spec}
}

func expiry(attribute string, on bool) *sdk.UpdateTimeToLiveInput {
	return &sdk.UpdateTimeToLiveInput{
		TableName: aws.String("restored"), TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &attribute, Enabled: &on},
	}
}

func TestStreamExpiryAndProtectionAreSwitchedOnAndOff(t *testing.T) {
	c := restored(t, open(t))
	states := map[bool]string{true: "an enabled", false: "a disabled"}
	for _, on := range []bool{true, false} {
		told, err := c.UpdateTable(t.Context(), stream(on))
		if err != nil || (told.TableDescription.StreamSpecification != nil) != on {
			t.Errorf("stream %v: %+v, %v", on, told, err)
		}
		_, err = c.UpdateTable(t.Context(), stream(on))
		refused(t, err, "ValidationException", "Table already has "+states[on]+" stream: TableName: restored")
		if _, err := c.UpdateTimeToLive(t.Context(), expiry("expires", on)); err != nil {
			t.Errorf("expiry %v: %v", on, err)
		}
		_, err = c.UpdateTimeToLive(t.Context(), expiry("expires", on))
		refused(t, err, "ValidationException", "TimeToLive is already "+strings.Fields(states[on])[1])
		told, err = c.UpdateTable(t.Context(), &sdk.UpdateTableInput{TableName: aws.String("restored"), DeletionProtectionEnabled: &on})
		if err != nil || aws.ToBool(told.TableDescription.DeletionProtectionEnabled) != on {
			t.Errorf("protection %v: %+v, %v", on, told, err)
		}
	}
}

func TestAnUpdateThatChangesNothingOrNoTableIsRefused(t *testing.T) {
	c := restored(t, open(t))
	_, err := c.UpdateTable(t.Context(), &sdk.UpdateTableInput{TableName: aws.String("restored")})
	refused(t, err, "ValidationException", "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required")
	_, err = c.UpdateTable(t.Context(), &sdk.UpdateTableInput{TableName: aws.String("nowhere"), DeletionProtectionEnabled: aws.Bool(true)})
	refused(t, err, "ResourceNotFoundException", "Requested resource not found: Table: nowhere not found")
	_, err = c.UpdateTimeToLive(t.Context(), expiry("", true))
	refused(t, err, "ValidationException", "TimeToLive AttributeName cannot be empty")
	if _, err := c.UpdateTimeToLive(t.Context(), expiry("expires", true)); err != nil {
		t.Fatal(err)
	}
	_, err = c.UpdateTimeToLive(t.Context(), expiry("other", false))
	refused(t, err, "ValidationException", "TimeToLive is active on a different AttributeName: current AttributeName is expires")
}

// What exists under a fixed name is taken over only on demand, and only as it is declared: CloudFormation changes nothing of
// what it imports.
func TestATableIsTakenOverAsItIsOrNotAtAll(t *testing.T) {
	s := open(t)
	c := restored(t, s)
	take := func(importing bool) error {
		r := declared(t, "", map[string]any{"TableName": "restored"})
		r.Import = importing
		out, err := s.Provision(r)
		if err == nil && (out.Ref != "restored" || out.Attributes["StreamArn"] == nil) {
			t.Errorf("taken over as %+v", out)
		}
		return err
	}
	wants := func(importing bool, word string) {
		t.Helper()
		if err := take(importing); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("got %v, want %s", err, word)
		}
	}
	wants(false, "ImportExistingResources")
	wants(true, "StreamSpecification")
	if _, err := c.UpdateTable(t.Context(), stream(true)); err != nil {
		t.Fatal(err)
	}
	wants(true, "TimeToLiveSpecification")
	if _, err := c.UpdateTimeToLive(t.Context(), expiry("expires", true)); err != nil {
		t.Fatal(err)
	}
	wants(true, "DeletionProtectionEnabled")
	if _, err := c.UpdateTable(t.Context(), &sdk.UpdateTableInput{TableName: aws.String("restored"), DeletionProtectionEnabled: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	wants(false, "ImportExistingResources")
	if err := take(true); err != nil {
		t.Errorf("as it is declared: %v", err)
	}
	renamed := declared(t, "restored", map[string]any{"TableName": "another"})
	if _, err := s.Provision(renamed); err == nil || !strings.Contains(err.Error(), "logical id") {
		t.Errorf("renamed: %v", err)
	}
}
