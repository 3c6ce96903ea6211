package review_test

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stile-dev/stile/infra/review"
	"github.com/stile-dev/stile/pkg/names"
)

var update = flag.Bool("update", false, "write the golden files")

// account reads the committed templates; package synth's test says that they are what the app declares.
func account(t *testing.T) *review.Account {
	t.Helper()
	raw := map[string][]byte{}
	for _, stack := range []string{"StileData", "StileControl", "StileAudit", "StileFleet"} {
		text, err := os.ReadFile("../templates/" + stack + ".json")
		if err != nil {
			t.Fatal(err)
		}
		raw[stack] = text
	}
	return read(t, raw)
}

func read(t *testing.T, raw map[string][]byte) *review.Account {
	t.Helper()
	a, err := review.Read(raw)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s is out of date (-committed +derived); review the change, then run the test with -update\n%s", path, diff)
	}
}

func TestWhoMayDoWhatIsAsReviewed(t *testing.T) {
	table, err := account(t).Table()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(table, "REFUSED") || strings.Contains(table, "not read here") || strings.Contains(table, "<no output") {
		t.Errorf("the table shows something that can't work or can't be judged:\n%s", table)
	}
	golden(t, "../testdata/who-may.txt", table)
}

func TestTheTemplatesHoldTheReviewedTypesAndProperties(t *testing.T) {
	golden(t, "../testdata/types.txt", account(t).Types())
}

func TestNobodyScansExportsPassesRolesOrUsesPatternsOfActions(t *testing.T) {
	a := account(t)
	for _, s := range allowed(a) {
		for _, action := range s.Actions {
			if forbidden(action) {
				t.Errorf("%s, statement %s: allows %s, which nobody has", s.Where, s.Sid, action)
			}
		}
	}
}

func TestEveryAccessToItemsIsLimitedToPartitionKeysThatArePresent(t *testing.T) {
	for _, role := range account(t).Roles() {
		for _, s := range role.May {
			for _, action := range s.Actions {
				if !slices.Contains(onItems, action) {
					continue
				}
				var like, present bool
				for _, c := range s.Condition {
					like = like || c.Operator == "ForAllValues:StringLike" && c.Key == "dynamodb:LeadingKeys" && !slices.Contains(c.Values, "*")
					present = present || c.Operator == "Null" && c.Key == "dynamodb:LeadingKeys" && slices.Equal(c.Values, []string{"false"})
				}
				if !like || !present {
					t.Errorf("%s, statement %s: %s without ForAllValues:StringLike and Null on dynamodb:LeadingKeys", s.Where, s.Sid, action)
				}
			}
		}
	}
}

func TestSignersAreInvokedByTheirFrontsAlone(t *testing.T) {
	callers := map[string][]string{}
	for _, role := range account(t).Roles() {
		for _, s := range role.May {
			if slices.ContainsFunc(s.Actions, func(action string) bool { return strings.HasPrefix(action, "lambda:Invoke") }) {
				for _, r := range s.Resources {
					name := r[strings.LastIndex(r, ":")+1:]
					callers[name] = append(callers[name], role.Name)
				}
			}
		}
	}
	want := map[string][]string{"stile-sign-user": {"login"}, "stile-sign-host": {"join"}, "stile-publish": {"admin"}, "stile-query": {"sweep"}}
	if diff := cmp.Diff(want, callers); diff != "" {
		t.Errorf("who invokes functions (-want +got):\n%s", diff)
	}
	for _, s := range account(t).Policies() {
		if strings.Contains(s.Where, "Permit") && slices.ContainsFunc(s.Resources, func(r string) bool { return strings.HasPrefix(r, "<FnSign") }) {
			t.Errorf("%s lets a service invoke a signer", s.Where)
		}
	}
}

func allowed(a *review.Account) []review.Statement {
	return slices.DeleteFunc(a.Policies(), func(s review.Statement) bool { return s.Effect != "Allow" })
}

func forbidden(action string) bool {
	for _, part := range []string{"*", "Scan", "PartiQL", "Export", "Import", "PassRole", "CreateGrant", "ReplicateKey", "dynamodb:Restore", "dynamodb:CreateBackup"} {
		if strings.Contains(action, part) {
			return true
		}
	}
	return false
}

// onItems are the actions that dynamodb:LeadingKeys limits.
var onItems = []string{
	"dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:GetItem",
	"dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
}

func TestTablesHaveTheOneShapeAndAreKept(t *testing.T) {
	a := account(t)
	streams := map[string]bool{}
	for _, r := range a.Resources("AWS::DynamoDB::Table") {
		want := map[string]any{
			"KeySchema":                        []any{key("pk", "HASH"), key("sk", "RANGE")},
			"AttributeDefinitions":             []any{attribute("pk"), attribute("sk")},
			"BillingMode":                      "PAY_PER_REQUEST",
			"DeletionProtectionEnabled":        true,
			"PointInTimeRecoverySpecification": map[string]any{"PointInTimeRecoveryEnabled": true},
			"TimeToLiveSpecification":          map[string]any{"AttributeName": "expires", "Enabled": true},
		}
		got := maps.Clone(r.Properties)
		if s, ok := got["StreamSpecification"]; ok {
			streams[r.ID] = cmp.Equal(s, map[string]any{"StreamViewType": "NEW_AND_OLD_IMAGES"})
			delete(got, "StreamSpecification")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r.ID, diff)
		}
	}
	if diff := cmp.Diff(map[string]bool{"TableState": true, "TableLedger": true}, streams); diff != "" {
		t.Errorf("tables with a stream of both images (-want +got):\n%s", diff)
	}
}

