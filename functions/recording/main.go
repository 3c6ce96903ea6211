// Command recording is the function of this name: it lets agents put their sessions' recordings, and people read those that
// they may. No other function reads recordings or hands out ways to them, and this one writes and deletes none.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/archive"
	"github.com/stile-dev/stile/pkg/bucket/lend"
	"github.com/stile-dev/stile/pkg/document/head"
	"github.com/stile-dev/stile/pkg/ledger"
	"github.com/stile-dev/stile/pkg/metric"
	"github.com/stile-dev/stile/pkg/names"
	operation "github.com/stile-dev/stile/pkg/operation/recording"
	"github.com/stile-dev/stile/pkg/rate"
	"github.com/stile-dev/stile/pkg/recorded"
)

func main() {
	server, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting recording: %v", err)
	}
	lambda.Start(server.Serve)
}

func assemble(ctx context.Context) (*api.Server, error) {
	f, err := app.Begin(ctx, "recording")
	if err != nil {
		return nil, err
	}
	db, state := dynamodb.NewFromConfig(f.AWS), f.Need(names.EnvTableState)
	a := archive.New(archive.Config{
		Store:   recorded.New(db, state),
		Objects: lend.New(lend.Config{AWS: f.AWS, Bucket: f.Need(names.EnvBucketRecordings), Reader: f.Need(names.EnvReaderRole)}),
		Claims:  rate.New(rate.Config{DynamoDB: db, Table: f.Need(names.EnvTablePresence), Door: rate.DoorClaim}),
		Puts:    rate.New(rate.Config{DynamoDB: db, Table: f.Need(names.EnvTablePresence), Door: rate.DoorPut}),
		Denials: rate.New(rate.Config{DynamoDB: db, Table: f.Need(names.EnvTablePresence), Door: rate.DoorRead}),
		Ledger:  ledger.New(ledger.Config{DynamoDB: db, Table: f.Need(names.EnvTableLedger)}),
		Cluster: f.Cluster, Entropy: rand.Reader,
		Measure: func(name string, n int) {
			if err := metric.Write(os.Stdout, time.Now(), "recording", metric.Value{Name: name, Unit: "Count", Value: int64(n)}); err != nil {
				f.Log.Warn("Measurement not written", slog.Any("error", err))
			}
		},
	})
	documents := head.New(head.Config{DynamoDB: db, S3: s3.NewFromConfig(f.AWS, head.ByPath), Table: state, Bucket: f.Need(names.EnvBucketDocuments)})
	server, err := api.New(api.Config{Function: "recording", Handlers: operation.Operations(a), Documents: head.NewVerifier(documents, f.Cluster), Log: f.Log})
	return server, errors.Join(f.Err(), err)
}
