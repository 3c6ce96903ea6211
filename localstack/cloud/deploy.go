package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/template"
)

// Deployer returns what brings stacks into this account, with what earlier ones have brought. Custom resources
// answer over HTTP, so that Gate has to be served while it works.
func (s *Cloud) Deployer() (*template.Deployer, error) {
	state, err := template.OpenState(filepath.Join(s.config.Dir, "stacks.json"))
	if err != nil {
		return nil, err
	}
	answers, err := s.openAnswers()
	if err != nil {
		return nil, err
	}
	return template.New(template.Config{
		Account: s.config.Account, Region: s.config.Region, Partition: s.config.Partition,
		State: state, Providers: s.Providers(), Log: s.config.Log,
		Custom: template.Custom{Invoke: s.invoke, CodeHash: s.Lambda.CodeHash, Mailbox: answers.mailbox, Program: s.program},
	})
}

// trust is the trust policy of the role that keeps answers.
const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"cloudformation.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

const maxAnswer = 1 << 20 // bytes

// invoke runs the function of a custom resource.
func (s *Cloud) invoke(ctx context.Context, function string, payload []byte) error {
	result, err := s.Lambda.Invoke(ctx, function, payload)
	if err == nil && result.Failed {
		err = errors.New(string(result.Payload))
	}
	return err
}

// answers is where custom resources put theirs: a bucket of the local S3, as CloudFormation has one.
type answers struct {
	client *awss3.Client
	bucket string
}

// openAnswers makes the bucket, and a role for the deployment that may use it and nothing else.
func (s *Cloud) openAnswers() (*answers, error) {
	bucket := "cloudformation-custom-resource-response-" + s.config.Region
	if _, err := s.S3.Provision(resource.Resource{Stack: "deployment", LogicalID: "Answers", Type: "AWS::S3::Bucket", Properties: map[string]any{"BucketName": bucket}, PhysicalID: bucket}); err != nil {
		return nil, fmt.Errorf("preparing the bucket of custom resources: %w", err)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject","s3:GetObject","s3:ListBucket"],"Resource":["arn:%[1]s:s3:::%[2]s","arn:%[1]s:s3:::%[2]s/*"]}]}`, s.config.Partition, bucket)
	role, err := s.Authority.PutRole(iam.Role{
		Name: "CloudFormationAnswers", Path: "/local/", Trust: json.RawMessage(trust),
		Inline: map[string]iam.Inline{"answers": {Document: json.RawMessage(policy)}},
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the role of custom resources: %w", err)
	}
	minted, err := s.Authority.Mint(role.ARN, "deployment", 2*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("preparing the role of custom resources: %w", err)
	}
	return &answers{s.client(minted), bucket}, nil
}

// client calls the local S3 with a role's credentials.
func (s *Cloud) client(c iam.Credentials) *awss3.Client {
	return awss3.New(awss3.Options{
		Region: s.config.Region, BaseEndpoint: aws.String(s.config.Endpoint), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
	})
}

func (a *answers) mailbox(ctx context.Context, id string) (string, func(context.Context) ([]byte, bool, error), error) {
	signed, err := awss3.NewPresignClient(a.client).PresignPutObject(ctx, &awss3.PutObjectInput{Bucket: &a.bucket, Key: &id}, awss3.WithPresignExpires(2*time.Hour))
	if err != nil {
		return "", nil, err
	}
	return signed.URL, func(ctx context.Context) ([]byte, bool, error) { return a.fetch(ctx, id) }, nil
}

func (a *answers) fetch(ctx context.Context, id string) ([]byte, bool, error) {
	got, err := a.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: &a.bucket, Key: &id})
	if _, absent := errors.AsType[*types.NoSuchKey](err); absent {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = got.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(got.Body, maxAnswer))
	return raw, err == nil, err
}