func key(name, kind string) any { return map[string]any{"AttributeName": name, "KeyType": kind} }
func attribute(name string) any {
	return map[string]any{"AttributeName": name, "AttributeType": "S"}
}

func TestWhatHoldsDataOutlivesItsStack(t *testing.T) {
	a := account(t)
	for _, r := range a.Resources("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::KMS::Key", "AWS::Events::EventBus") {
		if r.Stack != "StileData" {
			t.Errorf("%s stands in %s; what holds data stands in StileData", r.ID, r.Stack)
		}
		if r.DeletionPolicy != "RetainExceptOnCreate" || r.UpdateReplacePolicy != "Retain" {
			t.Errorf("%s: DeletionPolicy %q, UpdateReplacePolicy %q, want RetainExceptOnCreate and Retain", r.ID, r.DeletionPolicy, r.UpdateReplacePolicy)
		}
	}
}

// A name that was chosen for all time is still taken by what an earlier stack left behind.
func TestNothingThatIsRetainedHasAFixedName(t *testing.T) {
	a := account(t)
	retained := 0
	for _, r := range a.Resources() {
		if r.DeletionPolicy == "" || r.DeletionPolicy == "Delete" {
			continue
		}
		retained++
		for name, value := range r.Properties {
			if text, err := json.Marshal(value); err == nil && strings.HasSuffix(name, "Name") && !strings.Contains(string(text), "AWS::StackId") {
				t.Errorf("%s is retained, and its %s is %s: no second stack could be created", r.ID, name, text)
			}
		}
	}
	if retained == 0 {
		t.Error("nothing is retained")
	}
}

func TestBucketsAreReachedByTLSAloneAndNeverPublic(t *testing.T) {
	a := account(t)
	closed := map[string]bool{}
	for _, s := range a.Policies() {
		for _, c := range s.Condition {
			if s.Effect == "Deny" && slices.Contains(s.Actions, "s3:*") && c.Key == "aws:SecureTransport" && slices.Equal(c.Values, []string{"false"}) && slices.Contains(s.Principal["AWS"], "*") {
				for _, r := range s.Resources {
					closed[r] = true
				}
			}
		}
	}
	for _, r := range a.Resources("AWS::S3::Bucket") {
		if !closed["<"+r.ID+">"] || !closed["<"+r.ID+">/*"] {
			t.Errorf("%s: no policy denies what comes without TLS", r.ID)
		}
		want := map[string]any{"BlockPublicAcls": true, "BlockPublicPolicy": true, "IgnorePublicAcls": true, "RestrictPublicBuckets": true}
		if diff := cmp.Diff(want, r.Properties["PublicAccessBlockConfiguration"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r.ID, diff)
		}
	}
}

func TestEveryFunctionAndImageNamesItsBinary(t *testing.T) {
	for _, r := range account(t).Resources("AWS::Lambda::Function", "Custom::StileImage") {
		if name, _ := r.Metadata["stile:binary"].(string); name == "" {
			t.Errorf("%s has no metadata stile:binary", r.ID)
		}
	}
}

// Whoever may write into the partitions of another writer's events can change or forge what that one says.
func TestSec_S63_EachWriterWritesItsOwnEventsAlone(t *testing.T) {
	var writers []string
	for _, role := range account(t).Roles() {
		own := []string{"event#function/" + role.Name + "#*"}
		if role.Name == "fleet" {
			own = []string{"event#proxy#*", "event#agent#*"}
		}
		for _, s := range role.May {
			for _, c := range s.Condition {
				for _, value := range c.Values {
					if !strings.HasPrefix(value, "event") {
						continue
					}
					if slices.Equal(s.Actions, []string{"dynamodb:GetItem"}) || slices.Equal(s.Actions, []string{"dynamodb:Query"}) { // reading forges nothing
						continue
					}
					writers = append(writers, strings.TrimSuffix(strings.TrimPrefix(value, "event#"), "#*"))
					if !slices.Contains(own, value) || !slices.Equal(s.Actions, []string{"dynamodb:PutItem"}) {
						t.Errorf("%s may %v %s", role.Name, s.Actions, value)
					}
				}
			}
		}
	}
	slices.Sort(writers)
	if want := slices.Sorted(slices.Values(names.Writers)); !slices.Equal(writers, want) {
		t.Errorf("events are written by %v, and readers look for those of %v", writers, want)
	}
}

// An organisation that demands a boundary refuses a role without it, and one forgotten role fails a whole deployment.
func TestEveryRoleTakesTheBoundaryThatIsAskedFor(t *testing.T) {
	want := map[string]any{"Fn::If": []any{"HasBoundary", map[string]any{"Ref": "PermissionsBoundary"}, map[string]any{"Ref": "AWS::NoValue"}}}
	for _, r := range account(t).Resources("AWS::IAM::Role") {
		if diff := cmp.Diff(any(want), r.Properties["PermissionsBoundary"]); diff != "" {
			t.Errorf("%s.%s (-want +got):\n%s", r.Stack, r.ID, diff)
		}
	}
}
