package conformance_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestTheSuiteRunsOnAnEndpointThatItIsGiven runs one test of each service again as somebody would on another
// endpoint: told by flag and environment only.
func TestTheSuiteRunsOnAnEndpointThatItIsGiven(t *testing.T) {
	if *endpoint != "" {
		return // this is that run
	}
	c, err := here.Config.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	given := []string{
		"AWS_ACCESS_KEY_ID=" + c.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + c.SecretAccessKey, "AWS_SESSION_TOKEN=" + c.SessionToken,
		"AWS_REGION=" + here.Config.Region, "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"STILE_CONFORMANCE_ROLE=" + here.RoleARN, "STILE_CONFORMANCE_BUCKET=" + here.Bucket, "STILE_CONFORMANCE_BUS=" + here.Bus,
		"STILE_CONFORMANCE_SIGN_KEY=" + here.SignKey, "STILE_CONFORMANCE_MAC_KEY=" + here.MacKey,
	}
	run := func(env []string) (string, error) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-endpoint", here.Endpoint, "-test.v",
			"-test.run", "^(TestEverySignedHeaderCounts|TestASignatureOverADigest|TestIfNoneMatch|TestOneBadEvent)")
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run(given)
	if err != nil || strings.Count(out, "\n--- PASS")+strings.Count(out[:min(len(out), 9)], "--- PASS") != 4 {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run(given[:len(given)-1]); err == nil || !strings.Contains(out, "set STILE_CONFORMANCE_MAC_KEY") {
		t.Errorf("without a key's name: %v: %s", err, out)
	}
}
