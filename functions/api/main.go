// Command api is the function of this name: it tells people what they may reach, and hosts what they are. It changes
// nothing and signs nothing.
package main

import (
	"context"
	"errors"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/inventory"
	"github.com/stile-dev/stile/pkg/names"
	operation "github.com/stile-dev/stile/pkg/operation/roster"
	"github.com/stile-dev/stile/pkg/presence"
	"github.com/stile-dev/stile/pkg/stock"
	"github.com/stile-dev/stile/pkg/store"
)

func main() {
	server, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting api: %v", err)
	}
	lambda.Start(server.Serve)
}

func assemble(ctx context.Context) (*api.Server, error) {
	f, err := app.Begin(ctx, "api")
	if err != nil {
		return nil, err
	}
	db := dynamodb.NewFromConfig(f.AWS)
	targets := inventory.New(inventory.Config{
		Targets: store.New(store.Config{DynamoDB: db, State: f.Need(names.EnvTableState)}),
		Watch:   watch{presence.New(presence.Config{DynamoDB: db, Table: f.Need(names.EnvTablePresence)})},
	})
	objects, bucket := s3.NewFromConfig(f.AWS, head.ByPath), f.Need(names.EnvBucketDocuments)
	documents := head.New(head.Config{DynamoDB: db, S3: objects, Table: f.Need(names.EnvTableState), Bucket: bucket})
	shelf := stock.NewShelf(objects, bucket, f.Need(names.EnvAgentAMD64), f.Need(names.EnvAgentARM64))
	server, err := api.New(api.Config{
		Function: "api", Handlers: operation.Operations(targets, shelf, events{db, f.Need(names.EnvTableLedger)}), Documents: head.NewVerifier(documents, f.Cluster), Log: f.Log,
	})
	return server, errors.Join(f.Err(), err)
}
