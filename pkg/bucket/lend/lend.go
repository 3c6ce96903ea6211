// Package lend hands out ways to the bucket of recordings: URLs by which agents put exactly one object each, once, and by which
// people get those of one recording, and no other.
//
// It decides nothing. Its entry point is [New].
package lend

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/bucket"
	"github.com/stile-dev/stile/pkg/wire"
)

// Config says where the bucket is. All are required.
type Config struct {
	AWS    aws.Config
	Bucket string
	Reader string // ARN of the role that URLs to get objects are signed as
}

// Lender is safe for concurrent use.
type Lender struct {
	*bucket.Bucket
	config Config
	s3     *s3.Client
	sts    *sts.Client
}

// New makes a lender.
func New(c Config) *Lender {
	return &Lender{bucket.New(c.AWS, c.Bucket), c, s3.NewFromConfig(c.AWS, bucket.ByPath), sts.NewFromConfig(c.AWS)}
}

var _ archive.Objects = (*Lender)(nil)

// signedHeaders are those that a PUT must repeat: without each of them in the signature it would bind nothing.
var signedHeaders = []string{"Content-Length", "If-None-Match", "X-Amz-Checksum-Sha256"}

// Grant returns a URL that puts one object of a size and hash, if nothing is under the key.
func (l *Lender) Grant(ctx context.Context, key string, size int64, sum []byte) (string, map[string]string, error) {
	encoded := base64.StdEncoding.EncodeToString(sum)
	signed, err := s3.NewPresignClient(l.s3).PresignPutObject(ctx, &s3.PutObjectInput{
		Bucket: &l.config.Bucket, Key: &key, ContentLength: &size, ChecksumSHA256: &encoded, IfNoneMatch: aws.String("*"),
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

// page is how many versions are listed at once.
const page = 200

// Read lists versions of the objects under a prefix, after a place that an earlier answer named, with URLs that are good for
// what is under the prefix alone: they are signed as a role whose session may read no more.
func (l *Lender) Read(ctx context.Context, prefix, after string) ([]wire.RecordingObject, string, error) {
	in := &s3.ListObjectVersionsInput{Bucket: &l.config.Bucket, Prefix: &prefix, MaxKeys: aws.Int32(page)}
	if at := strings.LastIndexByte(after, ' '); at >= 0 { // somebody else's key may have a space, and a version has none
		in.KeyMarker, in.VersionIdMarker = aws.String(prefix+after[:at]), aws.String(after[at+1:])
	}
	list, err := l.s3.ListObjectVersions(ctx, in)
	if err != nil {
		return nil, "", fmt.Errorf("listing %s: %w", prefix, err)
	}
	reader, err := l.reader(ctx, prefix)
	if err != nil {
		return nil, "", err
	}
	var out []wire.RecordingObject
	for _, v := range list.Versions {
		signed, err := reader.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &l.config.Bucket, Key: v.Key, VersionId: v.VersionId}, s3.WithPresignExpires(archive.Lasts))
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
func (l *Lender) reader(ctx context.Context, prefix string) (*s3.PresignClient, error) {
	role, err := arn.Parse(l.config.Reader)
	if err != nil {
		return nil, fmt.Errorf("taking the reader's role: %w", err)
	}
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Action": "s3:GetObjectVersion",
		"Resource": "arn:" + role.Partition + ":s3:::" + l.config.Bucket + "/" + prefix + "*",
	}}})
	if err != nil {
		return nil, err
	}
	out, err := l.sts.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: &l.config.Reader, RoleSessionName: aws.String(path.Base(prefix)), Policy: aws.String(string(policy)), DurationSeconds: aws.Int32(int32(archive.Lasts / time.Second)),
	})
	if err != nil {
		return nil, fmt.Errorf("taking the reader's role: %w", err)
	}
	c := l.config.AWS.Copy()
	c.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
	return s3.NewPresignClient(s3.NewFromConfig(c, bucket.ByPath)), nil
}
