package conformance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/go-cmp/cmp"
)

// suite is a run of this suite as somebody starts it on an account, which is a fake one here.
func suite(t *testing.T, f *fake, arguments ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.parallel", "8"}, arguments...)...)
	cmd.Env = f.environment()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

func TestARunOnAnAccountRecordsAndCleansUp(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	t.Parallel()
	f, into := newFake(t), filepath.Join(t.TempDir(), "goldens")
	f.broken = "TrentService.VerifyMac" // so that one behaviour is not as it should be
	run, out := suite(t, f, "-endpoint", "aws", "-goldens", into, "-prefix", mine,
		"-test.run", "^(TestAPIGatewayPaths|TestCloudFormationWalks|TestASignature|TestMacs|TestIfNoneMatch|TestDynamoDBTransactions|"+
			"TestLambdaAnswers|TestStreamsSet)")
	err := run.Run()
	for _, want := range []string{"account  " + localAccount, "Region   us-east-1", "prefix   " + mine, "PREFIX=" + mine + " CLEAN=1", "Nothing stays but"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the run doesn't say %q", want)
		}
	}
	if !strings.Contains(out.String(), "--- FAIL: TestMacs") || strings.Count(out.String(), "--- FAIL") != 1 || err == nil {
		t.Errorf("%v: %s", err, out)
	}
	if left := f.standing(); len(left) != 0 {
		t.Errorf("stacks stay: %v", left)
	}
	for _, s := range f.stacks {
		if s.Tag != mine || !strings.HasPrefix(s.Name, mine+"-") {
			t.Errorf("stack %s has tag %q", s.Name, s.Tag)
		}
		if bucket := s.Outputs["Bucket"]; bucket != "" && len(f.objects(bucket)) != 0 {
			t.Errorf("bucket %s was not emptied: %v", bucket, f.objects(bucket))
		}
	}
	for id, want := range map[string]string{
		"kms/sign/digest": held, "kms/mac": notHeld, "s3/if-none-match/first": held, "dynamodb/transaction/reasons": held,
		"streams/mapping/failure-destination": failure,
		"apigateway/path/stage":               "resource /v1/plain\npath /v1/plain\nrequestContext.path /prod/v1/plain",
	} {
		service, _, _ := strings.Cut(id, "/")
		if got := golden(t, into, service+".golden")[id]; got != want {
			t.Errorf("%s was recorded as %q", id, got)
		}
	}
}

func golden(t *testing.T, dir, file string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, file))
	var one map[string]string
	if err == nil {
		err = json.Unmarshal(raw, &one)
	}
	if err != nil {
		t.Error(err)
	}
	return one
}

func TestAnInterruptedRunCleansUp(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	t.Parallel()
	f := newFake(t)
	run, out := suite(t, f, "-endpoint", "aws", "-goldens", t.TempDir(), "-prefix", mine, "-test.run", "^TestLambdaTries")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	for name := range f.made {
		if name == mine+"-world" {
			break
		}
	}
	if err := run.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := run.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err) // of itself: a signal that ended it would have no code
	if !ok || exit.ExitCode() != 1 || !strings.Contains(out.String(), "Interrupted; cleaning up") {
		t.Errorf("%v: %s", err, out)
	}
	if left := f.standing(); len(left) != 0 {
		t.Errorf("stacks stay: %v", left)
	}
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
	client := kms.NewFromConfig(aws.Config{Region: localRegion, Credentials: static(f.admin), BaseEndpoint: &f.endpoint})
	state := map[string]string{}
	policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + localAccount + `:root"},"Action":"kms:*","Resource":"*"}}`
	for _, owner := range []string{mine, another} {
		made, err := client.CreateKey(t.Context(), newKey(&policy))
		if err != nil {
			t.Fatal(err)
		}
		f.keys[*made.KeyMetadata.KeyId] = owner
	}
	tables := dynamodb.NewFromConfig(aws.Config{Region: localRegion, Credentials: static(f.admin), BaseEndpoint: &f.endpoint})
	for _, name := range []string{mine + "-test-left", mine + "-own"} {
		if err := newTable(t.Context(), tables, name); err != nil {
			t.Fatal(err)
		}
	}
	run, out := suite(t, f, "-endpoint", "aws", "-goldens", t.TempDir(), "-prefix", mine, "-test.run", "^$")
	if err := run.Run(); err == nil || !strings.Contains(out.String(), "1 stacks of prefix "+mine+" are there already") {
		t.Errorf("a run on a prefix that is taken: %v: %s", err, out)
	}
	run, out = suite(t, f, "-endpoint", "aws", "-prefix", mine, "-clean")
	if err := run.Run(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if diff := cmp.Diff([]string{mine + "-by-hand", another + "-store"}, f.standing()); diff != "" {
		t.Errorf("stacks that stay: %s", diff)
	}
	listed, err := tables.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{mine + "-own"}, listed.TableNames); diff != "" {
		t.Errorf("tables that stay: %s", diff)
	}
	for id, owner := range f.keys {
		told, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		if err != nil {
			t.Fatal(err)
		}
		state[owner] = string(told.KeyMetadata.KeyState)
	}
	if diff := cmp.Diff(map[string]string{mine: "PendingDeletion", another: "Enabled"}, state); diff != "" {
		t.Errorf("keys: %s", diff)
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

func TestARunStopsBeforeItMakesAnything(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	f := newFake(t)
	for _, c := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"-prefix", mine}, "say ENDPOINT=aws as well"},
		{[]string{"-nlb"}, "say ENDPOINT=aws as well"},
		{[]string{"-endpoint", "https://example.com"}, "it is aws, or nothing"},
		{[]string{"-endpoint", "aws", "-clean"}, "PREFIX="},
		{[]string{"-endpoint", "aws", "-prefix", "shop"}, "stile-conformance- and 4 to 20"},
		{[]string{"-endpoint", "aws", "-prefix", mine + "-test"}, "stile-conformance- and 4 to 20"},
		{[]string{"-endpoint", "aws", "-prefix", "stile-conformance-Mine"}, "lower-case"},
	} {
		run, out := suite(t, f, c.arguments...)
		if err := run.Run(); err == nil || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: %v: %s", c.arguments, err, out)
		}
	}
	if len(f.stacks) != 0 {
		t.Errorf("stacks were made: %v", f.standing())
	}
}

func TestTheSuitesRoleHasAPathOnAWS(t *testing.T) {
	raw, err := os.ReadFile(templatePath("world"))
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Resources map[string]struct{ Properties struct{ Path string } }
	}
	if err := json.Unmarshal([]byte((&remote{}).rooted(string(raw))), &made); err != nil {
		t.Fatal(err)
	}
	for name, r := range made.Resources {
		if want := map[bool]string{true: "/suite/"}[name == "SuiteRole"]; r.Properties.Path != want {
			t.Errorf("%s has path %q", name, r.Properties.Path)
		}
	}
}
