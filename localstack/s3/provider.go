package s3

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
)

// Types names what the service provisions from templates.
func (*Service) Types() []string { return []string{"AWS::S3::Bucket", "AWS::S3::BucketPolicy"} }

// Provision creates or updates a bucket or its policy.
func (s *Service) Provision(r resource.Resource) (resource.Outcome, error) {
	if r.Type == "AWS::S3::BucketPolicy" {
		return s.provisionPolicy(r)
	}
	in := resource.Read(r)
	in.Accept("BucketEncryption", "LifecycleConfiguration", "OwnershipControls", "PublicAccessBlockConfiguration", "VersioningConfiguration")
	tells, lock := readNotifications(in, r.LogicalID), readLock(in, r.LogicalID)
	name := in.String("BucketName") // of the bucket for custom resources' answers; no template names one
	if name == "" {
		name = strings.ToLower(r.Name(63))
	}
	if !bucketForm.MatchString(name) {
		in.Fail("BucketName", "%q is not a bucket name: use 3 to 63 lower-case letters, digits, dots and hyphens", name)
	}
	if r.PhysicalID != "" && r.PhysicalID != name {
		in.Fail("BucketName", "bucket %s cannot be renamed to %s; its objects would be lost", r.PhysicalID, name)
	}
	if err := in.Done(); err != nil {
		return resource.Outcome{}, err
	}
	was, there, err := s.store.info(name)
	if err == nil {
		err = relock(was, lock, bucketInfo{Properties: r.Properties}.versioned())
	}
	if err == nil && there && r.New() {
		err = fmt.Errorf("bucket %s: %w", name, resource.ErrExists)
	}
	if err == nil {
		err = s.store.describe(name, func(b *bucketInfo) { b.Properties, b.Tells, b.Lock = r.Properties, tells, lock })
	}
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: name, Attributes: s.attributes(name)}, nil
}

var bucketForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func (s *Service) attributes(name string) map[string]any {
	a := s.config.Authority
	return map[string]any{"Arn": "arn:" + a.Partition() + ":s3:::" + name}
}

func (s *Service) provisionPolicy(r resource.Resource) (resource.Outcome, error) {
	in := resource.Read(r)
	bucket, doc := in.Required("Bucket"), in.Object("PolicyDocument")
	if err := in.Done(); err != nil {
		return resource.Outcome{}, err
	}
	policy, err := iam.ParseValue("bucket policy of "+bucket, iam.ResourceShape, doc)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	info, there, err := s.store.info(bucket)
	if err != nil || !there {
		return resource.Outcome{}, fmt.Errorf("%s.Bucket: no such bucket: %s", r.LogicalID, bucket)
	}
	if len(info.Policy) > 0 && r.New() {
		return resource.Outcome{}, fmt.Errorf("%s: the policy of bucket %s: %w", r.LogicalID, bucket, resource.ErrExists)
	}
	if bytes.Equal(raw, info.Declared) && len(info.Policy) > 0 { // it isn't put again, so that its ids stay
		return resource.Outcome{Ref: bucket}, nil
	}
	pinned, err := s.config.Authority.Pin(policy, raw)
	if err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	if err := s.store.describe(bucket, func(b *bucketInfo) { b.Policy, b.Declared = pinned, raw }); err != nil {
		return resource.Outcome{}, fmt.Errorf("%s: %w", r.LogicalID, err)
	}
	return resource.Outcome{Ref: bucket}, nil
}

// Remove deletes a bucket that is empty, or a bucket's policy.
func (s *Service) Remove(r resource.Resource) error {
	if r.Type == "AWS::S3::Bucket" {
		return s.store.remove(r.PhysicalID)
	}
	if _, there, err := s.store.info(r.PhysicalID); err != nil || !there {
		return err
	}
	return s.store.describe(r.PhysicalID, func(b *bucketInfo) { b.Policy, b.Declared = nil, nil })
}
