// Command canary is the function of this name: it logs in every five minutes as a user without roles, and measures it.
// It can neither sign nor reach any table, nor do anything with the certificate that it gets.
package main

import (
	"context"
	"crypto"
	"encoding/json"
	"log"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/canary"
	"github.com/stile-dev/stile/pkg/client"
	"github.com/stile-dev/stile/pkg/names"
)

func main() {
	handle, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting canary: %v", err)
	}
	lambda.Start(handle)
}

func assemble(ctx context.Context) (func(context.Context, json.RawMessage) (any, error), error) {
	f, err := app.Begin(ctx, "canary")
	if err != nil {
		return nil, err
	}
	api := f.Need(names.EnvAPI)
	c := canary.New(canary.Config{
		Cluster: f.Cluster, AWS: f.AWS, Metrics: os.Stdout, Log: f.Log,
		Open: func(key crypto.Signer, certificate []byte) (canary.API, error) {
			return client.New(client.Config{URL: api, Key: key, Certificate: certificate})
		},
	})
	return c.Handle, f.Err()
}
