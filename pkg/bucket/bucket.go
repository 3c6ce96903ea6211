// Package bucket looks at the bucket of recordings, and puts what the control plane itself says of them. Package lend hands out
// ways for others to put and get.
//
// It decides nothing. Its entry point is [New].
package bucket

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/archive"
)

// Bucket is safe for concurrent use.
type Bucket struct {
	s3   *s3.Client
	name string
}

// New makes a bucket of a name.
func New(c aws.Config, name string) *Bucket { return &Bucket{s3.NewFromConfig(c, ByPath), name} }

// ByPath has an S3 client address buckets by path: the bucket's name is ours and needs no host name.
func ByPath(o *s3.Options) { o.UsePathStyle = true }

var _ archive.Shelf = (*Bucket)(nil)

// Head describes what is under a key.
func (b *Bucket) Head(ctx context.Context, key string) (archive.Object, bool, error) {
	out, err := b.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if missing(err) {
		return archive.Object{}, false, nil
	}
	if err != nil {
		return archive.Object{}, false, fmt.Errorf("looking at %s: %w", key, err)
	}
	sum, err := base64.StdEncoding.DecodeString(aws.ToString(out.ChecksumSHA256))
	if err != nil {
		return archive.Object{}, false, fmt.Errorf("looking at %s: %w", key, err)
	}
	return archive.Object{Size: aws.ToInt64(out.ContentLength), SHA256: sum}, true, nil
}

func missing(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && (api.ErrorCode() == "NotFound" || api.ErrorCode() == "NoSuchKey")
}

// Get reads what is under a key.
func (b *Bucket) Get(ctx context.Context, key string, most int64) ([]byte, error) {
	out, err := b.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	defer out.Body.Close()
	content, err := io.ReadAll(io.LimitReader(out.Body, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	return content, nil
}

// Names passes on the names and sizes of the objects under a prefix, in order of names.
func (b *Bucket) Names(ctx context.Context, prefix string, take func(name string, size int64)) error {
	pages := s3.NewListObjectsV2Paginator(b.s3, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: &prefix})
	for pages.HasMorePages() {
		list, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("listing %s: %w", prefix, err)
		}
		for _, o := range list.Contents {
			take(strings.TrimPrefix(*o.Key, prefix), aws.ToInt64(o.Size))
		}
	}
	return nil
}

// State puts JSON under a key, unless there is an object.
func (b *Bucket) State(ctx context.Context, key string, body []byte) error {
	return b.create(ctx, key, "application/json", body)
}

// Keep puts bytes under a key, unless there is an object.
func (b *Bucket) Keep(ctx context.Context, key string, body []byte) error {
	return b.create(ctx, key, "application/octet-stream", body)
}

func (b *Bucket) create(ctx context.Context, key, kind string, body []byte) error {
	_, err := b.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.name, Key: &key, Body: bytes.NewReader(body), ContentType: &kind, IfNoneMatch: aws.String("*"),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "PreconditionFailed" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("putting %s: %w", key, err)
	}
	return nil
}
