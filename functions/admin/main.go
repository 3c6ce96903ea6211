// Command admin is the function of this name: the only writer of roles, users, mappings and tokens. It signs nothing;
// functions/publish puts into force what it wrote.
package main

import (
	"context"
	"errors"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/bucket"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/names"
	operation "github.com/stile-dev/stile/pkg/operation/admin"
	"github.com/stile-dev/stile/pkg/rate"
	"github.com/stile-dev/stile/pkg/store"
	"github.com/stile-dev/stile/pkg/store/change"
)

func main() {
	server, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting admin: %v", err)
	}
	lambda.Start(server.Serve)
}

func assemble(ctx context.Context) (*api.Server, error) {
	f, err := app.Begin(ctx, "admin")
	if err != nil {
		return nil, err
	}
	db := dynamodb.NewFromConfig(f.AWS)
	first, wrong := f.Administrator()
	desk := admin.New(admin.Config{
		Cluster: f.Cluster, Bootstrap: first, Canary: f.Match(names.EnvCanaryRole),
		Store: change.New(store.Config{
			DynamoDB: db, State: f.Need(names.EnvTableState), Secrets: f.Need(names.EnvTableSecrets), Ledger: f.Need(names.EnvTableLedger),
		}),
		Bodies:    bucket.NewBodies(bucket.New(f.AWS, f.Need(names.EnvBucketLake))),
		Pace:      rate.New(rate.Config{DynamoDB: db, Table: f.Need(names.EnvTableSecrets), Door: rate.DoorChange}),
		Publisher: publisher{awslambda.NewFromConfig(f.AWS), f.Need(names.EnvPublish)},
	})
	documents := head.New(head.Config{
		DynamoDB: db, S3: s3.NewFromConfig(f.AWS, head.ByPath), Table: f.Need(names.EnvTableState), Bucket: f.Need(names.EnvBucketDocuments),
	})
	handlers := operation.Operations(desk)
	if wrong != nil {
		handlers = api.Refusing(handlers, wrong)
	}
	server, err := api.New(api.Config{
		Function: "admin", Handlers: handlers, Documents: head.NewVerifier(documents, f.Cluster), Log: f.Log,
	})
	return server, errors.Join(f.Err(), err)
}
