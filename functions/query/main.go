// Command query is the function of this name: it asks the audit lake in SQL for people who may, and adds to it what the ledger
// received last; for functions/sweep it asks what the lake has of the ledger's receipts. No other function asks Athena anything, and
// this one changes nothing but the results of its own queries and what it adds for them.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	sdk "github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/answer"
	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/athena"
	"github.com/stile-dev/stile/pkg/bucket"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/ledger/compare/owed"
	"github.com/stile-dev/stile/pkg/names"
	operation "github.com/stile-dev/stile/pkg/operation/query"
	"github.com/stile-dev/stile/pkg/query"
	"github.com/stile-dev/stile/pkg/query/holding"
	"github.com/stile-dev/stile/pkg/rate"
	"github.com/stile-dev/stile/pkg/recent"
)

func main() {
	handle, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting query: %v", err)
	}
	lambda.Start(handle)
}

func assemble(ctx context.Context) (func(context.Context, json.RawMessage) (any, error), error) {
	f, err := app.Begin(ctx, "query")
	if err != nil {
		return nil, err
	}
	db, events := dynamodb.NewFromConfig(f.AWS), f.Need(names.EnvTableLedger)
	desk := query.New(query.Config{
		Lake:     athena.New(sdk.NewFromConfig(f.AWS)),
		Recent:   recent.New(recent.Config{DynamoDB: db, Table: events, Keep: bucket.New(f.AWS, f.Need(names.EnvBucketResults)).Keep}),
		Bodies:   bucket.NewBodies(bucket.New(f.AWS, f.Need(names.EnvBucketLake))),
		Compared: owed.NewReader(db, f.Need(names.EnvTableState)),
		Ledger:   ledger.New(ledger.Config{DynamoDB: db, Table: events}),
		Pace:     rate.New(rate.Config{DynamoDB: db, Table: f.Need(names.EnvTablePresence), Door: rate.DoorQuery}),
		Cluster:  f.Cluster, Entropy: rand.Reader,
	})
	documents := head.New(head.Config{
		DynamoDB: db, S3: s3.NewFromConfig(f.AWS, head.ByPath), Table: f.Need(names.EnvTableState), Bucket: f.Need(names.EnvBucketDocuments),
	})
	server, err := api.New(api.Config{Function: "query", Handlers: operation.Operations(desk), Documents: head.NewVerifier(documents, f.Cluster), Log: f.Log})
	if err := errors.Join(f.Err(), err); err != nil {
		return nil, err
	}
	return server.Beside(holding.Name, answer.Handle(f.Log, desk.Holding)), nil
}
