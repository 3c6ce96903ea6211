// Package bucket is the bucket of recordings: it hands out URLs by which agents put exactly one object each, once, and by which
// people get those of one recording, and no other.
//
// It decides nothing. Its entry point is [New].
package bucket

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/wire"
)

// Config says where the bucket is. All are required.
type Config struct {
	AWS    aws.Config
	Bucket string
	Reader string // ARN of the role that URLs to get objects are signed as
}

// Bucket is safe for concurrent use.
type Bucket struct {
	config Config
	s3     *s3.Client
	sts    *sts.Client
}

// New makes a bucket.
func New(c Config) *Bucket {
	return &Bucket{c, s3.NewFromConfig(c.AWS, head.ByPath), sts.NewFromConfig(c.AWS)}
}

var _ archive.Objects = (*Bucket)(nil)

// signedHeaders are those that a PUT must repeat: without each of them in the signature it would bind nothing.
var signedHeaders = []string{"Content-Length", "If-None-Match", "X-Amz-Checksum-Sha256"}

// Grant returns a URL that puts one object of a size and hash, if nothing is under the key.
func (b *Bucket) Grant(ctx context.Context, key string, size int64, sum []byte) (string, map[string]string, error) {
	encoded := base64.StdEncoding.EncodeToString(sum)
	signed, err := s3.NewPresignClient(b.s3).PresignPutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.config.Bucket, Key: &key, ContentLength: &size, ChecksumSHA256: &encoded, IfNoneMatch: aws.String("*"),
	}, s3.WithPresignExpires(archive.Lasts), unhoisted)
	if err != nil {
		return "", nil, fmt.Errorf("signing a PUT of %s: %w", key, err)
	}
	headers := map[string]string{}
	for _, name := range signedHeaders {
		value := signed.SignedHeader.Get(name)
		if value == "" {
			return "", nil, fmt.Errorf("signing a PUT of %s: %s isn't signed", key, name)
		}
		headers[name] = value
	}
	return signed.URL, headers, nil
}

// unhoisted has headers signed as headers: the SDK would move some of them into the URL, where S3 need not look.
func unhoisted(o *s3.PresignOptions) {
	o.Presigner = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableHeaderHoisting, o.DisableURIPathEscaping = true, true })
}

// Head describes what is under a key.
func (b *Bucket) Head(ctx context.Context, key string) (archive.Object, bool, error) {
	out, err := b.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
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
	out, err := b.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.config.Bucket, Key: &key})
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

// page is how many versions are listed at once.
const page = 200

// Read lists versions of the objects under a prefix, after a place that an earlier answer named, with URLs that are good for
// what is under the prefix alone: they are signed as a role whose session may read no more.
func (b *Bucket) Read(ctx context.Context, prefix, after string) ([]wire.RecordingObject, string, error) {
	in := &s3.ListObjectVersionsInput{Bucket: &b.config.Bucket, Prefix: &prefix, MaxKeys: aws.Int32(page)}
	if key, version, ok := strings.Cut(after, " "); ok {
		in.KeyMarker, in.VersionIdMarker = aws.String(prefix+key), &version
	}
	list, err := b.s3.ListObjectVersions(ctx, in)
	if err != nil {
		return nil, "", fmt.Errorf("listing %s: %w", prefix, err)
	}
	reader, err := b.reader(ctx, prefix)
	if err != nil {
		return nil, "", err
	}
	var out []wire.RecordingObject
	for _, v := range list.Versions {
		signed, err := reader.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &b.config.Bucket, Key: v.Key, VersionId: v.VersionId}, s3.WithPresignExpires(archive.Lasts))
		if err != nil {
			return nil, "", fmt.Errorf("signing a GET of %s: %w", *v.Key, err)
		}
		out = append(out, wire.RecordingObject{
			Name: strings.TrimPrefix(*v.Key, prefix), Version: aws.ToString(v.VersionId), Latest: aws.ToBool(v.IsLatest), Size: aws.ToInt64(v.Size),
			Modified: aws.ToTime(v.LastModified).UTC(), URL: signed.URL,
		})
	}
	for _, m := range list.DeleteMarkers {
		out = append(out, wire.RecordingObject{
			Name: strings.TrimPrefix(*m.Key, prefix), Version: aws.ToString(m.VersionId), Latest: aws.ToBool(m.IsLatest), Deleted: true, Modified: aws.ToTime(m.LastModified).UTC(),
		})
	}
	next := ""
	if aws.ToBool(list.IsTruncated) {
		next = strings.TrimPrefix(aws.ToString(list.NextKeyMarker), prefix) + " " + aws.ToString(list.NextVersionIdMarker)
	}
	return out, next, nil
}

// reader signs URLs as the reader's role, in a session that may read what is under a prefix.
func (b *Bucket) reader(ctx context.Context, prefix string) (*s3.PresignClient, error) {
	role, err := arn.Parse(b.config.Reader)
	if err != nil {
		return nil, fmt.Errorf("taking the reader's role: %w", err)
	}
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Action": "s3:GetObjectVersion",
		"Resource": "arn:" + role.Partition + ":s3:::" + b.config.Bucket + "/" + prefix + "*",
	}}})
	if err != nil {
		return nil, err
	}
	out, err := b.sts.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: &b.config.Reader, RoleSessionName: aws.String(path.Base(prefix)), Policy: aws.String(string(policy)), DurationSeconds: aws.Int32(int32(archive.Lasts / time.Second)),
	})
	if err != nil {
		return nil, fmt.Errorf("taking the reader's role: %w", err)
	}
	c := b.config.AWS.Copy()
	c.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
	return s3.NewPresignClient(s3.NewFromConfig(c, head.ByPath)), nil
}
