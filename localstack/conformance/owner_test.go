package conformance_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"
)

// operator is the configuration of whoever runs the suite on the stand-in.
func (f *fake) operator() aws.Config {
	return aws.Config{Region: localRegion, Credentials: static(f.admin), BaseEndpoint: &f.server.URL}
}

func TestCleaningDeletesWhatARunLeftAndNothingElse(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	t.Parallel()
	f := newFake(t)
	f.stack(mine+"-store", mine)
	f.stack(mine+"-by-hand", "")
	f.stack(another+"-store", another)
	run, out := suite(t, f, "-endpoint", "aws", "-goldens", t.TempDir(), "-prefix", mine, "-test.run", "^$")
	if err := run.Run(); err == nil || !strings.Contains(out.String(), "1 stacks of prefix "+mine+" are there already") {
		t.Errorf("a run on a prefix that is taken: %v: %s", err, out)
	}
	clean(t, f)
	if diff := cmp.Diff([]string{mine + "-by-hand", another + "-store"}, f.standing()); diff != "" {
		t.Errorf("stacks that stay: %s", diff)
	}
}

// clean deletes what a run with our prefix left.
func clean(t *testing.T, f *fake) {
	t.Helper()
	run, out := suite(t, f, "-endpoint", "aws", "-prefix", mine, "-clean")
	if err := run.Run(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestCleaningDeletesTheTablesThatHaveTheRunsTag(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	t.Parallel()
	f := newFake(t)
	client := dynamodb.NewFromConfig(f.operator())
	for name, owner := range map[string]string{
		mine + "-test-left": mine, mine + "-own": mine, mine + "-test-by-hand": "", mine + "-test-another": another, another + "-test-left": another,
	} {
		if err := newTable(t.Context(), client, name, owner); err != nil {
			t.Fatal(err)
		}
	}
	clean(t, f)
	listed, err := client.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{mine + "-own", mine + "-test-another", mine + "-test-by-hand", another + "-test-left"}
	if diff := cmp.Diff(want, listed.TableNames); diff != "" {
		t.Errorf("tables that stay: %s", diff)
	}
}

func TestCleaningDeletesTheAliasesOfKeysThatHaveTheRunsTag(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	t.Parallel()
	f := newFake(t)
	client := kms.NewFromConfig(f.operator())
	for alias, owner := range map[string]string{
		mine + "-left": mine, "kept-of-mine": mine, mine + "-by-hand": "", mine + "-another": another, another + "-left": another,
	} {
		made, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify})
		if err != nil {
			t.Fatal(err)
		}
		f.keys[*made.KeyMetadata.KeyId] = owner
		_, err = client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/" + alias), TargetKeyId: made.KeyMetadata.KeyId})
		if err != nil {
			t.Fatal(err)
		}
	}
	clean(t, f)
	var names []string
	listed, err := client.ListAliases(t.Context(), &kms.ListAliasesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range listed.Aliases {
		names = append(names, strings.TrimPrefix(*a.AliasName, "alias/"))
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"kept-of-mine", mine + "-another", mine + "-by-hand", another + "-left"}, names); diff != "" {
		t.Errorf("aliases that stay: %s", diff)
	}
	for _, id := range slices.Sorted(maps.Keys(f.keys)) {
		told, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		if err != nil || told.KeyMetadata.KeyState != types.KeyStateEnabled {
			t.Errorf("a key of %q is not as it was: %v", f.keys[id], err)
		}
	}
}

func TestARunLeavesStacksOfOthersAlone(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	t.Parallel()
	for _, owner := range []string{"", another} {
		f := newFake(t)
		f.stack(mine+"-store", owner)
		run, out := suite(t, f, "-endpoint", "aws", "-goldens", t.TempDir(), "-prefix", mine, "-test.run", "^$")
		if err := run.Run(); err == nil || !strings.Contains(out.String(), "leave PREFIX out for a new prefix") {
			t.Errorf("tag %q: %v: %s", owner, err, out)
		}
		if s := f.stacks[0]; len(f.stacks) != 1 || s.Status != "CREATE_COMPLETE" || s.Tag != owner {
			t.Errorf("tag %q: the stack is %s with tag %q now, of %d", owner, s.Status, s.Tag, len(f.stacks))
		}
	}
}
