package conformance_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// lockStack is the stack of the bucket with Object Lock, whose default retention is a day of governance, so that
// what a run leaves can be deleted.
const lockStack = "lock"

// locking is that bucket. It is made once.
func locking(t *testing.T) string {
	t.Helper()
	bucket, err := lockOnce()
	if err != nil {
		t.Fatal(err)
	}
	return bucket
}

var lockOnce = sync.OnceValues(func() (string, error) {
	outputs, err := here.Stacks.Deploy(context.Background(), lockStack, map[string]string{"Prefix": here.Prefix, "Role": here.RoleARN})
	return outputs["Bucket"], err
})

// retained writes an object into the bucket with Object Lock and returns its version.
func retained(t *testing.T, key string) (bucket, version string) {
	t.Helper()
	bucket = locking(t)
	out, err := s3Client(here.Config).PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: strings.NewReader("evidence"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	if err != nil {
		t.Fatal(err)
	}
	return bucket, *out.VersionId
}

func dropVersion(t *testing.T, c aws.Config, bucket, key, version string, bypass bool) error {
	t.Helper()
	in := &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, VersionId: &version}
	if bypass {
		in.BypassGovernanceRetention = aws.Bool(true)
	}
	_, err := s3Client(c).DeleteObject(t.Context(), in)
	return err
}

func TestAVersionUnderRetentionIsNotDeleted(t *testing.T) {
	holds(t, "s3/lock/configuration")
	holds(t, "s3/lock/retention")
	key := fresh(t)
	bucket, version := retained(t, key)
	wantCode(t, dropVersion(t, here.Config, bucket, key, version, false), "AccessDenied")
	client := s3Client(here.Config)
	if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Errorf("a delete marker over it: %v", err)
	}
	out, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key, VersionId: &version})
	if err != nil {
		t.Fatal(err)
	}
	left := time.Until(aws.ToTime(out.ObjectLockRetainUntilDate))
	if out.ObjectLockMode != types.ObjectLockModeGovernance || left < 23*time.Hour || left > 25*time.Hour {
		t.Errorf("mode %s for %v", out.ObjectLockMode, left)
	}
}

func TestGovernanceGivesWayToABypass(t *testing.T) {
	holds(t, "s3/lock/bypass")
	key := fresh(t)
	bucket, version := retained(t, key)
	wantCode(t, dropVersion(t, narrowed(t, allow("s3:DeleteObject*", "*")), bucket, key, version, true), "AccessDenied")
	if err := dropVersion(t, here.Config, bucket, key, version, true); err != nil {
		t.Error(err)
	}
}

func TestALegalHoldGivesWayToNoBypass(t *testing.T) {
	holds(t, "s3/lock/legal-hold")
	key := fresh(t)
	bucket, version := retained(t, key)
	client := s3Client(here.Config)
	hold := func(to types.ObjectLockLegalHoldStatus) {
		_, err := client.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{
			Bucket: &bucket, Key: &key, VersionId: &version, LegalHold: &types.ObjectLockLegalHold{Status: to},
		})
		if err != nil {
			t.Errorf("a hold that is %s: %v", to, err)
		}
	}
	hold(types.ObjectLockLegalHoldStatusOn)
	out, err := client.GetObjectLegalHold(t.Context(), &s3.GetObjectLegalHoldInput{Bucket: &bucket, Key: &key})
	if err != nil || out.LegalHold.Status != types.ObjectLockLegalHoldStatusOn {
		t.Errorf("asked for: %+v, %v", out, err)
	}
	wantCode(t, dropVersion(t, here.Config, bucket, key, version, true), "AccessDenied")
	hold(types.ObjectLockLegalHoldStatusOff)
	if err := dropVersion(t, here.Config, bucket, key, version, true); err != nil {
		t.Errorf("after the hold: %v", err)
	}
}

func TestRetentionIsLengthenedAndNotShortened(t *testing.T) {
	holds(t, "s3/lock/lengthen")
	key := fresh(t)
	bucket, version := retained(t, key)
	client := s3Client(here.Config)
	until := func(d time.Duration, bypass *bool) error {
		_, err := client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
			Bucket: &bucket, Key: &key, VersionId: &version, BypassGovernanceRetention: bypass,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: aws.Time(time.Now().Add(d))},
		})
		return err
	}
	if err := until(48*time.Hour, nil); err != nil {
		t.Errorf("longer: %v", err)
	}
	wantCode(t, until(time.Hour, nil), "AccessDenied")
	out, err := client.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(aws.ToTime(out.Retention.RetainUntilDate)); left < 47*time.Hour || left > 48*time.Hour {
		t.Errorf("after both it has %v", left)
	}
	if err := until(time.Hour, aws.Bool(true)); err != nil {
		t.Errorf("shorter with a bypass: %v", err)
	}
}

func TestAWriteUnderRetentionNeedsAChecksum(t *testing.T) {
	holds(t, "s3/lock/checksum")
	bucket := locking(t)
	key := fresh(t)
	sum := sha256.Sum256([]byte("chunk"))
	for name, c := range map[string]struct {
		checksum *string
		status   int
	}{
		"without": {nil, http.StatusBadRequest},
		"with":    {aws.String(base64.StdEncoding.EncodeToString(sum[:])), http.StatusOK},
	} {
		bare := s3Client(here.Config, func(o *s3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired })
		signed, err := s3.NewPresignClient(bare).PresignPutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &bucket, Key: &key, IfNoneMatch: aws.String("*"), ContentLength: aws.Int64(5), ChecksumSHA256: c.checksum,
		}, s3.WithPresignExpires(time.Minute), func(o *s3.PresignOptions) {
			o.Presigner = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableHeaderHoisting, o.DisableURIPathEscaping = true, true })
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, signed.URL, strings.NewReader("chunk"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("If-None-Match", "*")
		if c.checksum != nil {
			r.Header.Set("X-Amz-Checksum-Sha256", *c.checksum)
		}
		if got := do(t, r); got.Status != c.status || c.status != http.StatusOK && !strings.Contains(got.Body, "<Code>InvalidRequest</Code>") {
			t.Errorf("%s a checksum: %d %s", name, got.Status, got.Body)
		}
	}
}

func TestWithoutObjectLockThereIsNoRetention(t *testing.T) {
	holds(t, "s3/lock/none")
	key := fresh(t)
	put(t, key, "x")
	_, err := s3Client(here.Config).GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: &here.Bucket, Key: &key})
	wantCode(t, err, "InvalidRequest")
}
