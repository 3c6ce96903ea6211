package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/dynamo"
	"github.com/stile-dev/stile/pkg/head"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/presence"
	"github.com/stile-dev/stile/pkg/telemetry"
)

// base is what every function begins with.
type base struct {
	env     *Environment
	aws     aws.Config
	cluster string
	log     *slog.Logger
}

func begin(ctx context.Context, function string) (base, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return base{}, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	env := NewEnvironment(os.Getenv)
	cluster := env.Need(names.EnvCluster)
	return base{env, cfg, cluster, telemetry.Logger(os.Stdout, function, cluster)}, nil
}

func (b base) dynamodb() *dynamodb.Client { return dynamodb.NewFromConfig(b.aws) }

func (b base) kms() *awskms.Client { return awskms.NewFromConfig(b.aws) }

func (b base) lambda() *lambda.Client { return lambda.NewFromConfig(b.aws) }

// s3 addresses buckets by path: the bucket's name is ours and needs no host of its own.
func (b base) s3() *s3.Client {
	return s3.NewFromConfig(b.aws, func(o *s3.Options) { o.UsePathStyle = true })
}

func (b base) head() *head.Store {
	return head.New(head.Config{
		DynamoDB: b.dynamodb(), S3: b.s3(), Table: b.env.Need(names.EnvTableState), Bucket: b.env.Need(names.EnvBucketDocuments),
	})
}

// store gives the tables; a function that has no business with secrets names none.
func (b base) store(secrets bool) *dynamo.Store {
	c := dynamo.Config{DynamoDB: b.dynamodb(), State: b.env.Need(names.EnvTableState), Ledger: b.env.Need(names.EnvTableLedger)}
	if secrets {
		c.Secrets = b.env.Need(names.EnvTableSecrets)
	}
	return dynamo.New(c)
}

func (b base) presence() *presence.Store {
	return presence.New(presence.Config{DynamoDB: b.dynamodb(), Table: b.env.Need(names.EnvTablePresence)})
}
