package conformance_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
)

// failed demands that a run has ended by itself, with status 1, and left nothing.
func failed(t *testing.T, f *fake, err error, out *bytes.Buffer, want string) {
	t.Helper()
	exit, ok := errors.AsType[*exec.ExitError](err) // a signal that ended it would have no code
	if !ok || exit.ExitCode() != 1 || !strings.Contains(out.String(), want) {
		t.Errorf("%v: %s", err, out)
	}
	if left := f.standing(); len(left) != 0 {
		t.Errorf("stacks stay: %v", left)
	}
}

func TestAnInterruptedRunCleansUp(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	for _, with := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(with.String(), func(t *testing.T) {
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
			if err := run.Process.Signal(with); err != nil {
				t.Fatal(err)
			}
			failed(t, f, run.Wait(), out, "Interrupted; cleaning up")
		})
	}
}

func TestAnInterruptedRunOnThisMachineLeavesNothing(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	t.Parallel()
	run, out := suite(t, newFake(t), "-test.run", "^TestLambdaTries")
	temporary := strings.TrimPrefix(run.Env[len(run.Env)-1], "TMPDIR=")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, time.Minute, "its directory", func(context.Context) (bool, error) {
		made, err := os.ReadDir(temporary)
		return len(made) > 0, err
	})
	if err := run.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); run.ProcessState.ExitCode() != 1 { // suite looks at what is left
		t.Errorf("%v: %s", err, out)
	}
}

func TestARunThatTakesTooLongCleansUp(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	t.Parallel()
	f := newFake(t)
	f.stuck = "TrentService.GenerateMac"
	run, out := suite(t, f, "-endpoint", "aws", "-goldens", t.TempDir(), "-prefix", mine, "-test.run", "^TestMacs", "-limit", "5s")
	failed(t, f, run.Run(), out, "the run took longer than 5s; cleaning up")
}

func TestARunWhoseTestPanicsCleansUp(t *testing.T) {
	if onAWS() {
		return // it tests the suite, not AWS
	}
	t.Parallel()
	f := newFake(t)
	public, _, err := ed25519.GenerateKey(nil)
	if err == nil {
		f.keyed, err = x509.MarshalPKIXPublicKey(public) // the test takes it for one of ECDSA
	}
	if err != nil {
		t.Fatal(err)
	}
	run, out := suite(t, f, "-endpoint", "aws", "-goldens", t.TempDir(), "-prefix", mine, "-test.run", "^TestASignatureOver")
	failed(t, f, run.Run(), out, "panic: interface conversion")
}

func TestACallThatIsNotAnsweredEnds(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the end of the connection isn't seen
		<-r.Context().Done()
	}))
	defer silent.Close()
	c, err := configure(t.Context(), 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	c.BaseEndpoint, c.Region, c.RetryMaxAttempts = &silent.URL, localRegion, 1
	c.Credentials = aws.AnonymousCredentials{}
	_, err = cloudformation.NewFromConfig(c).DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ended with %v", err)
	}
}
