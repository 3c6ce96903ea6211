// Command rotate is the function of this name: it signs the trust document, which says which keys are valid. It alone has the
// root key.
package main

import (
	"context"
	"encoding/json"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/document/publication"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/trigger"
)

func main() {
	handle, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting rotate: %v", err)
	}
	lambda.Start(handle)
}

func assemble(ctx context.Context) (func(context.Context, json.RawMessage) (any, error), error) {
	f, err := app.Begin(ctx, "rotate")
	if err != nil {
		return nil, err
	}
	db := dynamodb.NewFromConfig(f.AWS)
	root, public := keys(f)
	r := publication.NewRotator(publication.RotatorConfig{
		Cluster: f.Cluster, Name: f.Need(names.EnvClusterName), Epoch: f.Number(names.EnvEpoch), Public: public,
		Vault: head.New(head.Config{
			DynamoDB: db, S3: s3.NewFromConfig(f.AWS, head.ByPath), Table: f.Need(names.EnvTableState), Bucket: f.Need(names.EnvBucketDocuments),
		}),
		Ledger: journal{ledger.New(ledger.Config{DynamoDB: db, Table: f.Need(names.EnvTableLedger)})},
		Root:   func(ctx context.Context) (publication.Signer, error) { return root.Signer(ctx) },
	})
	return trigger.Handle(f.Log, r.Rotate), f.Err()
}
