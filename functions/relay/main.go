// Command relay is the function of this name: it puts what the ledger received on the bus.
package main

import (
	"context"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/bucket"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/relay"
)

func main() {
	r, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting relay: %v", err)
	}
	lambda.Start(r.Handle)
}

func assemble(ctx context.Context) (*relay.Relay, error) {
	f, err := app.Begin(ctx, "relay")
	if err != nil {
		return nil, err
	}
	r := relay.New(relay.Config{
		Bus: eventbridge.NewFromConfig(f.AWS), Name: f.Need(names.EnvBus), Keep: bucket.New(f.AWS, f.Need(names.EnvFailed)).State, Log: f.Log,
	})
	return r, f.Err()
}
