// Package asset reads a file that the CDK uploaded before a deployment, and refuses another one in its place.
//
// It doesn't know what the file is for. Its entry point is [Fetch].
package asset

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/fault"
)

// S3 is what is used of the object store.
type S3 interface {
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

// ByPath has an S3 client address buckets by path: the bucket's name needs no host name.
func ByPath(o *s3.Options) { o.UsePathStyle = true }

// File says where a file is and what it must be.
type File struct {
	Bucket, Key string
	SHA256      string // of its content, as hex digits
}

// Fetch reads a file of at most so many bytes, and refuses another than the one that was built: the CDK uploads nothing to
// a name that is taken, whoever took it.
func Fetch(ctx context.Context, store S3, f File, limit int64) ([]byte, error) {
	got, err := store.GetObject(ctx, &s3.GetObjectInput{Bucket: &f.Bucket, Key: &f.Key})
	if err != nil {
		return nil, fmt.Errorf("reading the program from s3://%s/%s: %w", f.Bucket, f.Key, err)
	}
	defer func() { _ = got.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(got.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the program from s3://%s/%s: %w", f.Bucket, f.Key, err)
	}
	if int64(len(content)) > limit {
		return nil, fault.Newf(fault.BadInput, "make it smaller with -ldflags '-s -w', as the CDK app does", "the program has more than %d bytes", limit)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(content)); sum != f.SHA256 {
		return nil, fault.Newf(fault.BadInput,
			"delete that object and deploy again, so that the CDK uploads the program once more; if it differs then, find out who else writes to the bucket",
			"the program at s3://%s/%s is not the one that was built: its SHA-256 is %s, and the template says %s", f.Bucket, f.Key, sum, f.SHA256)
	}
	return content, nil
}
