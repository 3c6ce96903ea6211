package conformance_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// nonce tells what this run of a test makes from what another made.
func nonce() string { return "-" + strings.ToLower(rand.Text()[:6]) }

// notes is what the suite's program wrote down under a name, oldest first.
func notes(ctx context.Context, name string) ([]string, error) {
	client := s3Client(here.Config)
	var found []string
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &here.Bucket, Prefix: aws.String("notes/" + name + "/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &here.Bucket, Key: o.Key})
			if err != nil {
				return nil, err
			}
			raw, err := io.ReadAll(got.Body)
			_ = got.Body.Close()
			if err != nil {
				return nil, err
			}
			found = append(found, string(raw))
		}
	}
	return found, nil
}

// await waits for something to be observed, within limit on AWS.
func await(t *testing.T, limit time.Duration, what string, try func(ctx context.Context) (bool, error)) {
	t.Helper()
	if err := poll(t.Context(), limit, func() (bool, error) { return try(t.Context()) }); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// awaitNotes waits until so many notes stand under a name.
func awaitNotes(t *testing.T, limit time.Duration, name string, count int) []string {
	t.Helper()
	var found []string
	await(t, limit, fmt.Sprintf("%d notes of %s", count, name), func(ctx context.Context) (done bool, err error) {
		found, err = notes(ctx, name)
		return err == nil && len(found) >= count, err
	})
	return found
}
