package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/stile-dev/stile/localstack/account"
	"github.com/stile-dev/stile/localstack/iam"
	"github.com/stile-dev/stile/localstack/resource"
	"github.com/stile-dev/stile/localstack/template"
)

// stacks are deployed in this order; each file in infra/templates is named after its stack.
var stacks = []string{"StileData", "StileControl", "StileFleet"}

// deployment is everything that a deployment of the stacks needs.
type deployment struct {
	place    place
	ports    *ports
	scale    scale
	account  *account.Account
	services *services
	log      *slog.Logger
	phase    func(string) // told what is being done
}

// stage is the stage of the one API, which its public URL ends with.
const stage = "prod"

func (d *deployment) apiURL() string { return "https://" + loopback(d.ports.API) + "/" + stage }

// run deploys every stack.
func (d *deployment) run(ctx context.Context) error {
	state, err := template.OpenState(filepath.Join(d.place.aws(), "stacks.json"))
	if err != nil {
		return err
	}
	answers, err := d.openAnswers()
	if err != nil {
		return err
	}
	deployer, err := template.New(template.Config{
		Account: d.account.Account, Region: d.account.Region, Partition: d.account.Partition,
		State: state, Providers: d.services.providers(), Log: d.log,
		Custom: template.Custom{Invoke: d.invoke, CodeHash: d.services.lambda.CodeHash, Mailbox: answers.mailbox},
	})
	if err != nil {
		return err
	}
	for _, name := range stacks {
		d.phase("deploying " + name)
		if err := d.deploy(ctx, deployer, name); err != nil {
			return err
		}
	}
	return nil
}

func (d *deployment) deploy(ctx context.Context, deployer *template.Deployer, name string) error {
	raw, err := os.ReadFile(filepath.Join(d.place.templates(), name+".json"))
	if err != nil {
		return fmt.Errorf("reading the template of %s: %w", name, err)
	}
	t, err := template.Parse(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	parameters, err := d.parameters(name)
	if err != nil {
		return err
	}
	_, err = deployer.Deploy(ctx, template.Stack{Name: t.StackName(name), Template: t, Parameters: parameters})
	return err
}

// parameters are what somebody who deploys into an account would write down.
func (d *deployment) parameters(stack string) (map[string]string, error) {
	switch stack {
	case "StileControl":
		admin := d.account.Admin()
		role, err := d.services.authority.Role(admin.Role)
		if err != nil {
			return nil, fmt.Errorf("finding the administrator's role: %w", err)
		}
		match, err := json.Marshal(map[string]string{
			"partition": d.account.Partition, "account": d.account.Account, "role": role.Name, "role_id": role.ID, "session": admin.Session,
		})
		return map[string]string{"BootstrapAdmin": string(match), "ApiUrl": d.apiURL()}, err
	case "StileFleet":
		return map[string]string{
			"ProxyImage": "bin/stile-proxy", "PublicPort": strconv.Itoa(d.ports.Proxy), "DesiredCount": strconv.Itoa(d.scale.Proxies), "ProxyProtocolSources": "127.0.0.1/32",
		}, nil
	}
	return nil, nil
}

// invoke runs the function of a custom resource.
func (d *deployment) invoke(ctx context.Context, function string, payload []byte) error {
	result, err := d.services.lambda.Invoke(ctx, function, payload)
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
func (d *deployment) openAnswers() (*answers, error) {
	bucket := "cloudformation-custom-resource-response-" + d.account.Region
	if _, err := d.services.s3.Provision(resource.Resource{Stack: "deployment", LogicalID: "Answers", Type: "AWS::S3::Bucket", Properties: map[string]any{"BucketName": bucket}, PhysicalID: bucket}); err != nil {
		return nil, fmt.Errorf("preparing the bucket of custom resources: %w", err)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject","s3:GetObject","s3:ListBucket"],"Resource":["arn:%[1]s:s3:::%[2]s","arn:%[1]s:s3:::%[2]s/*"]}]}`, d.account.Partition, bucket)
	role, err := d.services.authority.PutRole(iam.Role{
		Name: "CloudFormationAnswers", Path: "/local/", Trust: json.RawMessage(trustOf("cloudformation.amazonaws.com")),
		Inline: map[string]iam.Inline{"answers": {Document: json.RawMessage(policy)}},
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the role of custom resources: %w", err)
	}
	minted, err := d.services.authority.Mint(role.ARN, "deployment", 2*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("preparing the role of custom resources: %w", err)
	}
	client := awss3.New(awss3.Options{
		Region: d.account.Region, BaseEndpoint: aws.String(d.ports.endpoint()), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(minted.AccessKeyID, minted.SecretAccessKey, minted.SessionToken),
	})
	return &answers{client, bucket}, nil
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
	raw, err := readAll(got.Body)
	return raw, err == nil, err
}

// trustOf is a trust policy for one AWS service.
func trustOf(service string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":%q},"Action":"sts:AssumeRole"}]}`, service)
}
