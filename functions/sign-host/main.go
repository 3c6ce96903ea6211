// Command sign-host is the function of this name: it judges evidence and signs for agents and proxies. It has no API.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/answer"
	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/issue"
	"github.com/stile-dev/stile/pkg/kms/mac"
	"github.com/stile-dev/stile/pkg/kms/signer"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/store"
	"github.com/stile-dev/stile/pkg/store/issuance"
	"github.com/stile-dev/stile/pkg/sts"
)

func main() {
	handle, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting sign-host: %v", err)
	}
	lambda.Start(handle)
}

func assemble(ctx context.Context) (func(context.Context, json.RawMessage) (any, error), error) {
	f, err := app.Begin(ctx, "sign-host")
	if err != nil {
		return nil, err
	}
	caller, err := sts.New(sts.Config{Endpoint: cmp.Or(f.Optional("AWS_ENDPOINT_URL_STS"), f.Optional("AWS_ENDPOINT_URL"))})
	keys, db := awskms.NewFromConfig(f.AWS), dynamodb.NewFromConfig(f.AWS)
	ssh, x509 := signer.New(keys, names.KeyHostSSH, f.Key(names.KeyHostSSH)), signer.New(keys, names.KeyHostX509, f.Key(names.KeyHostX509))
	kept := issuance.New(store.Config{
		DynamoDB: db, State: f.Need(names.EnvTableState), Secrets: f.Need(names.EnvTableSecrets), Ledger: f.Need(names.EnvTableLedger),
	}, "sign-host")
	documents := head.New(head.Config{
		DynamoDB: db, S3: s3.NewFromConfig(f.AWS, head.ByPath), Table: f.Need(names.EnvTableState), Bucket: f.Need(names.EnvBucketDocuments),
	})
	hosts := issue.NewHosts(issue.HostConfig{
		Cluster: f.Cluster, Fleet: f.Match(names.EnvFleetRole), STS: caller, Store: kept,
		Documents: head.NewVerifier(documents, f.Cluster), MAC: mac.New(mac.Config{KMS: keys, Key: f.Key(names.KeyChallenge), Purpose: names.PurposeJoin}),
		SSH:  func(ctx context.Context) (issue.Signer, error) { return ssh.Signer(ctx) },
		X509: func(ctx context.Context) (issue.Signer, error) { return x509.Signer(ctx) },
	})
	return answer.Handle(f.Log, hosts.Issue), errors.Join(err, f.Err())
}
