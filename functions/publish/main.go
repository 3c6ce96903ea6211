// Command publish is the function of this name: it signs policy and revocations documents made from the tables.
package main

import (
	"context"
	"encoding/json"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/document/publication"
	"github.com/stile-dev/stile/pkg/kms/signer"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/store"
	"github.com/stile-dev/stile/pkg/trigger"
)

func main() {
	handle, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting publish: %v", err)
	}
	lambda.Start(handle)
}

func assemble(ctx context.Context) (func(context.Context, json.RawMessage) (any, error), error) {
	f, err := app.Begin(ctx, "publish")
	if err != nil {
		return nil, err
	}
	db := dynamodb.NewFromConfig(f.AWS)
	key := signer.New(awskms.NewFromConfig(f.AWS), names.KeyPolicy, f.Key(names.KeyPolicy))
	p := publication.NewPublisher(publication.Config{
		Cluster: f.Cluster,
		Inputs: inputs{
			store.New(store.Config{DynamoDB: db, State: f.Need(names.EnvTableState)}),
			ledger.New(ledger.Config{DynamoDB: db, Table: f.Need(names.EnvTableLedger)}),
		},
		Place: head.New(head.Config{
			DynamoDB: db, S3: s3.NewFromConfig(f.AWS, head.ByPath), Table: f.Need(names.EnvTableState), Bucket: f.Need(names.EnvBucketDocuments),
		}),
		Key: func(ctx context.Context) (publication.Signer, error) { return key.Signer(ctx) },
	})
	return trigger.Handle(f.Log, p.Publish, trigger.Property("BootstrapAdmin", resource.ParseAdministrator)), f.Err()
}

// inputs are what is published, and the ledger that tells of it.
type inputs struct {
	*store.Store
	ledger *ledger.Ledger
}

// Record writes an event.
func (i inputs) Record(ctx context.Context, e audit.Event) error { return i.ledger.Append(ctx, e) }

// Claim says what was signed.
func (i inputs) Claim(ctx context.Context, of string, requests, doubtful []string) error {
	return i.ledger.Claim(ctx, ledger.Claim{Function: "publish", Of: of, Requests: requests, Doubtful: doubtful})
}
