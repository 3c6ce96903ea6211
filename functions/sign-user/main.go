// Command sign-user is the function of this name: it judges evidence and signs for people. It has no API.
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
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/store"
	"github.com/stile-dev/stile/pkg/store/issuance"
	"github.com/stile-dev/stile/pkg/sts"
)

func main() {
	handle, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting sign-user: %v", err)
	}
	lambda.Start(handle)
}

func assemble(ctx context.Context) (func(context.Context, json.RawMessage) (any, error), error) {
	f, err := app.Begin(ctx, "sign-user")
	if err != nil {
		return nil, err
	}
	caller, err := sts.New(sts.Config{Endpoint: cmp.Or(f.Optional("AWS_ENDPOINT_URL_STS"), f.Optional("AWS_ENDPOINT_URL"))})
	keys, db := awskms.NewFromConfig(f.AWS), dynamodb.NewFromConfig(f.AWS)
	ssh, x509 := signer.New(keys, names.KeyUserSSH, f.Key(names.KeyUserSSH)), signer.New(keys, names.KeyUserX509, f.Key(names.KeyUserX509))
	kept := issuance.New(store.Config{
		DynamoDB: db, State: f.Need(names.EnvTableState), Secrets: f.Need(names.EnvTableSecrets), Ledger: f.Need(names.EnvTableLedger),
	}, "sign-user")
	documents := head.New(head.Config{
		DynamoDB: db, S3: s3.NewFromConfig(f.AWS, head.ByPath), Table: f.Need(names.EnvTableState), Bucket: f.Need(names.EnvBucketDocuments),
	})
	admin, wrong := f.Administrator()
	users := issue.NewUsers(issue.UserConfig{
		Cluster: f.Cluster, Store: kept, Documents: head.NewVerifier(documents, f.Cluster), MAC: mac.New(mac.Config{KMS: keys, Key: f.Key(names.KeyChallenge), Purpose: names.PurposeLogin}),
		Methods: map[string]issue.Authenticator{
			resource.MethodIAM: issue.IAM{STS: caller, Mappings: kept.Mappings, Bootstrap: admin, Refuse: wrong, Canary: f.Match(names.EnvCanaryRole)},
		},
		SSH:  func(ctx context.Context) (issue.Signer, error) { return ssh.Signer(ctx) },
		X509: func(ctx context.Context) (issue.Signer, error) { return x509.Signer(ctx) },
	})
	return answer.Handle(f.Log, users.Issue), errors.Join(err, f.Err())
}
