package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/process"
	"github.com/stile-dev/stile/localstack/resource"
)

// program finds the program that a template's metadata names, below BinDir by itself or behind stile-. Upload puts it
// where the template's custom resource looks for it, as the CDK's command line does on AWS before it deploys.
func (s *Cloud) program(name string) (hash string, upload func(ctx context.Context, bucket, key string) error, err error) {
	if name == "" || !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", nil, fmt.Errorf(`metadata "stile:binary" is %q; it must name a program, such as "proxy"`, name)
	}
	for _, candidate := range []string{name, "stile-" + name} {
		path := filepath.Join(s.config.BinDir, filepath.FromSlash(candidate))
		hash, err := process.FileHash(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return hash, func(ctx context.Context, bucket, key string) error { return s.upload(ctx, path, bucket, key) }, err
	}
	return "", nil, fmt.Errorf("no program %s or stile-%s in %s; build it, or correct the metadata stile:binary", name, name, s.config.BinDir)
}

// upload puts a file into the bucket that the CDK's bootstrap stack has for assets, as a role that may do nothing else.
func (s *Cloud) upload(ctx context.Context, path, bucket, key string) error {
	if want := fmt.Sprintf("cdk-hnb659fds-assets-%s-%s", s.config.Account, s.config.Region); bucket != want {
		return fmt.Errorf("property Bucket: assets are in %s, not in %q", want, bucket)
	}
	if _, err := s.S3.Provision(resource.Resource{Stack: "bootstrap", LogicalID: "Assets", Type: "AWS::S3::Bucket", Properties: map[string]any{"BucketName": bucket}, PhysicalID: bucket}); err != nil {
		return fmt.Errorf("preparing the bucket of assets: %w", err)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:%s:s3:::%s/*"}]}`, s.config.Partition, bucket)
	role, err := s.Authority.PutRole(iam.Role{
		Name: "cdk-hnb659fds-file-publishing-role", Path: "/local/", Trust: json.RawMessage(trust),
		Inline: map[string]iam.Inline{"assets": {Document: json.RawMessage(policy)}},
	})
	if err != nil {
		return fmt.Errorf("preparing the role that uploads: %w", err)
	}
	minted, err := s.Authority.Mint(role.ARN, "deployment", time.Hour)
	if err != nil {
		return fmt.Errorf("preparing the role that uploads: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("uploading a program: %w", err)
	}
	defer func() { _ = f.Close() }()
	if _, err := s.client(minted).PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: f}); err != nil {
		return fmt.Errorf("uploading %s: %w", path, err)
	}
	return nil
}
