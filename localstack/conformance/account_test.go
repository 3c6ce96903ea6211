package conformance_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// suite is a run of this suite as somebody starts it on an account, which is a fake one here.
func suite(t *testing.T, f *fake, arguments ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.parallel", "8"}, arguments...)...)
	temporary := t.TempDir()
	cmd.Env = append(f.environment(), "TMPDIR="+temporary)
	t.Cleanup(func() {
		if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
			t.Errorf("the run left temporary files: %v %v", left, err)
		}
	})
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
	for _, want := range []string{
		"account  " + localAccount, "Region   us-east-1", "prefix   " + mine, "PREFIX=" + mine + " CLEAN=1", "Nothing stays but",
		"What was seen stands in " + into + ".",
	} {
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
		{[]string{"-endpoint", "aws", "-test.timeout", "10m"}, "-timeout 0"},
		{[]string{"-endpoint", "aws", "clean"}, "is no flag"},
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
