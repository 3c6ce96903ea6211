// Command login is the function of this name: the front of logging in. It can neither sign nor reach any table except presence.
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
	"github.com/stile-dev/stile/pkg/operation/login"
	"github.com/stile-dev/stile/pkg/presence"
	"github.com/stile-dev/stile/pkg/proof"
	"github.com/stile-dev/stile/pkg/rate"
	"github.com/stile-dev/stile/pkg/wire"
)

func main() {
	server, err := assemble(context.Background())
	if err != nil {
		log.Fatalf("Starting login: %v", err)
	}
	lambda.Start(server.Serve)
}

func assemble(ctx context.Context) (*api.Server, error) {
	f, err := app.Begin(ctx, "login")
	if err != nil {
		return nil, err
	}
	presences, db := f.Need(names.EnvTablePresence), dynamodb.NewFromConfig(f.AWS)
	arrivals := front.NewLogins(front.Config[proof.UserRequest, wire.UserCredential]{
		Cluster: f.Cluster,
		MAC:     mac.New(mac.Config{KMS: awskms.NewFromConfig(f.AWS), Key: f.Key(names.KeyChallenge), Purpose: names.PurposeLogin}),
		Proxies: presence.New(presence.Config{DynamoDB: db, Table: presences}),
		Rate:    rate.New(rate.Config{DynamoDB: db, Table: presences, Door: names.PurposeLogin}),
		Sign:    invoke.Function[proof.UserRequest, wire.UserCredential](awslambda.NewFromConfig(f.AWS), f.Need(names.EnvSignUser)),
	})
	server, err := api.New(api.Config{Function: "login", Handlers: login.Operations(arrivals), Log: f.Log})
	return server, errors.Join(f.Err(), err)
}
