// Command join is the function of this name: the front of joining and renewing. It can neither sign nor reach any table except presence.
package main

import (
	"context"
	"errors"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/stile-dev/stile/pkg/api"
	"github.com/stile-dev/stile/pkg/app"
	"github.com/stile-dev/stile/pkg/front"
	"github.com/stile-dev/stile/pkg/invoke"
	"github.com/stile-dev/stile/pkg/kms/mac"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/operation/join"
	"github.com/stile-dev/stile/pkg/presence"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/rate"
	"github.com/stile-dev/stile/pkg/wire"
)

func main() {
	server, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting join: %v", err)
	}
	lambda.Start(server.Serve)
}

func assemble(ctx context.Context) (*api.Server, error) {
	f, err := app.Begin(ctx, "join")
	if err != nil {
		return nil, err
	}
	presences, db := f.Need(names.EnvTablePresence), dynamodb.NewFromConfig(f.AWS)
	arrivals := front.NewJoins(front.Config[proof.HostRequest, wire.HostCredential]{
		Cluster: f.Cluster,
		MAC:     mac.New(mac.Config{KMS: awskms.NewFromConfig(f.AWS), Key: f.Key(names.KeyChallenge), Purpose: names.PurposeJoin}),
		Proxies: presence.New(presence.Config{DynamoDB: db, Table: presences}),
		Rate:    rate.New(rate.Config{DynamoDB: db, Table: presences, Door: names.PurposeJoin}),
		Sign:    invoke.Function[proof.HostRequest, wire.HostCredential](awslambda.NewFromConfig(f.AWS), f.Need(names.EnvSignHost)),
	})
	server, err := api.New(api.Config{Function: "join", Handlers: join.Operations(arrivals), Log: f.Log})
	return server, errors.Join(f.Err(), err)
}
